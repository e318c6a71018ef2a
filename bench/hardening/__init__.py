"""What no client should send, and a day of work with a server that is killed."""
