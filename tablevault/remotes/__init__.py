"""Clone, pull, push: exchange with remotes."""
