"""What every Acepilot program agrees on: protocol, errors, languages, prompts, filters, models.

Never imports torch, a web framework or an editor library.
"""

__version__ = "0.1.0"
