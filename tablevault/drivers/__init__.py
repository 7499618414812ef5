"""Programs that git calls: hooks, filter, merge driver, textconv."""
