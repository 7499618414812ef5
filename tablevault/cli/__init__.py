"""The door for people at a prompt: arguments in, text and exit codes out."""
