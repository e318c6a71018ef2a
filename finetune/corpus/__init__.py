"""From scraped files to packed rows: `python -m finetune.corpus`. build.py has the steps in their order.

Nothing here imports torch: a corpus is built on machines without a GPU.
"""
