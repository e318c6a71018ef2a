"""Prints how often completions were accepted and kept, and how fast they came.

    python -m server stats          tables by language, by model and by day (UTC)
    python -m server stats --json   the same figures as JSON

Reads the database of ACEPILOT_EVENTS_URL, or events.sqlite3 in ACEPILOT_HOME, and changes nothing in it. The
server that writes it may run meanwhile.
"""

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import sqlalchemy as sa
from rich import box
from rich.table import Table
from rich.text import Text
from sqlalchemy.exc import SQLAlchemyError

from acepilot.cli import print_line, text_console
from acepilot.errors import ConfigError
from acepilot.events import SURVIVAL_S
from server.events.database import damaged_files, events, is_damaged, is_ours, is_there, open_to_read
from server.events.store import ACCEPTED_KINDS
from server.settings import EventsSettings

GROUPS = ("language", "model", "day")
DAYS_SHOWN = 31
"""Newest days in the table, about a screenful; `--json` has all days."""


@dataclass
class Figures:
    """The figures of one language, model or day, or of all."""

    counts: Counter[str] = field(default_factory=Counter[str])
    accepted: int = 0
    """Completions that were accepted, whole or in part."""
    accepted_chars: int = 0
    checked_chars: Counter[int] = field(default_factory=Counter[int])
    kept_chars: defaultdict[int, float] = field(default_factory=lambda: defaultdict[int, float](float))
    latencies_ms: Counter[float] = field(default_factory=Counter[float])
    """Count of each latency, rounded to three digits: years of events are then a few thousand numbers."""

    def latency_ms(self, share: float) -> float | None:
        """Return the smallest latency that a `share` of all latencies does not exceed."""
        if not self.latencies_ms:
            return None
        times_ms, counts = list(self.latencies_ms), list(self.latencies_ms.values())
        return float(np.quantile(times_ms, share, weights=counts, method="inverted_cdf"))

    def acceptance(self) -> float | None:
        shown = self.counts["shown"]
        return self.accepted / shown if shown else None

    def kept(self, after_s: int) -> float | None:
        checked = self.checked_chars[after_s]
        return self.kept_chars[after_s] / checked if checked else None

    def as_json(self) -> dict[str, Any]:
        kinds = ("shown", "accepted", "partly_accepted", "typed_through", "rejected")
        return {
            **{kind: self.counts[kind] for kind in kinds},
            "acceptance_rate": self.acceptance(),
            "accepted_chars": self.accepted_chars,
            "kept_ratio": {str(after_s): self.kept(after_s) for after_s in SURVIVAL_S},
            "latency_p50_ms": self.latency_ms(0.5),
            "latency_p95_ms": self.latency_ms(0.95),
        }


@dataclass
class Stats:
    total: Figures = field(default_factory=Figures)
    by: dict[str, dict[str, Figures]] = field(default_factory=lambda: {name: {} for name in GROUPS})

    def of(self, language: str, model: str, day: date) -> Iterator[Figures]:
        """Yield the figures that an event of this language, model and day belongs to."""
        yield self.total
        for name, value in zip(GROUPS, (language or "unknown", model or "unknown", str(day)), strict=True):
            yield self.by[name].setdefault(value, Figures())


def read(connection: sa.Connection) -> Stats:
    """Return all figures, computed by the database."""
    connection = connection.execution_options(yield_per=10_000)
    stats = Stats()
    of = events.c
    group = (of.language, of.model, of.day)
    counted = sa.select(
        *group,
        of.kind,
        of.after_s,
        sa.func.count(),
        sa.func.sum(of.chars),
        sa.func.sum(of.chars * of.kept_ratio),
    ).group_by(*group, of.kind, of.after_s)
    for *names, kind, after_s, count, chars, kept in connection.execute(counted):
        for figures in stats.of(*names):
            figures.counts[kind] += count
            if kind == "survived":
                figures.checked_chars[after_s] += chars
                figures.kept_chars[after_s] += kept or 0
    for *names, count, chars in connection.execute(_accepted()):
        for figures in stats.of(*names):
            figures.accepted += count
            figures.accepted_chars += chars
    whole_ms = sa.func.round(of.latency_ms)
    latencies = (
        sa.select(*group, whole_ms, sa.func.count())
        .where(of.kind == "shown", of.latency_ms.is_not(None))
        .group_by(*group, whole_ms)
    )
    for *names, latency_ms, count in connection.execute(latencies):
        for figures in stats.of(*names):
            figures.latencies_ms[float(f"{latency_ms:.3g}")] += count
    return stats


def _accepted() -> sa.Executable:
    """Count each shown completion once that was accepted, whole, in parts, or both.

    Acceptances without a shown completion, which only a client can invent, would give more than 100 %.
    """
    of, shown = events.c, events.alias("shown")
    each = (
        sa.select(of.completion_id, of.choice, sa.func.max(of.chars).label("chars"))
        .where(of.kind.in_(ACCEPTED_KINDS))
        .group_by(of.completion_id, of.choice)
        .subquery()
    )
    same = sa.and_(shown.c.completion_id == each.c.completion_id, shown.c.choice == each.c.choice)
    group = (shown.c.language, shown.c.model, shown.c.day)
    return (
        sa.select(*group, sa.func.count(), sa.func.sum(each.c.chars))
        .select_from(each.join(shown, same))
        .where(shown.c.kind == "shown", shown.c.after_s == 0)
        .group_by(*group)
    )


def _readable(name: str) -> Text:
    """Return a name that clients chose, without markup and terminal codes."""
    return Text("".join(char if char.isprintable() else "\ufffd" for char in name))


def main(arguments: list[str]) -> int:
    """Print the figures; return 0, also without events. Raises ConfigError."""
    parser = argparse.ArgumentParser(
        prog="python -m server stats",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    flags = parser.parse_args(arguments)
    url = EventsSettings.load().events_database()
    where = url.render_as_string(hide_password=True)
    try:
        stats = _read_from(url) if is_there(url) else Stats()
    except (SQLAlchemyError, OSError) as error:
        cause = getattr(error, "orig", None) or error
        advice = (
            "The server moves the file aside and begins anew at its next event."
            if is_damaged(error) and is_ours(url)
            else "Check events_url and the database."
        )
        raise ConfigError(f"The events in {where} cannot be read: {cause}. {advice}") from error
    for file in damaged_files(url):
        print_line(f"Damaged, and not counted: {file}. `sqlite3 {file} .recover` may save its events.")
    if flags.json:
        by = {
            f"by_{name}": {key: one.as_json() for key, one in sorted(groups.items())}
            for name, groups in stats.by.items()
        }
        print(json.dumps({"total": stats.total.as_json(), **by}, indent=2))
    elif stats.total.counts:
        _print_tables(stats)
    else:
        print(f"No events yet in {where}. Editors that use this server send them.")
    return 0


def _read_from(url: sa.URL) -> Stats:
    engine = open_to_read(url)
    try:
        with engine.connect() as connection:
            return read(connection) if sa.inspect(connection).has_table(events.name) else Stats()
    finally:
        engine.dispose()


def _print_tables(stats: Stats) -> None:
    console = text_console()
    for name, groups in stats.by.items():
        title = f"by {name}" + (" (UTC)" if name == "day" else "")
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
        table.add_column(name, min_width=10, overflow="fold")
        for column in ("shown", "accepted", "chars", "30 s", "2 min", "6 min", "p50", "p95"):
            table.add_column(column, justify="right", no_wrap=True)
        newest = sorted(groups.items())[-DAYS_SHOWN:] if name == "day" else sorted(groups.items())
        for key, figures in newest:
            table.add_row(_readable(key), *_cells(figures))
        if name == "day":
            table.add_section()
            table.add_row("all days", *_cells(stats.total))
        console.print(table)
    console.print(
        "accepted: share of shown completions that were accepted, whole or in part. 30 s, 2 min, 6 min: "
        "share of the accepted characters that were still in place then. p50, p95: milliseconds from the "
        "request to the answer."
    )


def _cells(figures: Figures) -> list[str]:
    latencies_ms = (figures.latency_ms(0.5), figures.latency_ms(0.95))
    return [
        str(figures.counts["shown"]),
        _percent(figures.acceptance()),
        str(figures.accepted_chars),
        *(_percent(figures.kept(after_s)) for after_s in SURVIVAL_S),
        *("-" if latency is None else f"{latency:.0f}" for latency in latencies_ms),
    ]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
