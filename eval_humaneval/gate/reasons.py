"""The gate's reasons as sentences: why two runs cannot be compared, and what led to the verdict."""

from collections.abc import Iterator, Mapping

from acepilot.models.gate_report import Comparison, Verdict
from eval_humaneval.gate.sample_size import Size, size_to_show
from eval_humaneval.gate.statistics import POWER, Evidence
from eval_humaneval.languages import ADAPTERS
from eval_humaneval.results import Results


def invalid_reasons(base: Results, candidate: Results) -> Iterator[str]:
    """Yield why the two runs cannot be compared, or nothing if they can."""
    for side, run in (("base", base), ("candidate", candidate)):
        if run.selftest_failed:
            yield (
                f"On the {side}'s machine the canonical solutions of {_some(run.selftest_failed)} fail, "
                "so its judgements cannot be trusted. Run `python -m eval_humaneval selftest` there, "
                "repair what it names, and run again."
            )
        if not run.problems:
            yield f"The {side}'s run has no problems: run again with --languages that this machine can run."
        short = [row.id for row in run.problems if row.samples != run.config.samples]
        if short:
            yield (
                f"The harness failed on {_some(short)} of the {side}: fewer than {run.config.samples} "
                "samples were judged. Give the same `run` command again; it resumes."
            )
    if base.config_hash != candidate.config_hash:
        ours, theirs = base.config.model_dump(), candidate.config.model_dump()
        unequal = [name for name in ours if ours[name] != theirs[name]]
        yield (
            f"The configurations differ ({', '.join(unequal) or 'config_hash'}): run both with the same "
            "options."
        )
    if base.sandbox != candidate.sandbox:
        yield (
            f"The sandboxes differ, {base.sandbox} and {candidate.sandbox}: run both on the same machine, "
            "with the same version of Acepilot."
        )
    if base.engine != candidate.engine:
        yield f"The engines differ, {base.engine} and {candidate.engine}, and round differently: use one."
    newer = sorted(
        name
        for name in base.versions.keys() | candidate.versions.keys()
        if base.versions.get(name) != candidate.versions.get(name)
    )
    if newer:
        yield f"The runs used different versions of {', '.join(newer)}: repeat the older one."
    asked, answered = ({(row.language, row.id) for row in run.problems} for run in (base, candidate))
    if base.problems and candidate.problems and asked != answered:
        languages = {language for language, _ in asked} ^ {language for language, _ in answered}
        what = f"languages ({', '.join(sorted(languages))})" if languages else "problems"
        only = sorted(problem for _, problem in asked ^ answered)
        yield (
            f"The runs hold different {what}: {_some(only)} on one side only. Install the tools that "
            "`selftest` reports as missing, and run both again."
        )


def unjudged_languages(run: Results) -> Iterator[str]:
    """Yield sentences on the languages that the verdict does not cover."""
    absent = [name for name in ADAPTERS if name not in run.config.languages and name not in run.missing]
    if run.missing:
        yield f"Not judged, because their tools are missing: {', '.join(sorted(run.missing))}."
    if absent:
        yield f"Not judged, because the runs have no problems in them: {', '.join(absent)}."


def verdict_reasons(
    verdict: Verdict,
    compared: Mapping[str, Comparison],
    to_pass: Mapping[str, Size],
    to_fail: Mapping[str, Size],
    drop_points: float,
) -> Iterator[str]:
    """Yield the reasons, largest drop first. `to_pass` and `to_fail` hold the sizes for open comparisons."""
    ranked = sorted(compared.items(), key=lambda item: item[1].difference)
    for name, row in ranked:
        if row.verdict == "FAIL":
            yield (
                f"{name}: dropped by {-row.difference:.1f} points, from {row.base:.1f} to "
                f"{row.candidate:.1f} (by more than {drop_points:g}: p = {row.p_adjusted:.2g})."
            )
    for name, row in ranked:
        if name in to_pass:
            yield (
                f"{name}: the difference is {row.difference:+.1f} points, lower bound {row.lower:+.1f}; "
                f"PASS needs one above {-row.margin:.1f}. {_advice(to_pass[name], to_fail[name], row)}"
            )
    if verdict == "PASS":
        worst, row = min(compared.items(), key=lambda item: item[1].lower + item[1].margin)
        yield (
            f"Nothing dropped beyond its margin. Closest to it: {worst}, {row.difference:+.1f} points, lower "
            f"bound {row.lower:+.1f}, margin {row.margin:.1f}."
        )


def margin_reasons(margins: Mapping[str, float], smallest: float) -> Iterator[str]:
    """Yield a sentence on the default margins (in points) above the `smallest`."""
    larger = ", ".join(f"{name} {margin:.1f}" for name, margin in margins.items() if margin > smallest)
    if larger:
        yield f"Margins above {smallest:g} points, because a run of this size cannot show less: {larger}."


def margin_too_small(name: str, margin: float, evidence: Evidence, alpha: float, samples: int) -> str:
    """Return a sentence on a given margin (in points) that cannot be shown, and the size that shows it."""
    shown = 100 * evidence.showable(alpha, POWER)
    size = size_to_show(evidence, margin, alpha, samples)
    return (
        f"{name}: {evidence.problems} problems with {samples} samples each cannot show a margin of "
        f"{margin:g} points, only one above {shown:.1f}. Give a larger margin; to show this one, run "
        f"{_ways(size)}."
    )


def _advice(to_pass: Size, to_fail: Size, comparison: Comparison) -> str:
    def least(first: int | None, second: int | None) -> int | None:
        return min((number for number in (first, second) if number is not None), default=None)

    size = Size(least(to_pass.samples, to_fail.samples), least(to_pass.problems, to_fail.problems))
    advice = f"It takes {_ways(size)} to decide."
    if size.samples is None:
        return f"{advice} More samples alone would not, because the problems differ too much from each other."
    return advice


def _ways(size: Size) -> str:
    ways: list[str] = []
    if size.samples is not None:
        ways.append(f"about {size.samples} samples per problem")
    if size.problems is not None:
        ways.append(f"about {size.problems} problems")
    return " or ".join(ways) or "more samples and problems than is practical"


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    many = "problem" if len(names) == 1 else f"{len(names)} problems"
    return f"{many} {shown}{', ...' if len(names) > 5 else ''}"
