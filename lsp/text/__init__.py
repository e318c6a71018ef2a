"""Documents, positions, changes and ranges, as LSP has them. Nothing here knows of completions."""
