"""`textDocument/inlineCompletion`: ghost text."""

from lsprotocol import types
from pygls.lsp.server import LanguageServer

from lsp.answer import Suggestion
from lsp.documents import Documents
from lsp.features.feedback import Feedback
from lsp.positions import Encoding, units_from_index
from lsp.ranges import reach
from lsp.suggest import Suggester


def register(server: LanguageServer, documents: Documents, suggester: Suggester, feedback: Feedback) -> None:
    @server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())
    async def inline_completion(  # pyright: ignore[reportUnusedFunction]
        params: types.InlineCompletionParams,
    ) -> types.InlineCompletionList | None:
        suggestion = await suggester.suggest(
            params.text_document.uri,
            params.position,
            invoked=params.context.trigger_kind == types.InlineCompletionTriggerKind.Invoked,
        )
        if suggestion is None:
            return None
        item = types.InlineCompletionItem(
            insert_text=with_editors_line_ends(suggestion),
            range=replaced_range(suggestion, documents.encoding),
            command=feedback.offered(suggestion.id),
        )
        return types.InlineCompletionList(items=[item])


def replaced_range(suggestion: Suggestion, encoding: Encoding, word_chars: int = 0) -> types.Range:
    """From the cursor (`word_chars` before it) to the end of what the text brings itself, on one line."""
    here = suggestion.snapshot
    over = here.line_after[: reach(suggestion.text, here.line_after)]
    word = here.line_before[len(here.line_before) - word_chars :]
    start = here.column - units_from_index(word, len(word), encoding)
    end = here.column + units_from_index(over, len(over), encoding)
    return types.Range(types.Position(here.line, start), types.Position(here.line, end))


def with_editors_line_ends(suggestion: Suggestion) -> str:
    return suggestion.text.replace("\n", suggestion.snapshot.eol)
