"""`textDocument/completion`: the same suggestion in the completion menu, for editors without ghost text.

It is announced only to those editors: one that supports both would show every suggestion twice.
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

TRIGGERS = [".", ":", "=", "(", "[", "{", "<", ",", '"', "'", "@"]
LABEL_CHARS = 60  # a longer label is cut: menus are narrow

_WORD_END = re.compile(r"\w*\Z")
_FENCES = re.compile("`{3,}")


def register(
    server: LanguageServer,
    documents: Documents,
    suggester: Suggester,
    outcomes: Outcomes,
    client: types.CompletionClientCapabilities | None,
) -> None:
    formats = client.completion_item and client.completion_item.documentation_format if client else None
    in_markdown = types.MarkupKind.Markdown in (formats or ())

    @server.feature(types.TEXT_DOCUMENT_COMPLETION, types.CompletionOptions(trigger_characters=TRIGGERS))
    async def completion(  # pyright: ignore[reportUnusedFunction]
        params: types.CompletionParams,
    ) -> types.CompletionList:
        asked_s = time.monotonic()
        # LSP's trigger kind `Invoked` also covers typing an identifier: it does not mean a request by hand.
        suggestions = await suggester.suggest(params.text_document.uri, params.position, invoked=False)
        if not suggestions:
            return types.CompletionList(is_incomplete=True, items=[])
        outcomes.offered(suggestions, (time.monotonic() - asked_s) * 1000)
        suggestion = suggestions[0]
        # Clients filter items by the word left of the cursor, so the item replaces and repeats that word.
        found = _WORD_END.search(suggestion.snapshot.line_before)
        word = found.group() if found else ""
        text = word + with_editors_line_ends(suggestion)
        first_line = text.strip().split("\n")[0].rstrip()
        replaced = replaced_range(suggestion, documents.encoding, len(word))
        # Neovim 0.11 inserts a text edit only up to its first white space. If the text just continues at the
        # cursor, `insert_text` means the same, and Neovim inserts it whole.
        is_plain = replaced.end.character == suggestion.snapshot.column and "\n" not in text
        item = types.CompletionItem(
            label=first_line if len(first_line) <= LABEL_CHARS else first_line[: LABEL_CHARS - 1] + "…",
            label_details=types.CompletionItemLabelDetails(description="Acepilot"),
            kind=types.CompletionItemKind.Text,
            detail="Acepilot",
            documentation=_documentation(text, suggestion.snapshot.language, in_markdown=in_markdown),
            preselect=False,
            sort_text="\U0010ffff",  # after the items of real language servers
            filter_text=text.split("\n")[0].rstrip() or first_line,
            insert_text_format=types.InsertTextFormat.PlainText,
            insert_text_mode=types.InsertTextMode.AsIs,
            insert_text=text if is_plain else None,
            text_edit=None if is_plain else types.TextEdit(replaced, text),
            command=when_accepted(suggestion),
        )
        return types.CompletionList(is_incomplete=True, items=[item])


def _documentation(text: str, language: str, *, in_markdown: bool) -> types.MarkupContent:
    """Return `text` as code: in Markdown, between fences that the text itself cannot end."""
    if not in_markdown:
        return types.MarkupContent(types.MarkupKind.PlainText, text)
    fence = "`" * max([3, *(len(run) + 1 for run in _FENCES.findall(text))])
    word = language if re.fullmatch(r"[\w+#.-]*", language) else ""
    return types.MarkupContent(types.MarkupKind.Markdown, f"{fence}{word}\n{text}\n{fence}")
