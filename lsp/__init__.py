"""The language server: what the editor sees of Acepilot."""
