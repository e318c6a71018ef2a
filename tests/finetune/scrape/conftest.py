"""The corpus tests' folders of hand-written repositories."""

from tests.finetune.corpus.conftest import own_home, scraped

__all__ = ["own_home", "scraped"]
