"""Completion events: the queue that writes them to the database, and the statistics read from it."""
