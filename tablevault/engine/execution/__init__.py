"""How functions are called: at the same time, again after errors, within rates and budgets."""
