"""Find, fetch, register, promote and publish models. The program is `python -m acepilot.models`."""
