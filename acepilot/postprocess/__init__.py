"""What happens to a model's words before an editor sees them: one filter a file, the order in chain.py."""
