"""Make a corpus of packed rows from scraped files. Nothing here imports torch. build.py has the steps."""
