"""Functions that builders may name without code of their own (``is_custom: false``)."""
