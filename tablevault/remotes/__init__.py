"""Clone, pull, push: exchange with vaults elsewhere."""
