"""From repositories to a tuned model: scrape, corpus, train.py, export.py, convert."""
