"""Which tokens a local engine computes, step by step, in a process of its own. Nothing here imports torch."""
