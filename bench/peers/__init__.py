"""The servers that are measured, ours and peers', as processes."""
