"""One file a family of HTTP endpoints; each translates, none knows the engine."""
