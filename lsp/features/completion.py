"""`textDocument/completion`: the same suggestion in the menu of editors that know no inline completion.

Announced only to those: an editor with both would show everything twice.
"""

import re
import time

from lsprotocol import types
from pygls.lsp.server import LanguageServer

from lsp.features.feedback import when_accepted
from lsp.features.inline_completion import replaced_range, with_editors_line_ends
from lsp.feedback.outcomes import Outcomes
from lsp.keystroke.suggest import Suggester
from lsp.text.documents import Documents

TRIGGER_CHARACTERS = [".", ":", "=", "(", "[", "{", "<", ",", '"', "'", "@"]
LABEL_CHARS = 60

_WORD_END = re.compile(r"\w*\Z")


def register(server: LanguageServer, documents: Documents, suggester: Suggester, outcomes: Outcomes) -> None:
    @server.feature(
        types.TEXT_DOCUMENT_COMPLETION, types.CompletionOptions(trigger_characters=TRIGGER_CHARACTERS)
    )
    async def completion(  # pyright: ignore[reportUnusedFunction]
        params: types.CompletionParams,
    ) -> types.CompletionList:
        asked = time.monotonic()
        # LSP's `Invoked` here also means "typed an identifier": nobody asked by hand for certain.
        suggestions = await suggester.suggest(params.text_document.uri, params.position, invoked=False)
        if not suggestions:
            return types.CompletionList(is_incomplete=True, items=[])
        outcomes.offered(suggestions, (time.monotonic() - asked) * 1000)
        suggestion = suggestions[0]
        # Clients filter by the word left of the cursor, so the item covers and repeats that word.
        found = _WORD_END.search(suggestion.snapshot.line_before)
        word = found.group() if found else ""
        text = word + with_editors_line_ends(suggestion)
        first_line = text.strip().split("\n")[0].rstrip()
        replaced = replaced_range(suggestion, documents.encoding, len(word))
        # Neovim 0.11 inserts an edit's text up to its first white space only. Where the text just goes on
        # from the cursor, the plain form says the same, and it takes that whole.
        is_plain = replaced.end.character == suggestion.snapshot.column and "\n" not in text
        item = types.CompletionItem(
            label=first_line if len(first_line) <= LABEL_CHARS else first_line[: LABEL_CHARS - 1] + "…",
            label_details=types.CompletionItemLabelDetails(description="Acepilot"),
            kind=types.CompletionItemKind.Text,
            detail="Acepilot",
            documentation=types.MarkupContent(
                types.MarkupKind.Markdown, f"```{suggestion.snapshot.language}\n{text}\n```"
            ),
            preselect=False,
            sort_text="\U0010ffff",  # after everything that a real language server knows
            filter_text=text.split("\n")[0].rstrip() or first_line,
            insert_text_format=types.InsertTextFormat.PlainText,
            insert_text_mode=types.InsertTextMode.AsIs,
            insert_text=text if is_plain else None,
            text_edit=None if is_plain else types.TextEdit(replaced, text),
            command=when_accepted(suggestion),
        )
        return types.CompletionList(is_incomplete=True, items=[item])
