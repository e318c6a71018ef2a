"""Programs that measure how often the gate errs: docs/gate.md has their tables."""
