"""The HTTP endpoints, one file for each protocol. Routes translate; they do not know the engine."""
