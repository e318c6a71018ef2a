"""Pack clean documents into rows of tokens, with fill-in-the-middle."""
