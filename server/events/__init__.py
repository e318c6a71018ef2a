"""What became of completions: events on their way to the database, and the figures that are read from it."""
