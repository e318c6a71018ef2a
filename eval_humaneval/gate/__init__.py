"""The gate: may a candidate model replace the served one? compare.py is the command, decision.py the rule."""
