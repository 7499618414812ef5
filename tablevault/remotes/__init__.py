"""What talks to another vault, or to a server that keeps objects for one."""
