"""From files to documents: which files are read, and in which language each one is."""
