"""The real thing: Vue packages from npm, scraped and built."""

from pathlib import Path

import pytest

from finetune.corpus.options import BuildOptions
from finetune.scrape.collect import scrape
from finetune.scrape.licences import ALLOWED
from finetune.scrape.sources import parse_source
from tests.finetune.handmade import build_here

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PACKAGES = ("npm:buefy@3.1.0", "npm:element-ui@2.15.14", "npm:vitepress@1.6.4")


def test_packages_from_npm_become_a_corpus(tmp_path: Path) -> None:
    sources = [parse_source(text) for text in PACKAGES]
    settled = scrape(sources, tmp_path / "scraped", ALLOWED, on_progress=lambda _: None, log=lambda _: None)
    assert [(one.status, one.licence) for one in settled] == [("kept", "MIT")] * 3
    assert all(one.revision.startswith("sha512-") for one in settled)

    manifest = build_here(BuildOptions((tmp_path / "scraped",)), tmp_path / "corpus", workers=2)
    filters = {one.name: one for one in manifest.filters}
    # 75 + 116 + 92 components; the parser understands nearly all of them
    assert filters["read"].seen["vue"] == 283
    assert filters["parse"].kept["vue"] >= 275
    assert filters["near-duplicates"].kept["vue"] >= 255
    assert filters["read"].reasons["build output"] > 100
    assert manifest.blocks["template html"] >= 240
