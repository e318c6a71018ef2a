"""Documents, positions, changes and ranges, as LSP defines them. Nothing here knows about completions."""
