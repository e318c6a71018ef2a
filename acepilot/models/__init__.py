"""Models on this disk: found, fetched, registered, promoted and published. `python -m acepilot.models`."""
