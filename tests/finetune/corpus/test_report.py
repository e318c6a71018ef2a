"""The report and the card of a corpus have every number of the manifest, with names escaped."""

from html.parser import HTMLParser
from pathlib import Path

from acepilot.corpus import Amount, Contaminated, CorpusManifest, FilterCount, RepositoryEntry
from finetune.corpus.summary.report import render_report, write_card

NAME = "npm:<script>alert('x')</script>&co@1"
MANIFEST = CorpusManifest(
    hash="ab" * 32,
    inputs_hash="",
    options_hash="",
    outputs_hash="",
    options={},
    repositories=[
        RepositoryEntry(id="a", source=NAME, revision="0" * 40, licence="MIT", split=None, content_sha256="")
    ],
    licences={"MIT": Amount(documents=9_004, characters=9_876_543)},
    filters=[
        FilterCount(name="size", seen={"vue": 12_345}, kept={"vue": 12_000}, reasons={"too <large>": 345}),
        FilterCount(name="duplicates", seen={"vue": 12_000}, kept={"vue": 9_004}),
    ],
    redactions={"email": 3, "key": 50, "address": 3},
    contaminated=[Contaminated(document=f"file {number}", problem="Shop/7") for number in range(2_500)],
    documents={"train": {"vue": Amount(documents=8_000)}, "heldout": {"vue": Amount(documents=1_004)}},
    kinds={"train": {"code": Amount(documents=8_000, characters=5)}, "heldout": {}},
    blocks={},
    packing=None,
    files={},
    made_with={},
)


class Page(HTMLParser):
    """Collect the text of each cell, heading and bar, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(data.strip())


def test_the_report_has_every_number_and_escapes_every_name() -> None:
    page = Page(render_report(MANIFEST))
    for text in (
        "9,004 documents from 1 sources",
        "12,000 + 345",
        "8,000 + 1,004",
        "too <large>",
        NAME,
        "by file",
        "9,876,543",
        "Dropped because they overlap an evaluation problem: 2,500",
        "file 199",
    ):
        assert text in page.texts
    assert "file 200" not in page.texts
    assert "script" not in page.tags
    assert "Vue blocks" not in page.texts
    at = page.texts.index("Replaced values")
    assert page.texts[at + 3 : at + 9] == ["key", "50", "address", "3", "email", "3"]


def test_the_card_names_the_tables_that_are_there(tmp_path: Path) -> None:
    for table in ("documents/train", "documents/heldout", "packed/train"):
        (tmp_path / table).mkdir(parents=True)
        (tmp_path / table / "00000.parquet").touch()
    write_card(MANIFEST, tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert card.startswith(
        "---\nconfigs:\n- config_name: documents\n  data_files:\n  - split: train\n    path: "
    )
    assert (
        "- config_name: packed\n  data_files:\n  - split: train\n    path: packed/train/*.parquet\n---\n"
        in card
    )
    assert f"\n- {NAME} (MIT, split by file)\n" in card
