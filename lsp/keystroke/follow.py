"""What one request waits for in a stream: a step between suggest.py and shared_stream.py.

The stream's end is the best answer. Where that takes long, its first whole lines are shown without the rest,
which the cache has when they are accepted.
"""

import time

from lsp.keystroke.answer import NOTHING_TO_ADD, SUPERSEDED, Nothing, Suggestion
from lsp.keystroke.editor_request import EditorRequest
from lsp.keystroke.shared_stream import SharedStream
from lsp.text.documents import Snapshot

WHOLE_TEXT_S = 0.75
"""So long a stream may take before its first whole lines are shown."""


class DivergedError(Exception):
    """The stream says something else than what the user typed: ask anew."""


async def follow(
    live: SharedStream, snapshot: Snapshot, turn: EditorRequest, deadline_s: float
) -> Suggestion | Nothing:
    """What the stream gives for `snapshot`, which may be some keys later than its own.

    Raises DivergedError as soon as it cannot answer there any more, ServerError where it broke, and
    TimeoutError at the deadline, if there is no whole line then: the stream itself goes on, for the cache.
    """
    live.join(turn.woken)
    finish = False
    try:
        while not live.done and not turn.superseded:
            if (typed := live.typed_since(snapshot)) is None:
                raise DivergedError
            now_s, lines_at_s = time.monotonic(), live.began_s + WHOLE_TEXT_S
            if now_s >= min(lines_at_s, deadline_s) and (lines := _whole_lines(live.text, typed)):
                finish = True
                return Suggestion(lines, snapshot, live.completion_id, live.model)
            if now_s >= deadline_s:
                finish = True
                raise TimeoutError
            await turn.sleep((lines_at_s if now_s < lines_at_s < deadline_s else deadline_s) - now_s)
    finally:
        live.leave(turn.woken, finish=finish)
    if turn.superseded:
        return SUPERSEDED
    if live.trouble is not None:
        raise live.trouble
    if live.final is None:
        return Nothing("The request was cancelled.")
    typed = live.typed_since(snapshot)
    if typed is not None and len(live.final) > len(typed):
        return Suggestion(live.final[len(typed) :], snapshot, live.completion_id, live.model)
    if typed == "":
        return Nothing(live.reason or NOTHING_TO_ADD, live.completion_id)
    raise DivergedError


def _whole_lines(text: str, typed: str) -> str:
    """Of a stream's text so far, what follows `typed` up to the end of the last whole line; "" for none."""
    lines = text[len(typed) : max(text.rfind("\n"), len(typed))]
    return lines if lines.strip() else ""
