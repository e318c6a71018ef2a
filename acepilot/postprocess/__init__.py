"""Cut and tidy what the model generated before an editor sees it: one filter per file, run by chain.py."""
