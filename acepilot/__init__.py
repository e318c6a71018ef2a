"""The core that every Acepilot program shares: protocol, errors, languages, prompts, filters, models.

It imports no web framework and no editor library, and torch only to read or write weights.
"""

__version__ = "0.1.0"
