"""What `replay_typing.py`, `bench_server.py` and `plot_benchmarks.py` share; they are run by path."""
