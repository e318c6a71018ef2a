"""What became of the completions that were offered: from changes in documents to events for the server."""
