"""Collect a run's samples: ask the model, judge the answers, append each judged sample to samples.jsonl."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from acepilot.progress import count_progress
from eval_humaneval.execution.judge_pool import JudgePool, run_all
from eval_humaneval.generation import IsComplete, Model, ModelAnswer
from eval_humaneval.holes.hole import Hole
from eval_humaneval.holes.score import find_end, score
from eval_humaneval.problems.problem import Problem, program_of
from eval_humaneval.results import SAMPLES_FILE, Sample, open_for_append, read_samples
from eval_humaneval.settings import EvalSettings


@dataclass(frozen=True)
class Workload:
    """The problems of a run. `holes` are by problem id, `excluded` and `missing` say why something is left
    out: by problem id and by language."""

    set_names: list[str]
    problems: tuple[Problem, ...]
    holes: dict[str, Hole]
    selftest_failed: list[str]
    excluded: dict[str, str]
    missing: dict[str, str]


@dataclass(frozen=True)
class CollectedSamples:
    """All samples of a run. `seconds` and `tokens` of generation do not count the first `resumed` samples,
    which an earlier start of the run had left in the folder."""

    samples: list[Sample]
    seconds: float
    tokens: int
    resumed: int


async def collect_samples(
    settings: EvalSettings,
    workload: Workload,
    model: Model,
    judge_pool: JudgePool | None,
    folder: Path,
    console: Console,
) -> CollectedSamples:
    """Generate and judge the samples that samples.jsonl in `folder` lacks. A sample there that timed out or
    was not judged is judged again: the machine may have been busy. Holes need no `judge_pool`."""
    wanted = {(problem.id, index) for problem in workload.problems for index in range(settings.samples)}
    found = {
        (one.problem, one.index): one for one in read_samples(folder) if (one.problem, one.index) in wanted
    }
    unsettled = {key: one for key, one in found.items() if one.outcome in ("infrastructure", "timeout")}
    settled = found.keys() - unsettled.keys()
    samples = [found[key] for key in found if key in settled]
    streams = asyncio.Semaphore(settings.streams)
    began = last = time.monotonic()
    tokens = 0

    async def collect_one(problem: Problem, index: int) -> None:
        nonlocal last, tokens
        hole = workload.holes.get(problem.id)
        sample = unsettled.get((problem.id, index))
        if sample is None:
            async with streams:
                answer = await model.complete(problem, index, settings, _is_complete(problem, hole))
                # The likelihood of the true text is the same for every sample of a hole.
                log_probs = await model.score(problem, hole.truth) if hole and index == 0 else None
            last, tokens = time.monotonic(), tokens + answer.tokens
            sample = _unjudged(problem, index, answer)
            if hole:
                sample.hole = score(hole, answer.text, log_probs)
                sample.outcome = "passed" if sample.hole.exact_match else "failed"
        if judge_pool:
            judgement = await judge_pool.judge(program_of(problem, sample.completion))
            sample.outcome, sample.detail = judgement.outcome, judgement.detail
        samples.append(sample)
        file.write(sample.model_dump_json() + "\n")
        file.flush()
        advance(len(samples))

    at = f" at {settings.server_url}" if settings.server_url else ""
    with (
        open_for_append(folder / SAMPLES_FILE) as file,
        count_progress(f"asking {settings.model}{at}", len(wanted), console) as advance,
    ):
        advance(len(samples))
        await run_all(
            collect_one(problem, index)
            for problem in workload.problems
            for index in range(settings.samples)
            if (problem.id, index) not in settled
        )
    return CollectedSamples(samples, last - began, tokens, len(settled))


def _is_complete(problem: Problem, hole: Hole | None) -> IsComplete:
    if hole:
        return lambda text: find_end(hole, text) is not None
    return lambda text: any(stop in text for stop in problem.stops)


def _unjudged(problem: Problem, index: int, answer: ModelAnswer) -> Sample:
    return Sample(
        problem=problem.id,
        cluster=problem.cluster,
        language=problem.language,
        index=index,
        completion=answer.text,
        outcome="infrastructure",
        detail="",
        truncated=answer.truncated,
        tokens=answer.tokens,
        seconds=answer.seconds,
    )
