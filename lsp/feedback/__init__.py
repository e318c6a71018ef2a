"""What users do with the completions they are offered: from document changes to events for the server."""
