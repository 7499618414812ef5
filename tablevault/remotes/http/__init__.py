"""HTTP as git's configuration wants it: connections, credentials, retries."""
