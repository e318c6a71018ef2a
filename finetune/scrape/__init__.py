"""From sources (packages, git URLs, folders) to files with their licences: `python -m finetune.scrape`.

Nothing here imports torch.
"""
