"""Build, step 10: `report.html`. One page, no script, nothing fetched: what was kept, dropped, and why."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from acepilot.corpus import SPLITS, CorpusManifest, FilterCount

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #1c2430; background: #fff }
h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
table { border-collapse: collapse; width: 100% } td, th { padding: .2rem .6rem; text-align: left }
th { border-bottom: 1px solid #c9d1db; font-weight: 600 }
.number { text-align: right; font-variant-numeric: tabular-nums }
tr:nth-child(even) td { background: #f5f7fa } code { font-size: .85em; word-break: break-all }
.note { color: #5b6675 } svg { width: 100%; height: auto }
svg text { font: 12px system-ui, sans-serif; fill: #1c2430 }
.kept { fill: #2f7d6d } .dropped { fill: #d9dee5 } .heldout { fill: #d08a3c }
@media (prefers-color-scheme: dark) {
  body { color: #dfe5ec; background: #14181d } th { border-color: #3a444f } .note { color: #98a4b3 }
  tr:nth-child(even) td { background: #1b2127 } svg text { fill: #dfe5ec } .dropped { fill: #37414c } }
"""
_LABEL, _WIDTH, _ROW = 190, 860, 24
_MOST = 200


def write_report(manifest: CorpusManifest, corpus: Path) -> None:
    (corpus / "report.html").write_text(render(manifest), encoding="utf-8")


def render(manifest: CorpusManifest) -> str:
    """The page as text."""
    first, last = manifest.filters[0], manifest.filters[-1]
    documents = sum(amount.documents for split in SPLITS for amount in manifest.documents[split].values())
    kept = sum(last.kept.values())
    parts = [
        f"<h1>{documents:,} documents from {len(manifest.repositories)} sources</h1>",
        f"<p>Of {sum(first.seen.values()):,} files and records, {kept:,} passed every filter. "
        f"Corpus <code>{manifest.hash}</code>.</p>",
        "<h2>What each filter left</h2>",
        _stacked(
            [
                (one.name, (sum(one.kept.values()), _dropped(one)), ("kept", "dropped"))
                for one in manifest.filters
            ]
        ),
        '<p class="note">Each bar is what a filter saw: green was kept, grey was dropped.</p>',
        _reasons(manifest.filters),
        "<h2>Languages</h2>",
        _stacked(_languages(manifest)),
        '<p class="note">Documents: green for training, orange held out.</p>',
        _by_language(manifest),
        "<h2>Sources</h2>",
        _table(
            ("source", "revision", "licence", "split"),
            (
                (one.source, one.revision[:20], one.licence, one.split or "by file")
                for one in manifest.repositories
            ),
        ),
        "<h2>Licences of what is kept</h2>",
        _table(
            ("licence", "documents", "characters"),
            ((name, one.documents, one.characters) for name, one in manifest.licences.items()),
        ),
        *_kinds(manifest),
        *_counts("Vue blocks", "form", manifest.blocks),
        *_counts("Replaced values", "kind", manifest.redactions),
        *_packing(manifest),
        *_contaminated(manifest),
    ]
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Corpus {manifest.hash[:12]}</title><style>{_STYLE}</style>\n{body}\n</html>\n"
    )


def _dropped(one: FilterCount) -> int:
    return sum(one.seen.values()) - sum(one.kept.values())


def _stacked(rows: Sequence[tuple[str, tuple[int, int], tuple[str, str]]]) -> str:
    """Bars of two parts on one scale, each with its numbers."""
    most = max((sum(values) for _, values, _ in rows), default=0) or 1
    scale = (_WIDTH - _LABEL - 130) / most
    shapes: list[str] = []
    for number, (label, values, classes) in enumerate(rows):
        y, x = number * _ROW, float(_LABEL)
        shapes.append(f'<text x="{_LABEL - 8}" y="{y + 15}" text-anchor="end">{escape(label)}</text>')
        for value, name in zip(values, classes, strict=True):
            shapes.append(
                f'<rect class="{name}" x="{x:.1f}" y="{y + 3}" width="{value * scale:.1f}" height="16"/>'
            )
            x += value * scale
        shapes.append(f'<text x="{x + 6:.1f}" y="{y + 15}">{values[0]:,} + {values[1]:,}</text>')
    return f'<svg viewBox="0 0 {_WIDTH} {len(rows) * _ROW + 4}" role="img">{"".join(shapes)}</svg>'


def _table(head: Sequence[str], rows: Iterable[Sequence[str | int]]) -> str:
    """Numbers, and the heads above them, are set to the right."""
    body = list(rows)
    numbers = [bool(body) and isinstance(value, int) for value in (body[0] if body else head)]
    lines = [_row("th", head, numbers), *(_row("td", row, numbers) for row in body)]
    return f"<table>{''.join(lines)}</table>"


def _row(tag: str, values: Sequence[str | int], numbers: Sequence[bool]) -> str:
    cells = [
        f'<{tag} class="number">{_cell(value)}</{tag}>' if is_number else f"<{tag}>{_cell(value)}</{tag}>"
        for value, is_number in zip(values, numbers, strict=True)
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _cell(value: str | int) -> str:
    return f"{value:,}" if isinstance(value, int) else escape(value)


def _reasons(filters: Sequence[FilterCount]) -> str:
    rows = [(one.name, reason, count) for one in filters for reason, count in one.reasons.items()]
    rows.sort(key=lambda row: -row[2])
    return _table(("filter", "why it dropped", "documents"), rows)


def _languages(manifest: CorpusManifest) -> list[tuple[str, tuple[int, int], tuple[str, str]]]:
    train, heldout = manifest.documents["train"], manifest.documents["heldout"]
    count = {
        name: tuple(side[name].documents if name in side else 0 for side in (train, heldout))
        for name in {*train, *heldout}
    }
    ranked = sorted(count, key=lambda name: (-sum(count[name]), name))
    return [(name, (count[name][0], count[name][1]), ("kept", "heldout")) for name in ranked]


def _by_language(manifest: CorpusManifest) -> str:
    """How many documents of each language went into each filter, and came out of the last."""
    filters = manifest.filters
    last: Mapping[str, int] = filters[-1].kept
    names = sorted({*last, *filters[1].seen}, key=lambda name: (-last.get(name, 0), name))
    head = ("language", "files", *(f"after {one.name}" for one in filters))
    rows = [
        (name, filters[0].seen.get(name, 0), *(one.kept.get(name, 0) for one in filters)) for name in names
    ]
    return f"<details><summary>By language and filter</summary>{_table(head, rows)}</details>"


def _kinds(manifest: CorpusManifest) -> list[str]:
    rows = [
        (kind, split, amount.documents, amount.characters)
        for split in SPLITS
        for kind, amount in manifest.kinds[split].items()
    ]
    return [
        "<h2>Code, replay and instructions</h2>",
        _table(("kind", "split", "documents", "characters"), rows),
    ]


def _counts(title: str, head: str, counts: Mapping[str, int]) -> list[str]:
    if not counts:
        return []
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [f"<h2>{escape(title)}</h2>", _table((head, "count"), rows)]


def _packing(manifest: CorpusManifest) -> list[str]:
    packing = manifest.packing
    if packing is None:
        return []
    rows = [
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
        for split, one in packing.splits.items()
    ]
    head = (
        "split",
        "sequences",
        "documents",
        "tokens",
        "padding",
        "with middle filled in",
        "plain",
        "too long",
    )
    return [f"<h2>Sequences of {packing.sequence_tokens:,} tokens</h2>", _table(head, rows)]


def _contaminated(manifest: CorpusManifest) -> list[str]:
    if not manifest.contaminated:
        return []
    rows = [(one.document, one.problem) for one in manifest.contaminated[:_MOST]]
    title = f"<h2>Dropped because they overlap an evaluation problem: {len(manifest.contaminated):,}</h2>"
    return [title, _table(("document", "problem"), rows)]
