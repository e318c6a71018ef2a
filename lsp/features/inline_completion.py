"""`textDocument/inlineCompletion`: ghost text."""

import time

from lsprotocol import types
from pygls.lsp.server import LanguageServer

from lsp.features.feedback import when_accepted
from lsp.feedback.outcomes import Outcomes
from lsp.keystroke.suggest import Suggester
from lsp.suggestion import Suggestion
from lsp.text.documents import Documents
from lsp.text.positions import Encoding, units_from_index
from lsp.text.ranges import reach


def register(server: LanguageServer, documents: Documents, suggester: Suggester, outcomes: Outcomes) -> None:
    @server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())
    async def inline_completion(  # pyright: ignore[reportUnusedFunction]
        params: types.InlineCompletionParams,
    ) -> types.InlineCompletionList | None:
        asked_s = time.monotonic()
        suggestions = await suggester.suggest(
            params.text_document.uri,
            params.position,
            invoked=params.context.trigger_kind == types.InlineCompletionTriggerKind.Invoked,
            selected=params.context.selected_completion_info,
        )
        if not suggestions:
            return None
        outcomes.offered(suggestions, (time.monotonic() - asked_s) * 1000)
        return types.InlineCompletionList([_item(one, documents.encoding) for one in suggestions])


def _item(suggestion: Suggestion, encoding: Encoding) -> types.InlineCompletionItem:
    selected = suggestion.snapshot.selected
    return types.InlineCompletionItem(
        insert_text=with_editors_line_ends(suggestion, selected.text if selected else ""),
        range=replaced_range(suggestion, encoding),
        command=when_accepted(suggestion),
    )


def replaced_range(suggestion: Suggestion, encoding: Encoding, word_chars: int = 0) -> types.Range:
    """Return the range on one line that the suggestion replaces.

    It begins `word_chars` before the cursor and ends after the closers that the suggestion has itself. If an
    item of the editor's menu is selected, the range begins with the item's range.
    """
    here = suggestion.snapshot
    over = here.line_after[: reach(suggestion.text, here.line_after)]
    over_units = units_from_index(over, len(over), encoding)
    if here.selected is not None:
        start, end = here.selected.range.start, here.selected.range.end
        return types.Range(start, types.Position(end.line, end.character + over_units))
    word = here.line_before[len(here.line_before) - word_chars :]
    start_column = here.column - units_from_index(word, len(word), encoding)
    end_column = here.column + over_units
    return types.Range(types.Position(here.line, start_column), types.Position(here.line, end_column))


def with_editors_line_ends(suggestion: Suggestion, before: str = "") -> str:
    return (before + suggestion.text).replace("\n", suggestion.snapshot.eol)
