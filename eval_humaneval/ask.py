"""Generates and judges, many samples at once; each is a line of samples.jsonl as soon as it is judged."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from acepilot.progress import count_progress
from eval_humaneval.examiner import Examiner, all_of
from eval_humaneval.generate import IsOver, Model, ModelAnswer, Sampling
from eval_humaneval.holes.ends import end_of
from eval_humaneval.holes.hole import Hole
from eval_humaneval.holes.score import score
from eval_humaneval.lines import open_for_lines
from eval_humaneval.problems.problem import Problem, program_of
from eval_humaneval.results import SAMPLES_FILE, Sample, read_samples
from eval_humaneval.settings import EvalSettings


@dataclass(frozen=True)
class Work:
    """What is asked. `set_names` go into the configuration; `holes` are by their problem's id."""

    set_names: list[str]
    problems: tuple[Problem, ...]
    holes: dict[str, Hole]
    selftest_failed: list[str]
    excluded: dict[str, str]
    missing: dict[str, str]


@dataclass(frozen=True)
class Asked:
    """All samples, and what generating took. `resumed` of them were there before."""

    samples: list[Sample]
    seconds: float
    tokens: int
    resumed: int


async def ask(
    settings: EvalSettings,
    work: Work,
    model: Model,
    examiner: Examiner | None,
    target: Path,
    console: Console,
) -> Asked:
    """Asks for what is not yet in the samples.jsonl of the folder `target`, in the order of the problems.
    Holes need no `examiner`.

    What timed out there, or was not judged, is judged again.
    """
    sampling = Sampling(settings.temperature, settings.top_p, settings.max_tokens, settings.seed)
    wanted = {(problem.id, index) for problem in work.problems for index in range(settings.samples)}
    there = {
        (one.problem, one.index): one for one in read_samples(target) if (one.problem, one.index) in wanted
    }
    # A busy machine may have been the reason: such completions are judged once more.
    unsettled = {key: one for key, one in there.items() if one.outcome in ("infrastructure", "timeout")}
    known = there.keys() - unsettled.keys()
    samples = [there[key] for key in there if key in known]
    places = asyncio.Semaphore(settings.streams)
    began = last = time.monotonic()
    tokens = 0

    async def one(problem: Problem, index: int) -> None:
        nonlocal last, tokens
        hole = work.holes.get(problem.id)
        sample = unsettled.get((problem.id, index))
        if sample is None:
            async with places:
                is_over = _filled(hole) if hole else None
                completion = await model.complete(problem, index, sampling, is_over)
                # What a model makes of the truth is the same for all samples.
                log_probs = await model.score(problem, hole.truth) if hole and index == 0 else None
            last, tokens = time.monotonic(), tokens + completion.tokens
            sample = _sample(problem, index, completion)
            if hole:
                sample.hole = score(hole, completion.text, log_probs)
                sample.outcome = "passed" if sample.hole.exact_match else "failed"
        if examiner:
            judgement = await examiner.examine(program_of(problem, sample.completion))
            sample.outcome, sample.detail = judgement.outcome, judgement.detail
        samples.append(sample)
        file.write(sample.model_dump_json() + "\n")
        file.flush()
        advance(len(samples))

    at = f" at {settings.server_url}" if settings.server_url else ""
    with (
        open_for_lines(target / SAMPLES_FILE) as file,
        count_progress(f"asking {settings.model}{at}", len(wanted), console) as advance,
    ):
        advance(len(samples))
        await all_of(
            one(problem, index)
            for problem in work.problems
            for index in range(settings.samples)
            if (problem.id, index) not in known
        )
    return Asked(samples, last - began, tokens, len(known))


def _filled(hole: Hole) -> IsOver:
    return lambda text: end_of(hole, text) is not None


def _sample(problem: Problem, index: int, completion: ModelAnswer) -> Sample:
    """Not judged as yet."""
    return Sample(
        problem=problem.id,
        cluster=problem.cluster,
        language=problem.language,
        index=index,
        completion=completion.text,
        outcome="infrastructure",
        detail="",
        truncated=completion.truncated,
        tokens=completion.tokens,
        seconds=completion.seconds,
    )
