"""The snippets from other open files."""

from lsprotocol import types

from lsp.keystroke.snippets import BUDGET_CHARS, FAR_LINES, IDLE_S, OpenFileSnippets
from lsp.text.documents import Documents
from lsp.text.positions import split_lines
from tests.lsp.snapshots import snapshot


class Workspace:
    """Open documents, the snippets from them, and a clock that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.documents = Documents()
        self.snippets = OpenFileSnippets(self.documents, lambda: ["file:///w"], lambda: self.now)

    def open(self, name: str, text: str) -> None:
        self.documents.open(types.TextDocumentItem(f"file:///w/{name}", "python", 1, text))

    def edit(self, name: str, version: int, text: str) -> None:
        change = types.TextDocumentContentChangeWholeDocument(text=text)
        self.documents.change(f"file:///w/{name}", version, [change])

    def paths(self, prefix: str, name: str = "a.py", line: int = 0) -> list[str]:
        here = snapshot(prefix, uri=f"file:///w/{name}", line=line)
        return [snippet.path for snippet in self.snippets.near(here)]


PREFIX = "total = parse_invoice(customer, amount)\n"
LIKE = "def parse_invoice(customer, amount):\n    return customer\n"
UNLIKE = "class Window:\n    width = 3\n    colour = None\n"


def test_similar_chunks_of_other_files_are_snippets() -> None:
    workspace = Workspace()
    workspace.open("a.py", PREFIX + LIKE)
    workspace.open("like.py", LIKE)
    workspace.open("unlike.py", UNLIKE)
    assert workspace.paths(PREFIX) == ["like.py"]


def test_selected_chunks_stay_and_keep_their_positions() -> None:
    workspace = Workspace()
    workspace.open("a.py", PREFIX)
    workspace.open("one.py", LIKE)
    assert workspace.paths(PREFIX) == ["one.py"]
    workspace.open("two.py", LIKE + "amount = 3\n")
    assert workspace.paths(PREFIX) == ["one.py"], "renewed without a reason"
    workspace.now += IDLE_S + 1
    assert workspace.paths(PREFIX) == ["one.py", "two.py"], "new chunks are appended"
    workspace.open("three.py", LIKE)
    assert len(workspace.paths(PREFIX, line=FAR_LINES)) == 2
    assert workspace.paths(PREFIX, line=FAR_LINES + 1)[:2] == ["one.py", "two.py"]
    assert len(workspace.paths(PREFIX, line=FAR_LINES + 1)) == 3


def test_a_recent_edit_raises_the_score() -> None:
    workspace = Workspace()
    workspace.open("a.py", PREFIX)
    workspace.open("edited.py", UNLIKE)
    assert workspace.paths(PREFIX) == []
    workspace.edit("edited.py", 2, UNLIKE + "x = 1\n")
    edited = workspace.documents.get("file:///w/edited.py")
    assert edited is not None
    edited.changed_at = workspace.now
    workspace.now += IDLE_S + 1
    assert workspace.paths(PREFIX) == ["edited.py"]


def test_snippets_stay_within_the_budget() -> None:
    workspace = Workspace()
    workspace.open("a.py", PREFIX)
    workspace.open("big.py", (LIKE + "# filler " + "y" * 60 + "\n") * 500)
    workspace.open("long.py", LIKE + "#" * 20_000)
    snippets = workspace.snippets.near(snapshot(PREFIX))
    assert 0 < sum(len(snippet.text) for snippet in snippets) <= BUDGET_CHARS
    assert {snippet.path for snippet in snippets} == {"big.py"}


def test_a_huge_file_is_read_around_its_last_edit() -> None:
    workspace = Workspace()
    workspace.open("a.py", PREFIX)
    workspace.open("huge.py", "x = 1\n" * 50_000)
    huge = workspace.documents.get("file:///w/huge.py")
    assert huge is not None
    huge.lines[40_000:40_000] = split_lines(LIKE)[:-1]
    huge.changed_line = 40_000
    assert workspace.paths(PREFIX) == ["huge.py"]
