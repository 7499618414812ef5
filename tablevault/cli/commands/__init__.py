"""The commands: each module has a tuple of them, `COMMANDS`."""
