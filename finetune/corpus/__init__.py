"""Make a corpus of packed rows from scraped files: `python -m finetune.corpus`. build.py has the steps in
order.

Nothing here imports torch, so a corpus can be built on any machine.
"""
