"""The gate: may a candidate replace its base? compare.py is the command, decision.py the rule."""
