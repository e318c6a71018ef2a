"""Build, step 10: write report.html (what was kept, what was dropped, and why) and the card README.md."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import jinja2

from acepilot.corpus import SPLITS, CorpusManifest

_LABEL_PX, _WIDTH_PX, _ROW_PX, _NUMBERS_PX = 190, 860, 24, 130
_MAX_LISTED = 200
"""Contaminated documents that are listed. All are counted."""


def write_card(manifest: CorpusManifest, corpus: Path) -> None:
    """Write README.md, whose header lists the tables for `datasets.load_dataset`."""
    found = {
        table: [split for split in SPLITS if any((corpus / table / split).glob("*.parquet"))]
        for table in ("documents", "packed")
    }
    tables = {table: splits for table, splits in found.items() if splits}
    text = _template("card.md").render(manifest=manifest, tables=tables)
    (corpus / "README.md").write_text(text, encoding="utf-8")


def render_report(manifest: CorpusManifest) -> str:
    """Return report.html, one page without scripts."""
    documents = [amount.documents for split in SPLITS for amount in manifest.documents[split].values()]
    return _template("report.html").render(
        manifest=manifest,
        documents=sum(documents),
        seen=sum(manifest.filters[0].seen.values()),
        kept=sum(manifest.filters[-1].kept.values()),
        filters=_filters(manifest),
        reasons=_reasons(manifest),
        languages=_languages(manifest),
        filter_heads=[f"after {one.name}" for one in manifest.filters],
        by_language=_by_language(manifest),
        sources=[
            (one.source, one.revision[:20], one.licence, one.split or "by file")
            for one in manifest.repositories
        ],
        licences=[(name, one.documents, one.characters) for name, one in manifest.licences.items()],
        kinds=[
            (kind, split, amount.documents, amount.characters)
            for split in SPLITS
            for kind, amount in manifest.kinds[split].items()
        ],
        blocks=_by_count(manifest.blocks),
        redactions=_by_count(manifest.redactions),
        packed=_packed(manifest),
        contaminated=[(one.document, one.problem) for one in manifest.contaminated[:_MAX_LISTED]],
    )


def _template(name: str) -> jinja2.Template:
    """Return a template of the folder `templates`. HTML templates escape what they insert."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=jinja2.select_autoescape(["html"]),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(name)


def _plot(rows: Sequence[tuple[str, Mapping[str, int]]]) -> dict[str, Any]:
    """Return horizontal bars on one scale, in pixels, for (label, count of each kind) rows.

    The parts of a bar stand side by side; a part's kind is its CSS class.
    """
    most = max((sum(counts.values()) for _, counts in rows), default=0) or 1
    scale = (_WIDTH_PX - _LABEL_PX - _NUMBERS_PX) / most
    bars: list[dict[str, Any]] = []
    for number, (label, counts) in enumerate(rows):
        *starts, end = accumulate((count * scale for count in counts.values()), initial=float(_LABEL_PX))
        parts = [
            {"kind": kind, "count": count, "x": x, "width": count * scale}
            for (kind, count), x in zip(counts.items(), starts, strict=True)
        ]
        bars.append({"label": label, "y": number * _ROW_PX, "parts": parts, "end": end})
    height = len(rows) * _ROW_PX + 4
    return {"bars": bars, "height": height, "width": _WIDTH_PX, "label_end": _LABEL_PX - 8}


def _filters(manifest: CorpusManifest) -> dict[str, Any]:
    sums = [(one.name, sum(one.seen.values()), sum(one.kept.values())) for one in manifest.filters]
    return _plot([(name, {"kept": kept, "dropped": seen - kept}) for name, seen, kept in sums])


def _languages(manifest: CorpusManifest) -> dict[str, Any]:
    train, heldout = (
        {name: one.documents for name, one in manifest.documents[split].items()} for split in SPLITS
    )
    counts = {
        name: {"kept": train.get(name, 0), "heldout": heldout.get(name, 0)} for name in {*train, *heldout}
    }
    return _plot(sorted(counts.items(), key=lambda item: (-sum(item[1].values()), item[0])))


def _reasons(manifest: CorpusManifest) -> list[tuple[str, str, int]]:
    rows = [(one.name, reason, count) for one in manifest.filters for reason, count in one.reasons.items()]
    return sorted(rows, key=lambda row: -row[2])


def _by_language(manifest: CorpusManifest) -> list[tuple[str | int, ...]]:
    """Return for each language the documents before the first filter and after each filter."""
    filters = manifest.filters
    last = filters[-1].kept
    names = sorted({*last, *filters[1].seen}, key=lambda name: (-last.get(name, 0), name))
    return [
        (name, filters[0].seen.get(name, 0), *(one.kept.get(name, 0) for one in filters)) for name in names
    ]


def _by_count(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _packed(manifest: CorpusManifest) -> list[tuple[str | int, ...]]:
    if manifest.packing is None:
        return []
    return [
        (
            split,
            one.sequences,
            one.documents,
            one.tokens,
            f"{one.padding_tokens / max(one.tokens + one.padding_tokens, 1):.2%}",
            one.fim_pieces,
            one.plain_pieces,
            one.too_long,
        )
        for split, one in manifest.packing.splits.items()
    ]
