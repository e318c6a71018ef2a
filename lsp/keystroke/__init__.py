"""From a request of the editor to its answer. suggest.py has the steps in their order."""
