"""Chooses between drafts for models without fill-in-the-middle, and where the chosen one stops.

The model continues the prefix and never sees the suffix. So this step of service.py generates sampled drafts
beside the greedy one, and lets each draft end at one of several lines. It offers the text after which the
code below the cursor becomes most probable. docs/suffix.md has the cost and the gain.
"""

import asyncio
import hashlib
import time
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from acepilot.postprocess.chain import finish
from acepilot.postprocess.context import Context
from acepilot.prompt import CountTokens
from acepilot.trail import SuffixChoice
from server.engine.base import Engine, GenerationRequest
from server.stop_monitor import GeneratedText

T = TypeVar("T")

TEMPERATURE = 0.8
TOP_P = 0.95
"""Sampling of the drafts that are not greedy. Lower values mostly repeat the greedy draft."""

LEAD_NATS = 4.0
"""Minimum lead, in nats, for a sampled draft to replace the greedy one, or for no suggestion to replace a
draft. With a smaller lead the greedy draft is better on average (docs/suffix.md)."""

STOPS = 3
"""Line ends with code before them at which a draft may be cut, from the first one on. More did not help."""

PARALLEL_SCORES = 4
"""Texts scored at the same time. They share the engine's steps, but each takes a row of its KV cache, where
the prompt of the next keystroke may be stored."""

BEFORE_CHARS, BEFORE_TOKENS = 800, 384
AFTER_CHARS, AFTER_TOKENS = 200, 96
AFTER_LINES = 3
JOINT_CHARS = 16
"""Limits of the code around the inserted text that is scored. Code stays far below the token limits, which
are for scripts with more tokens a character."""

ROOM_TOKENS = 512
"""Room in the context for that code. The draft needs twice its tokens besides, as it is tokenised anew."""


@dataclass(frozen=True)
class Gap:
    """The place to fill: the end of the prompt, and the lines that must follow the inserted text.

    `joint` is the white space between the two: when nothing stands right of the cursor, the line's newline
    and the blank lines below. Its tokens depend on the inserted text; those of `after` never do.
    """

    before: str
    joint: str
    after: str


def gap_of(prompt: str, suffix: str, count_tokens: CountTokens) -> Gap:
    """Return the gap between `prompt`, as the model gets it, and `suffix`, which is not all white space."""
    code = len(suffix) - len(suffix.lstrip())
    start = suffix.rfind("\n", 0, code) + 1
    lines = suffix[max(start, code - AFTER_CHARS) : code + AFTER_CHARS].splitlines(keepends=True)
    blank = sum(not line.strip() for line in lines[:AFTER_LINES])
    after = "".join(lines[: AFTER_LINES + blank]).rstrip()
    while count_tokens(after) > AFTER_TOKENS:
        after = after[: len(after) // 2]
    before = prompt[-BEFORE_CHARS:]
    if len(before) < len(prompt):
        before = before[before.find("\n", 0, -1) + 1 :]
    while count_tokens(before) > BEFORE_TOKENS:
        before = before[len(before) // 2 :]
    return Gap(before, suffix[:start][-JOINT_CHARS:], after)


def candidates(
    prompt: str, gap: Gap, max_tokens: int, count: int, cache_salt: str
) -> list[GenerationRequest]:
    """Return the greedy draft's request and the sampled ones.

    The seeds follow from the texts, so that the same request always has the same answer.
    """
    digest = hashlib.sha256(f"{prompt}\0{gap.joint}{gap.after}".encode(errors="surrogatepass")).digest()
    seed = int.from_bytes(digest[:4], "big") >> 2
    greedy = GenerationRequest(prompt, max_tokens, cache_salt=cache_salt)
    return [greedy] + [
        replace(greedy, temperature=TEMPERATURE, top_p=TOP_P, seed=seed + number)
        for number in range(1, count)
    ]


@dataclass(frozen=True)
class Chosen:
    """`draft` is empty when no suggestion is better than every draft. `reason` is a sentence for the user."""

    draft: GeneratedText
    report: SuffixChoice
    reason: str


@dataclass(frozen=True)
class _Offer:
    """`cut` is draft `number`, whole or up to the end of a line. `text` is `cut` after the filters."""

    number: int
    cut: GeneratedText
    text: str


async def choose(
    engine: Engine, gap: Gap, drafts: Sequence[GeneratedText], context: Context | None, cache_salt: str
) -> Chosen:
    """Choose between `drafts`, of which the greedy one is first. Raises EngineFailed.

    In raw mode, which has no `context`, one draft is always chosen.
    """
    began = time.perf_counter()
    offers = await asyncio.to_thread(_offers, drafts, context)
    report = SuffixChoice(drafts=len(drafts), texts=len(offers))
    if not offers or (len(offers) == 1 and context is None):
        return Chosen(offers[0].cut if offers else drafts[0], report, "")
    slots = asyncio.Semaphore(PARALLEL_SCORES)

    async def score(text: str) -> list[float]:
        async with slots:
            return await engine.score(gap.before + text + gap.joint, gap.after, cache_salt=cache_salt)

    scores = await together(score(text) for text in ("", *(offer.text for offer in offers)))
    nothing, *nats = [sum(score) for score in scores]
    has_greedy = offers[0].number == 0
    best = max(range(len(offers)), key=lambda at: nats[at] - (LEAD_NATS if offers[at].number else 0))
    report.chosen = offers[best].number
    report.chosen_nats = nats[best] - nothing
    if has_greedy:
        report.greedy_nats = nats[0] - nothing
    report.scored_tokens = sum(len(score) for score in scores)
    report.score_ms = (time.perf_counter() - began) * 1000
    least = nothing - LEAD_NATS if has_greedy else nothing + LEAD_NATS
    if context is not None and nats[best] < least:
        report.chosen = None
        reason = "Nothing: the code below the cursor is likelier without any of the drafts."
        return Chosen(GeneratedText("", "stop", None), report, reason)
    return Chosen(offers[best].cut, report, _reason(offers[best], drafts, report))


def _reason(offer: _Offer, drafts: Sequence[GeneratedText], report: SuffixChoice) -> str:
    which = f"draft {offer.number + 1} of {len(drafts)}" if offer.number else "the greedy draft"
    where = "" if offer.cut is drafts[offer.number] else " up to the end of a line"
    return (
        f"Offered: {len(offer.text)} characters, {which}{where}: the code below the cursor is "
        f"{report.chosen_nats:+.1f} nats likelier after it."
    )


def _offers(drafts: Sequence[GeneratedText], context: Context | None) -> list[_Offer]:
    """Return the different texts that could be offered, those of the greedy draft first."""
    offers: dict[str, _Offer] = {}
    for number, draft in enumerate(drafts):
        line_ends = [at for at, char in enumerate(draft.text) if char == "\n" and draft.text[:at].strip()]
        for end in (len(draft.text), *line_ends[:STOPS]):
            cut = draft.until(end)
            text = cut.text
            if context is not None:
                text = finish(text, context, truncated=cut.finish_reason == "length").text
            if text.strip():
                offers.setdefault(text, _Offer(number, cut, text))
    return list(offers.values())


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Return all results, in order. The first error cancels the rest and is raised unchanged."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
