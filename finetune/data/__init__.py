"""From repositories to a corpus, in two programs: scrape (sources, licences) and build (read, clean, pack).

Nothing here imports torch: a corpus is built on machines without a GPU.
"""
