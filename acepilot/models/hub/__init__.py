"""Fetch models from a model hub by their id, OWNER/NAME: client.py talks to it, fetch.py is the way in."""
