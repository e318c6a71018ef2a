"""Developers who type through the language server, against peers: `python -m bench typing`."""
