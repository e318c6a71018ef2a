"""Many clients on one server, against peers: `python -m bench load`."""
