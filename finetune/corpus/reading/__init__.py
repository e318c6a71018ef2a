"""Read files as documents: which files, and in which language each one is."""
