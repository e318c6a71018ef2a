"""Build: the cleaning as datatrove steps, in the order of `cleaning_steps`. Filters count by language.

Every count is a label "filter|language|reason" or "filter|language|kept" in datatrove's statistics.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.filters.base_filter import BaseFilter

from acepilot.languages import LANGUAGES
from finetune.corpus.cleaning.decontaminate import ProblemIndex
from finetune.corpus.cleaning.filters import FILTERS, Code, Filter
from finetune.corpus.cleaning.parse_times import ParseTimes
from finetune.corpus.cleaning.redact import redact
from finetune.corpus.reading.readers import Documents
from finetune.scrape.unreadable import UNREADABLE

DECONTAMINATE = "decontaminate"
LANGUAGE_FILTER = "language"


class CodeFilter(BaseFilter):
    """Apply one filter to scraped code. Records pass: the user chose them."""

    def __init__(self, name: str, check: Filter, allowed: tuple[str, ...], times: ParseTimes) -> None:
        self.name = name
        super().__init__()
        self.check = check
        self.allowed = allowed
        self.times = times

    def filter(self, doc: Document) -> bool:
        row = doc.metadata
        if row["kind"] != "code":
            return True
        try:
            language = LANGUAGES[row["language"]]
            code = Code(doc.text, language, row["licence"], self.allowed, row["repository"], self.times)
            reason = self.check(code)
        except UNREADABLE as error:  # one odd file must not end the build
            reason = f"cannot be checked ({type(error).__name__})"
        self.stat_update(f"{self.name}|{row['language']}|{reason or 'kept'}")
        return reason is None


class Decontaminate(PipelineStep):
    """Drop documents that overlap a problem, and list them in the folder `found`, one file for each task."""

    type = "filter"
    name = DECONTAMINATE

    def __init__(self, problems: Sequence[Path], found: Path) -> None:
        super().__init__()
        self.problems = tuple(problems)
        self.found = found

    def run(self, data: Documents = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.found.mkdir(parents=True, exist_ok=True)
        with (self.found / f"{rank:05d}.jsonl").open("w", encoding="utf-8") as file:
            index = ProblemIndex(self.problems)
            for document in data or ():
                problem = index.overlapping(document.text)
                language = document.metadata["language"]
                self.stat_update(f"{DECONTAMINATE}|{language}|{'overlaps a problem' if problem else 'kept'}")
                if problem is None:
                    yield document
                else:
                    file.write(json.dumps([document.id, problem]) + "\n")  # either may hold a line's end


class Redact(PipelineStep):
    """Replace secrets and personal data, in prompt and completion apart, so that their border stays known."""

    type = "mapper"
    name = "redact"

    def run(self, data: Documents = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:  # pyright: ignore[reportIncompatibleMethodOverride]
        for document in data or ():
            border = document.metadata["prompt_chars"]
            language = document.metadata["language"]
            prompt, prompt_counts = redact(document.text[:border], language)
            body, body_counts = redact(document.text[border:], language)
            for kind, count in (prompt_counts + body_counts).items():
                self.stat_update(f"redacted|{kind}", value=count)
                document.metadata["redactions"] += count
            document.text = prompt + body
            document.metadata["prompt_chars"] = len(prompt)
            yield document


def cleaning_steps(
    allowed: tuple[str, ...], languages: Sequence[str], problems: Sequence[Path], found: Path
) -> list[PipelineStep]:
    """Return all cleaning steps in their order. Empty `languages` keep every language."""

    def another_language(code: Code) -> str | None:
        return None if code.language.id in languages else "another language"

    filters = ((LANGUAGE_FILTER, another_language), *FILTERS) if languages else FILTERS
    times = ParseTimes()
    steps = [CodeFilter(name, check, allowed, times) for name, check in filters]
    return [*steps, Decontaminate(problems, found), Redact()]
