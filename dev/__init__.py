"""Programs for a clone: the first run, the lock of versions, the checks of the docs."""
