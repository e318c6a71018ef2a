"""The fixtures of the corpus tests: hand-written repositories."""

from tests.finetune.corpus.conftest import own_home, scraped

__all__ = ["own_home", "scraped"]
