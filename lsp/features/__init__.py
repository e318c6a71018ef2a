"""One LSP request a file."""
