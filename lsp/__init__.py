"""The language server: it answers an editor's requests with what the completion server generates."""
