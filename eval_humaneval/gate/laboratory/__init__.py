"""Programs that measure how often the gate errs; docs/gate-statistics.md holds their tables."""
