"""For models without fill-in-the-middle, a step of service.py: which of several drafts, and where it stops.

The model writes on from the prefix and never sees the suffix. So the greedy draft gets rivals, each may stop
at the end of several lines, and what decides is how probable the code after the cursor becomes behind it.
docs/suffix.md has what that costs and gains.
"""

import asyncio
import hashlib
import time
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from acepilot.postprocess.chain import Context, finish
from acepilot.prompt import CountTokens
from acepilot.protocol import SuffixChoice
from server.engine.base import Engine, GenerationRequest
from server.stop_monitor import GeneratedText

T = TypeVar("T")

TEMPERATURE = 0.8
TOP_P = 0.95
"""Of the rivals: lower ones repeat the greedy draft more often than they better it."""

LEAD_NATS = 4.0
"""By so much a rival must beat the greedy draft, and nothing may beat what is offered: on less, the greedy
draft is better on average (docs/suffix.md)."""

STOPS = 3
"""Line ends of a draft that are tried, from the first on, besides its own end: more found nothing more."""

AT_ONCE = 4
"""Texts scored at once. They share the engine's steps; but each takes a row of its KV cache, where the prompt
of the next keystroke may be waiting."""

BEFORE_CHARS, BEFORE_TOKENS = 800, 384
AFTER_CHARS, AFTER_TOKENS = 200, 96
AFTER_LINES = 3
JOINT_CHARS = 16
"""What is read around the inserted text. Code keeps well within the tokens; they are for other scripts."""

ROOM_TOKENS = 512
"""All of that; a context must have room for twice the draft besides, since it is tokenised anew."""


@dataclass(frozen=True)
class Gap:
    """The place to fill: the end of the prompt, and the lines that must follow what is inserted.

    `joint` is what stands between the two: where the cursor's line is blank to its right, its newline and
    blank lines below. Their tokens depend on what is inserted, while those of `after` never do.
    """

    before: str
    joint: str
    after: str


def gap_of(prompt: str, suffix: str, count_tokens: CountTokens) -> Gap:
    """`prompt` as the model gets it; `suffix` has more than white space."""
    code = len(suffix) - len(suffix.lstrip())
    start = suffix.rfind("\n", 0, code) + 1
    lines = suffix[start : code + AFTER_CHARS].splitlines(keepends=True)
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


def candidates(prompt: str, gap: Gap, max_tokens: int, count: int) -> list[GenerationRequest]:
    """The greedy one and its rivals, whose seeds follow from the texts: the same question has one answer."""
    digest = hashlib.sha256(f"{prompt}\0{gap.joint}{gap.after}".encode(errors="surrogatepass")).digest()
    seed = int.from_bytes(digest[:4], "big") >> 2
    return [GenerationRequest(prompt, max_tokens)] + [
        GenerationRequest(prompt, max_tokens, TEMPERATURE, TOP_P, seed + rival) for rival in range(1, count)
    ]


EMPTY = GeneratedText("", "stop", None)


@dataclass(frozen=True)
class Chosen:
    """`draft` is empty where nothing is better than any. `reason`: a sentence for the user."""

    draft: GeneratedText
    report: SuffixChoice
    reason: str


@dataclass(frozen=True)
class _Offer:
    """`cut`: the beginning of draft number `number`, or all of it. `text`: what the filters leave of that."""

    number: int
    cut: GeneratedText
    text: str


async def choose(
    engine: Engine, gap: Gap, drafts: Sequence[GeneratedText], context: Context | None
) -> Chosen:
    """`drafts`: the greedy one first. In raw mode, which has no `context`, one of them is taken in any case.

    Raises EngineFailed.
    """
    began = time.perf_counter()
    offers = _offers(drafts, context)
    report = SuffixChoice(drafts=len(drafts), texts=len(offers))
    if not offers or (len(offers) == 1 and context is None):
        return Chosen(offers[0].cut if offers else drafts[0], report, "")
    at_once = asyncio.Semaphore(AT_ONCE)

    async def score(text: str) -> list[float]:
        async with at_once:
            return await engine.score(gap.before + text + gap.joint, gap.after)

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
        return Chosen(
            EMPTY, report, "Nothing: the code below the cursor is likelier without any of the drafts."
        )
    return Chosen(offers[best].cut, report, _reason(offers[best], drafts, report))


def _reason(offer: _Offer, drafts: Sequence[GeneratedText], report: SuffixChoice) -> str:
    which = f"draft {offer.number + 1} of {len(drafts)}" if offer.number else "the greedy draft"
    where = "" if offer.cut is drafts[offer.number] else " up to the end of a line"
    return (
        f"Offered: {len(offer.text)} characters, {which}{where}: the code below the cursor is "
        f"{report.chosen_nats:+.1f} nats likelier after it."
    )


def _offers(drafts: Sequence[GeneratedText], context: Context | None) -> list[_Offer]:
    """Different texts that could be offered, those of the greedy draft first."""
    offers: dict[str, _Offer] = {}
    for number, draft in enumerate(drafts):
        for end in (len(draft.text), *_line_ends(draft.text)):
            cut = draft.until(end)
            text = cut.text
            if context is not None:
                text = finish(text, context, truncated=cut.finish_reason == "length").text
            if text.strip():
                offers.setdefault(text, _Offer(number, cut, text))
    return list(offers.values())


def _line_ends(text: str) -> list[int]:
    ends = [at for at, char in enumerate(text) if char == "\n" and text[:at].strip()]
    return ends[:STOPS]


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All results, in order; the first error ends the rest and is raised as itself."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
