"""The LSP requests, one per file."""
