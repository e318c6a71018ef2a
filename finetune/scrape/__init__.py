"""Fetch sources (packages, git URLs, folders) with their licences: `python -m finetune.scrape`. No torch."""
