"""Wait for one request's answer in a stream: a step between suggest.py and shared_stream.py.

The best answer is the complete text. If that takes long, the first whole lines are shown without the rest;
the rest is in the cache by the time that the user has accepted those lines.
"""

import time

from lsp.keystroke.editor_request import NOTHING_TO_ADD, SUPERSEDED, EditorRequest, Nothing
from lsp.keystroke.shared_stream import SharedStream
from lsp.suggestion import Suggestion
from lsp.text.documents import Snapshot

WHOLE_TEXT_S = 0.75  # from the stream's start; after it, the whole lines received so far are an answer


class DivergedError(Exception):
    """The user typed something other than the stream's text: the server must be asked again."""


async def follow(
    stream: SharedStream, snapshot: Snapshot, editor_request: EditorRequest, deadline_s: float
) -> Suggestion | Nothing:
    """Return the stream's answer for `snapshot`, which may be some keys later than the stream's own.

    Raises DivergedError as soon as the stream cannot answer there any more, ServerError if the stream broke,
    and TimeoutError at the deadline if no line is whole by then; the stream then goes on, for the cache.
    """
    stream.join(editor_request.woken)
    finish = False
    try:
        while not stream.done and not editor_request.superseded:
            if (typed := stream.typed_since(snapshot)) is None:
                raise DivergedError
            now_s, lines_at_s = time.monotonic(), stream.began_s + WHOLE_TEXT_S
            if now_s >= min(lines_at_s, deadline_s) and (lines := _whole_lines(stream.text, typed)):
                finish = True
                return Suggestion(lines, snapshot, stream.completion_id, stream.model)
            if now_s >= deadline_s:
                finish = True
                raise TimeoutError
            await editor_request.sleep(
                (lines_at_s if now_s < lines_at_s < deadline_s else deadline_s) - now_s
            )
    finally:
        stream.leave(editor_request.woken, finish=finish)
    if editor_request.superseded:
        return SUPERSEDED
    if stream.error is not None:
        raise stream.error
    if stream.final is None:
        return Nothing("The request was cancelled.")
    typed = stream.typed_since(snapshot)
    if typed is not None and len(stream.final) > len(typed):
        return Suggestion(stream.final[len(typed) :], snapshot, stream.completion_id, stream.model)
    if typed == "":
        return Nothing(stream.reason or NOTHING_TO_ADD, stream.completion_id)
    raise DivergedError


def _whole_lines(text: str, typed: str) -> str:
    """Return the whole lines of `text` after `typed`, or "" if they hold only white space."""
    lines = text[len(typed) : max(text.rfind("\n"), len(typed))]
    return lines if lines.strip() else ""
