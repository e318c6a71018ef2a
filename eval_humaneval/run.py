"""One run: problems -> completions -> judgements -> figures.

`samples.jsonl` grows with every judged sample, so that the same command resumes a run that was killed.
`results.json` and `report.html` are written at the end.
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
from eval_humaneval.collect import CollectedSamples, Workload, collect_samples
from eval_humaneval.execution.judge import Spent
from eval_humaneval.execution.judge_pool import JudgePool
from eval_humaneval.figures import metrics
from eval_humaneval.figures.report import write_report
from eval_humaneval.generation import EngineModel, HttpModel, Model
from eval_humaneval.holes.cut import cut_holes
from eval_humaneval.problems import problem_sets
from eval_humaneval.results import RESULTS_FILE, Cost, EvalConfig, Results
from eval_humaneval.run_folder import locked
from eval_humaneval.settings import EvalSettings
from server.engine.base import EngineOptions
from server.engine.opening import open_engine, suiting


def run(settings: EvalSettings, console: Console) -> Results:
    """Run, or resume, the evaluation that `settings` describe. Raise ConfigError, and what engines raise."""
    return asyncio.run(_run(settings, console))


async def _run(settings: EvalSettings, console: Console) -> Results:
    began = time.monotonic()
    if settings.samples > 1 and settings.temperature == 0:
        raise ConfigError(
            f"{settings.samples} greedy samples of a problem would be equal: add --temperature 0.2, or use "
            "--samples 1."
        )
    folder = None if settings.server_url else resolve(settings.model)
    # Filling a hole runs no program: it needs neither sandbox nor toolchains.
    with nullcontext() if settings.holes else JudgePool(unsafe=settings.unsafe) as judge_pool:
        if judge_pool:
            workload = await _problem_workload(settings, judge_pool, console)
        else:
            workload = await asyncio.to_thread(_hole_workload, settings)
        config = _config(settings, workload)
        versions = _versions() | (judge_pool.versions(config.languages) if judge_pool else {})
        sandbox = judge_pool.sandbox if judge_pool else "none"
        judged, inputs = _judged_model(settings, folder, config, {"sandbox": sandbox, "versions": versions})
        with locked(Path(judged.run), inputs):
            model = await asyncio.to_thread(_open_model, settings, folder)
            try:
                collected = await collect_samples(
                    settings, workload, model, judge_pool, Path(judged.run), console
                )
            finally:
                await model.close()
        _check_judged(collected)
        spent = judge_pool.spent if judge_pool else Spent()
        results = Results(
            model=judged,
            engine=model.engine,
            settings=settings.model_dump(mode="json", exclude={"token"}),
            config=config,
            config_hash=canonical_hash(config.model_dump(mode="json")),
            sandbox=sandbox,
            selftest_failed=workload.selftest_failed,
            missing=workload.missing,
            excluded=workload.excluded,
            created=datetime.now(UTC),
            git_commit=git_commit(),
            versions=versions,
            cost=Cost(
                seconds=time.monotonic() - began,
                generation_seconds=collected.seconds,
                execution_cpu_seconds=spent.cpu_s,
                tokens=collected.tokens,
                tokens_per_s=collected.tokens / collected.seconds if collected.seconds else 0.0,
                programs_run=spent.programs_run,
                programs_cached=spent.programs_cached,
                samples_resumed=collected.resumed,
            ),
            languages=metrics.scores_by_language(collected.samples),
            pool=metrics.language_score(collected.samples),
            hole_parts=metrics.scores_by_hole(collected.samples),
            problems=metrics.problem_scores(collected.samples),
        )
    write_report(results, collected.samples, Path(judged.run))
    write_atomically(Path(judged.run) / RESULTS_FILE, results.model_dump_json(indent=2) + "\n")
    return results


async def _problem_workload(settings: EvalSettings, judge_pool: JudgePool, console: Console) -> Workload:
    """Return the problems whose own solution passes here: failing another one says nothing about a model."""
    problem_set = problem_sets.load(settings.problems, settings.languages)
    sound = [problem for problem in problem_set.problems if not problem.excluded]
    missing = judge_pool.missing({problem.language for problem in sound})
    runnable = [problem for problem in sound if problem.language not in missing]
    tested = await selftest.check(runnable, judge_pool, console, wrong=False)
    failed = [one.problem for one in tested.failed]
    asked = tuple(problem for problem in runnable if problem.id not in failed)
    if not asked:
        reasons = [f"{name}: {reason}" for name, reason in missing.items()]
        if failed:
            reasons.append("their own solutions fail (`python -m eval_humaneval selftest` names them)")
        raise ConfigError(f"No problem can be run on this machine: {'; '.join(reasons)}.")
    excluded = {problem.id: problem.excluded for problem in problem_set.problems if problem.excluded}
    return Workload(settings.problems, asked, {}, failed, excluded, missing)


def _hole_workload(settings: EvalSettings) -> Workload:
    folder = Path(settings.holes or "").expanduser().resolve()
    holes = cut_holes(folder, per_language=settings.holes_per_language, seed=settings.seed)
    present = dict.fromkeys(hole.problem.language for hole in holes)
    if settings.languages:
        holes = [hole for hole in holes if hole.problem.language in settings.languages]
    if not holes:
        raise ConfigError(
            f"{folder} has no hole in {', '.join(settings.languages)}, only in {', '.join(present)}."
        )
    by_id = {hole.problem.id: hole for hole in holes}
    problems = tuple(hole.problem for hole in holes)
    return Workload([f"holes in {folder.name}"], problems, by_id, [], {}, {})


def _check_judged(collected: CollectedSamples) -> None:
    """Raise SandboxUnavailable when a language has no judged sample, and so no figures."""
    judged = {one.language for one in collected.samples if one.outcome != "infrastructure"}
    unjudged = {one.language: one.detail for one in collected.samples if one.language not in judged}
    if unjudged:
        details = "; ".join(f"{name}: {detail}" for name, detail in unjudged.items())
        raise SandboxUnavailable(
            f"No program could be judged in {details}. Repair that and give the same command again; it "
            "resumes."
        )


def _config(settings: EvalSettings, workload: Workload) -> EvalConfig:
    return EvalConfig(
        problem_sets=workload.set_names,
        problems_hash=problem_sets.hash_of(workload.problems),
        languages=list(dict.fromkeys(problem.language for problem in workload.problems)),
        samples=settings.samples,
        temperature=settings.temperature,
        top_p=settings.top_p,
        max_tokens=settings.max_tokens,
    )


def _judged_model(
    settings: EvalSettings, folder: ModelFolder | None, config: EvalConfig, judged_by: dict[str, Any]
) -> tuple[JudgedModel, dict[str, Any]]:
    """Return the model with its run's folder, and everything that the run's samples depend on. The number of
    samples is not part of it: a run with more samples extends the same folder."""
    files = file_hashes(folder.path) if folder else {}
    name = folder.name if folder else settings.model
    engine = suiting(folder) if folder and settings.engine == "auto" else settings.engine
    inputs = config.model_dump(mode="json", exclude={"samples"}) | {
        "files": files, "server": settings.server_url, "engine": engine, "seed": settings.seed, **judged_by,
    }  # fmt: skip
    target = settings.to or home() / "eval" / f"{name}-{canonical_hash(inputs)[:12]}"
    return JudgedModel(name=name, files=files, run=str(target.resolve())), {"name": name} | inputs


def _open_model(settings: EvalSettings, folder: ModelFolder | None) -> Model:
    if folder is None:
        token = settings.token.get_secret_value() if settings.token else None
        return HttpModel(settings.server_url or "", settings.model, token)
    options = EngineOptions(
        kv_cache_gb=settings.kv_cache_gb, max_streams=settings.streams, threads=settings.threads
    )
    return EngineModel(open_engine(folder, settings.engine, options))


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), "machine": platform.machine()} | {
        package: version(package) for package in ("acepilot", "openvino-genai", "numpy")
    }
