"""From an editor's request to its answer. suggest.py has the steps in order."""
