"""From clean documents to packed rows of tokens, with fill-in-the-middle."""
