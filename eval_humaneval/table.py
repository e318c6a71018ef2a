"""A run's figures and a gate's verdict for the terminal, on consoles without markup."""

from collections import Counter

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from acepilot.gate_report import Comparison, GateReport
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
    table.add_column("language")
    table.add_column("problems", justify="right")
    ks = sorted(results.pool.pass_at)
    measures = list(results.pool.holes)
    for k in ks:
        table.add_column("exact match" if measures else f"pass@{k}", justify="right", no_wrap=True)
    for name in measures:
        if name != "exact_match":
            table.add_column(name.replace("_", " "), justify="right", no_wrap=True)
    rates = () if measures else ("compile error", "timeout")
    for name in (*rates, "truncated"):
        table.add_column(name, justify="right")
    rows = [*((label(name), score) for name, score in results.languages.items()), ("All", results.pool)]
    for name, score in rows:
        table.add_row(
            name,
            str(score.problems),
            *(_interval(score.pass_at[k]) for k in ks),
            *(_interval(score.holes[m]) if m in score.holes else "" for m in measures if m != "exact_match"),
            *(f"{100 * rate:.1f} %" for rate in _rates(score, bool(measures))),
            end_section=name != "All" and name == rows[-2][0],
        )
    console.print(table)
    cost = results.cost
    console.print(
        f"{cost.seconds:.0f} s in all · {cost.tokens} tokens, {cost.tokens_per_s:.0f} a second · "
        f"{cost.programs_run} programs run and {cost.programs_cached} known, "
        f"{cost.execution_cpu_seconds:.0f} s of CPU · engine {results.engine} · sandbox {results.sandbox}",
        highlight=False,
    )
    for language, install in results.missing.items():
        console.print(f"not asked: {label(language)} ({install})", highlight=False)
    if results.selftest_failed:
        console.print(
            f"not asked, for their own solutions fail here: {', '.join(results.selftest_failed)}",
            highlight=False,
        )


def print_gate(report: GateReport, console: Console) -> None:
    table = Table(
        title=f"{report.base.name} -> {report.candidate.name}",
        caption="Points of 100. PASS: lower is above -margin. Visible: the least drop that shows.",
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
        table.add_row(name, *_comparison(row))
    if rows:
        console.print(table)
    colour = {"PASS": "green", "FAIL": "red"}.get(report.verdict, "yellow")
    console.print(report.verdict, style=f"bold {colour}")
    for reason in report.reasons:
        console.print(f"  {reason}", highlight=False)


def print_selftest(result: Selftest, console: Console) -> None:
    """Counts by language, then each failure, then what was skipped, by reason."""
    table = Table("language", "passed", "failed", title="The problems' own solutions", box=SIMPLE_HEAD)
    passed = Counter(task.language for task in result.passed)
    failed = Counter(task.language for task in result.failed)
    for language in ADAPTERS:
        if passed[language] or failed[language]:
            table.add_row(label(language), str(passed[language]), str(failed[language]))
    table.add_row("All", str(len(result.passed)), str(len(result.failed)))
    console.print(table)
    for task in result.failed:
        told = f"{task.problem}: its {task.which} solution: {task.outcome}\n{task.detail}"
        console.print(told, highlight=False)
    for reason, count in Counter(result.skipped.values()).items():
        console.print(f"skipped {count}: {reason}", highlight=False)


def label(language: str) -> str:
    """How people write a language's name; hole-filling knows languages that have no adapter."""
    return ADAPTERS[language].label if language in ADAPTERS else language


def _comparison(row: Comparison) -> tuple[str, ...]:
    return (
        f"{row.base:.1f}",
        f"{row.candidate:.1f}",
        f"{row.difference:+.1f}",
        f"{row.lower:+.1f}",
        f"-{row.margin:.1f}",
        f"{row.p_adjusted:.3f}",
        f"{row.smallest_visible_drop:.1f}",
        "unclear" if row.verdict == "INCONCLUSIVE" else row.verdict,
    )


def _interval(value: Interval) -> str:
    return f"{value.value:.1f} [{value.low:.1f}, {value.high:.1f}]"


def _rates(score: LanguageScore, holes: bool) -> tuple[float, ...]:
    if holes:
        return (score.truncated_rate,)
    return score.compile_error_rate, score.timeout_rate, score.truncated_rate
