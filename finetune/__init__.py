"""Make a tuned model from repositories: scrape, corpus, train.py, export.py, and convert for other forms."""
