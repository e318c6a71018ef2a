"""The story's figures as sentences, for report.py and the terminal."""

from collections.abc import Mapping
from typing import Any

from acepilot.models.gate_report import Comparison, GateReport
from eval_humaneval.figures.table import label
from story.difference import Difference

Differ = Mapping[str, Mapping[str, Mapping[str, Mapping[str, Difference]]]]
"""The differences by table, side, measure and language."""


def findings(
    gates: Mapping[str, GateReport], attempts: Mapping[str, Any], differ: Differ, choice: Mapping[str, Any]
) -> list[str]:
    """Return the sentences, whether or not the replay went as the story did."""
    return [
        *_judged("The eager tune", gates["eager"], attempts["eager"]),
        *_filled("The eager tune", differ, "eager"),
        _chosen(choice),
        *_judged("The careful tune", gates["careful"], attempts["careful"]),
        *_filled("The careful tune", differ, "careful"),
    ]


def _judged(who: str, gate: GateReport, attempt: Mapping[str, Any]) -> list[str]:
    pool = gate.pool
    if pool is None:
        return [f"{who} could not be compared: {' '.join(gate.reasons)}"]
    sentences = [f"{who}: {gate.verdict}. All languages together: {_moved(pool)}."]
    failed = {name: it for name, it in gate.languages.items() if it.verdict == "FAIL"}
    if failed:
        sentences.append(
            f"{who} dropped in "
            + "; ".join(f"{label(name)}: {_moved(it)}" for name, it in failed.items())
            + "."
        )
    if gate.verdict == "PASS":
        bounds = "; ".join(
            f"{label(name)} {it.lower:+.1f} (margin {it.margin:.1f})" for name, it in gate.languages.items()
        )
        sentences.append(f"{who}, lower bounds: all {pool.lower:+.1f} (margin {pool.margin:.1f}); {bounds}.")
    done = "promoted" if attempt["promoted"] else f"refused, exit code {attempt['exit_code']}"
    after = (
        ", and rolled back, so that the careful tune meets the same base" if attempt["rolled_back"] else ""
    )
    sentences.append(f"{who} was {done}{after}.")
    return sentences


def _moved(it: Comparison) -> str:
    p = f"p {it.p_adjusted:.2g}" if it.p_adjusted >= 0.0001 else "p < 0.0001"
    return f"{it.base:.1f} to {it.candidate:.1f} ({it.difference:+.1f}, {p})"


def _filled(who: str, differ: Differ, side: str) -> list[str]:
    sentences: list[str] = []
    for table, where in (("vue", "holes in unseen Vue repositories"), ("others", "holes in other languages")):
        measures = differ[table][side]
        parts = [
            f"{name.replace('_', ' ')} {_interval(measures[name]['all'])}"
            for name in measures
            if "all" in measures[name]
        ]
        sentences.append(f"{who}, {where}: {', '.join(parts)}.")
    vue = [differ["vue"][side][name].get("all") for name in ("exact_match", "edit_similarity")]
    rose = any(one is not None and one.is_gain for one in vue)
    sentences.append(f"{who} fills Vue's holes better by more than the interval: {'yes' if rose else 'no'}.")
    return sentences


def _interval(one: Difference) -> str:
    digits = 2 if abs(one.value) < 1 else 1
    return f"{one.value:+.{digits}f} [{one.low:+.{digits}f}, {one.high:+.{digits}f}]"


def _chosen(choice: Mapping[str, Any]) -> str:
    chosen = next(one for one in choice["candidates"] if one["name"] == choice["chosen"])
    lost = "" if choice["admitted"] else " Every candidate has drifted further than the limit."
    return (
        f"Of {len(choice['candidates'])} candidates {choice['chosen']} was chosen on held-out repositories: "
        f"Vue {chosen['vue']['value']:+.3f} nats a token, other code {chosen['others']['value']:+.3f}; "
        f"drift {chosen['drift']['all']:.3f}, where the eager tune has {choice['eager_drift']:.3f}.{lost}"
    )
