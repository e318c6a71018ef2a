"""Print figures and verdicts as tables on a console of `text_console`."""

from collections import Counter
from collections.abc import Mapping

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from acepilot.models.gate_report import GateReport
from acepilot.untrusted_text import escaped
from eval_humaneval.drift import Drift
from eval_humaneval.languages import ADAPTERS
from eval_humaneval.results import Interval, LanguageScore, Results
from eval_humaneval.selftest import Selftest


def print_results(results: Results, console: Console) -> None:
    config = results.config
    how = "greedy" if config.temperature == 0 else f"{config.samples} samples at {config.temperature:g}"
    table = Table(
        title=f"{results.model.name} · {', '.join(config.problem_sets)} · {how}",
        caption="Points of 100 with 95 % intervals. All: the mean over all problems and languages.",
        box=SIMPLE_HEAD,
    )
    columns = _hole_columns if results.pool.holes else _problem_columns
    table.add_column("language", no_wrap=True)
    for name in columns(results.pool):
        table.add_column(name, justify="right", no_wrap=name.startswith(("pass@", "exact")))
    for name, score in results.languages.items():
        table.add_row(label(name), *columns(score).values())
    table.add_section()
    for name, score in results.hole_parts.items():
        table.add_row(name, *columns(score).values())
    table.add_section()
    table.add_row("All", *columns(results.pool).values())
    console.print(table)
    cost = results.cost
    console.print(
        f"{cost.seconds:.0f} s in total · {cost.tokens} tokens, {cost.tokens_per_s:.0f} per second · "
        f"{cost.programs_run} programs run, {cost.programs_cached} found in the cache, "
        f"{cost.execution_cpu_seconds:.0f} s of CPU · engine {results.engine} · sandbox {results.sandbox}"
    )
    for language, install in results.missing.items():
        console.print(f"not asked: {label(language)} ({install})")
    if results.selftest_failed:
        console.print(f"not asked, because their own solutions fail: {', '.join(results.selftest_failed)}")


def print_drift(base: str, tuned: str, found: Mapping[str, Drift], console: Console) -> None:
    table = Table(
        title=f"{base} -> {tuned}",
        caption="Mean loss of log-likelihood of the base's texts, in nats per token, with 95 % intervals.",
        box=SIMPLE_HEAD,
    )
    table.add_column("language", no_wrap=True)
    for column in ("texts", "drift"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, one in found.items():
        if name == "all":
            table.add_section()
        table.add_row(label(name), f"{one.texts}", f"{one.value:+.3f} [{one.low:+.3f}, {one.high:+.3f}]")
    console.print(table)


def print_gate(report: GateReport, console: Console) -> None:
    table = Table(
        title=f"{report.base.name} -> {report.candidate.name}",
        caption="Points of 100. PASS: lower is above -margin. Visible: the smallest drop that would show.",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("language", no_wrap=True)
    for column in ("base", "cand.", "diff.", "lower", "margin", "p", "visible"):
        table.add_column(column, justify="right")
    table.add_column("verdict", no_wrap=True)
    rows = [(label(name), row) for name, row in report.languages.items()]
    if report.pool:
        rows.append(("All", report.pool))
    for name, row in rows:
        table.add_row(
            name,
            f"{row.base:.1f}",
            f"{row.candidate:.1f}",
            f"{row.difference:+.1f}",
            f"{row.lower:+.1f}",
            f"-{row.margin:.1f}",
            f"{row.p_adjusted:.3f}",
            f"{row.smallest_visible_drop:.1f}",
            "unclear" if row.verdict == "INCONCLUSIVE" else row.verdict,
        )
    if rows:
        console.print(table)
    colour = {"PASS": "green", "FAIL": "red"}.get(report.verdict, "yellow")
    console.print(report.verdict, style=f"bold {colour}")
    for reason in report.reasons:
        console.print(f"  {reason}")


def print_selftest(result: Selftest, console: Console) -> None:
    """Print counts by language, then each failure, then the number of skipped problems by reason."""
    table = Table("language", "passed", "failed", title="The problems' own solutions", box=SIMPLE_HEAD)
    passed = Counter(task.language for task in result.passed)
    failed = Counter(task.language for task in result.failed)
    for language in ADAPTERS:
        if passed[language] or failed[language]:
            table.add_row(label(language), str(passed[language]), str(failed[language]))
    table.add_row("All", str(len(result.passed)), str(len(result.failed)))
    console.print(table)
    for task in result.failed:
        console.print(f"{task.problem}: its {task.which} solution: {task.outcome}\n{escaped(task.detail)}")
    for reason, count in Counter(result.skipped.values()).items():
        console.print(f"skipped {count}: {reason}")


def label(language: str) -> str:
    """Return a language's name for readers; some languages of hole filling have no adapter."""
    return ADAPTERS[language].label if language in ADAPTERS else language


def _interval(value: Interval) -> str:
    return f"{value.value:.1f} [{value.low:.1f}, {value.high:.1f}]"


def _problem_columns(score: LanguageScore) -> dict[str, str]:
    return {
        "problems": str(score.problems),
        **{f"pass@{k}": _interval(interval) for k, interval in sorted(score.pass_at.items())},
        "compile error": _percent(score.compile_error_rate),
        "timeout": _percent(score.timeout_rate),
        "truncated": _percent(score.truncated_rate),
    }


def _hole_columns(score: LanguageScore) -> dict[str, str]:
    """Not every hole has a figure for parsing and likelihood (nats per token)."""
    known = {name: f"{interval.value:.1f}" for name, interval in score.holes.items()}
    return {
        "holes": str(score.problems),
        "exact match": _interval(score.pass_at[1]),
        "similar": known["edit_similarity"],
        "parses": known.get("parses", ""),
        "nats": known.get("log_likelihood", ""),
        "cut off": _percent(score.truncated_rate),
    }


def _percent(rate: float) -> str:
    return f"{100 * rate:.1f} %"
