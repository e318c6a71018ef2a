"""Programs that measure how often the gate errs; docs/gate.md holds their tables."""
