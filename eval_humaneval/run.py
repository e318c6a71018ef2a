"""One run, top to bottom: problems -> completions -> verdicts -> figures.

`samples.jsonl` grows with every verdict, so that a run that was killed goes on where it stopped when the same
command is given again; `results.json` and `report.html` are written at its end.
"""

import asyncio
import platform
import time
from contextlib import nullcontext
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from acepilot.corpus import canonical_hash
from acepilot.errors import ConfigError, SandboxUnavailable
from acepilot.models.gate_report import JudgedModel
from acepilot.models.manifest import file_hashes, write_atomically
from acepilot.models.provenance import git_commit
from acepilot.models.registry import ModelFolder
from acepilot.models.resolve import resolve
from acepilot.settings import home
from eval_humaneval import selftest
from eval_humaneval.ask import Asked, Work, ask
from eval_humaneval.examiner import Examiner
from eval_humaneval.execution.judge import Spent
from eval_humaneval.figures import metrics
from eval_humaneval.figures.report import write_report
from eval_humaneval.generate import InProcess, Model, OverHttp
from eval_humaneval.holes.cut import cut
from eval_humaneval.problems import problem_sets
from eval_humaneval.results import RESULTS_FILE, Cost, EvalConfig, Results
from eval_humaneval.run_folder import held
from eval_humaneval.settings import EvalSettings
from server.engine.base import EngineOptions
from server.engine.opening import open_engine, suiting


def run(settings: EvalSettings, console: Console) -> Results:
    """Runs, or goes on with, what `settings` ask for. Raises ConfigError, and what engines raise."""
    return asyncio.run(_run(settings, console))


async def _run(settings: EvalSettings, console: Console) -> Results:
    began = time.monotonic()
    if settings.samples > 1 and settings.temperature == 0:
        raise ConfigError(
            f"{settings.samples} greedy samples would all be the same: add --temperature 0.2, or ask for one."
        )
    folder = None if settings.server_url else resolve(settings.model)
    # Filling a hole runs no program: it needs neither sandbox nor tools.
    with nullcontext() if settings.holes else Examiner(unsafe=settings.unsafe) as examiner:
        if examiner:
            work = await _problems(settings, examiner, console)
        else:
            work = await asyncio.to_thread(_holes, settings)
        config = _config(settings, work)
        versions = _versions() | (examiner.versions(config.languages) if examiner else {})
        sandbox = examiner.sandbox if examiner else "none"
        judged_by = {"sandbox": sandbox, "versions": versions}
        judged, same = _judged_model(settings, folder, config, judged_by)
        with held(Path(judged.run), same):
            model = await asyncio.to_thread(_open, settings, folder)
            try:
                asked = await ask(settings, work, model, examiner, Path(judged.run), console)
            finally:
                await model.close()
        _check_judged(asked)
        spent = examiner.spent if examiner else Spent()
        results = Results(
            model=judged,
            engine=model.engine,
            settings=settings.model_dump(mode="json", exclude={"token"}),
            config=config,
            config_hash=canonical_hash(config.model_dump(mode="json")),
            sandbox=sandbox,
            selftest_failed=work.selftest_failed,
            missing=work.missing,
            excluded=work.excluded,
            created=datetime.now(UTC),
            git_commit=git_commit(),
            versions=versions,
            cost=Cost(
                seconds=time.monotonic() - began,
                generation_seconds=asked.seconds,
                execution_cpu_seconds=spent.cpu_s,
                tokens=asked.tokens,
                tokens_per_s=asked.tokens / asked.seconds if asked.seconds else 0.0,
                programs_run=spent.programs_run,
                programs_cached=spent.programs_cached,
                samples_resumed=asked.resumed,
            ),
            languages=metrics.scores_by_language(asked.samples),
            pool=metrics.language_score(asked.samples),
            hole_parts=metrics.scores_by_hole(asked.samples),
            problems=metrics.problem_scores(asked.samples),
        )
    write_report(results, asked.samples, Path(judged.run))
    write_atomically(Path(judged.run) / RESULTS_FILE, results.model_dump_json(indent=2) + "\n")
    return results


async def _problems(settings: EvalSettings, examiner: Examiner, console: Console) -> Work:
    """Those whose own solution passes here: another would be no fault of a model."""
    found = problem_sets.load(settings.problems, settings.languages)
    sound = [problem for problem in found.problems if not problem.excluded]
    missing = examiner.missing({problem.language for problem in sound})
    runnable = [problem for problem in sound if problem.language not in missing]
    tested = await selftest.check(runnable, examiner, console, wrong=False)
    failed = [one.problem for one in tested.failed]
    asked = tuple(problem for problem in runnable if problem.id not in failed)
    if not asked:
        raise ConfigError(
            "Nothing can be asked here: " + "; ".join(f"{name}: {how}" for name, how in missing.items())
        )
    excluded = {problem.id: problem.excluded for problem in found.problems if problem.excluded}
    return Work(settings.problems, asked, {}, failed, excluded, missing)


def _holes(settings: EvalSettings) -> Work:
    folder = Path(settings.holes or "").expanduser().resolve()
    holes = cut(folder, per_language=settings.holes_per_language, seed=settings.seed)
    there = dict.fromkeys(hole.problem.language for hole in holes)
    if settings.languages:
        holes = [hole for hole in holes if hole.problem.language in settings.languages]
    if not holes:
        raise ConfigError(
            f"{folder} has no hole in {', '.join(settings.languages)}; it has some in {', '.join(there)}."
        )
    named = {hole.problem.id: hole for hole in holes}
    problems = tuple(hole.problem for hole in holes)
    return Work([f"holes in {folder.name}"], problems, named, [], {}, {})


def _check_judged(asked: Asked) -> None:
    """Raises SandboxUnavailable when a language has no verdict at all, and so no figures."""
    judged = {one.language for one in asked.samples if one.outcome != "infrastructure"}
    lost = {one.language: one.detail for one in asked.samples if one.language not in judged}
    if lost:
        told = "; ".join(f"{name}: {detail}" for name, detail in lost.items())
        raise SandboxUnavailable(
            f"No program could be judged in {told}. Mend that and give the same command again: it goes on."
        )


def _config(settings: EvalSettings, work: Work) -> EvalConfig:
    return EvalConfig(
        problem_sets=work.set_names,
        problems_hash=problem_sets.hash_of(work.problems),
        languages=list(dict.fromkeys(problem.language for problem in work.problems)),
        samples=settings.samples,
        temperature=settings.temperature,
        top_p=settings.top_p,
        max_tokens=settings.max_tokens,
    )


def _judged_model(
    settings: EvalSettings, folder: ModelFolder | None, config: EvalConfig, judged_by: dict[str, Any]
) -> tuple[JudgedModel, dict[str, Any]]:
    """The model as it is now with the folder of its run, and all that the run's samples depend on: more
    samples of the same share the folder. Verdicts by other tools, or of another engine, do not."""
    files = file_hashes(folder.path) if folder else {}
    name = folder.name if folder else settings.model
    engine = suiting(folder) if folder and settings.engine == "auto" else settings.engine
    same = config.model_dump(mode="json", exclude={"samples"}) | {
        "files": files, "server": settings.server_url, "engine": engine, "seed": settings.seed, **judged_by,
    }  # fmt: skip
    target = settings.to or home() / "eval" / f"{name}-{canonical_hash(same)[:12]}"
    return JudgedModel(name=name, files=files, run=str(target.resolve())), {"name": name} | same


def _open(settings: EvalSettings, folder: ModelFolder | None) -> Model:
    if folder is None:
        token = settings.token.get_secret_value() if settings.token else None
        return OverHttp(settings.server_url or "", settings.model, token)
    options = EngineOptions(
        kv_cache_gb=settings.kv_cache_gb, max_streams=settings.streams, threads=settings.threads
    )
    return InProcess(open_engine(folder, settings.engine, options))


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), "machine": platform.machine()} | {
        package: version(package) for package in ("acepilot", "openvino-genai", "numpy")
    }
