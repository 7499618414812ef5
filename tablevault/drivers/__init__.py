"""The door for git: programs that git calls, each with a protocol of git's."""
