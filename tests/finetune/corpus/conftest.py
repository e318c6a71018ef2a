"""Scraped folders of hand-written repositories, and a separate ACEPILOT_HOME for the locks."""

from pathlib import Path

import pytest

from finetune.scrape.collect import collect_sources
from finetune.scrape.licences import ALLOWED
from finetune.scrape.sources import Source
from tests.finetune.handmade import Files, Scraped, write_files


@pytest.fixture
def scraped(tmp_path: Path) -> Scraped:
    """Return a function that scrapes hand-written repositories, as local paths, into one folder."""

    def run(repositories: dict[str, Files]) -> Path:
        out = tmp_path / "scraped"
        sources = [
            Source("path", str(write_files(tmp_path / "repositories" / name, files)))
            for name, files in repositories.items()
        ]
        collect_sources(sources, out, ALLOWED, on_progress=lambda _: None, log=lambda _: None)
        return out

    return run


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACEPILOT_HOME", str(tmp_path / "home"))
