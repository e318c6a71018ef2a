"""Scrape real Vue packages from npm, and build a corpus of them."""

from pathlib import Path

import pytest

from finetune.corpus.options import BuildOptions
from finetune.scrape.collect import collect_sources
from finetune.scrape.licences import ALLOWED
from finetune.scrape.sources import parse_source
from tests.finetune.handmade import build_here

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PACKAGES = ("npm:buefy@3.1.0", "npm:element-ui@2.15.14", "npm:vitepress@1.6.4")


def test_packages_from_npm_become_a_corpus(tmp_path: Path) -> None:
    sources = [parse_source(text) for text in PACKAGES]
    records = collect_sources(
        sources, tmp_path / "scraped", ALLOWED, on_progress=lambda _: None, log=lambda _: None
    )
    assert [(record.status, record.licence) for record in records] == [("kept", "MIT")] * 3
    assert all(record.revision.startswith("sha512-") for record in records)

    manifest = build_here(BuildOptions((tmp_path / "scraped",)), tmp_path / "corpus", workers=2)
    filters = {one.name: one for one in manifest.filters}
    # 75 + 116 + 92 components, of which nearly all parse
    assert filters["read"].seen["vue"] == 283
    assert filters["parse"].kept["vue"] >= 275
    assert filters["near-duplicates"].kept["vue"] >= 255
    assert filters["read"].reasons["build output"] > 100
    assert manifest.blocks["template html"] >= 240
