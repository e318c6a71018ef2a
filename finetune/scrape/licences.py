"""Scrape, step 3: find the licence of a folder by its licence text and its package.json.

Many packages append the notices of bundled code to their licence. Libraries that compare whole texts with
SPDX's (identify, licensee) then find nothing, so this module looks for a phrase that only one licence has.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from finetune.scrape.source_files import files_below

ALLOWED = ("MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "0BSD", "Unlicense", "CC0-1.0")
"""Permissive licences: code under them may be learnt from and redistributed. --allow adds others."""
UNKNOWN = "unknown"
OWN = "own code"
"""The licence of sources given with --own. It is always allowed, and a package cannot declare it."""

_ISC = (
    r"permission to use, copy, modify, and(?:/or)? distribute this software "
    r"for any purpose with or without fee "
)
# These count anywhere in a text: such licences also name the permissive licence that they restrict or become.
_RESTRICTIVE = (
    ("BUSL-1.1", r"business source license"),
    ("Commons-Clause", r"commons clause"),
    ("SSPL-1.0", r"server side public license"),
    ("Elastic-2.0", r"elastic license"),
    ("PolyForm", r"polyform \w+"),
    ("non-commercial", r"non-?commercial"),
)
# Ordered: where two phrases match at the same place, the first wins, so the longer form comes first.
_PHRASES = (
    ("AGPL-3.0", r"gnu affero general public license"),
    ("LGPL-3.0", r"gnu (lesser|library) general public license"),
    ("GPL-3.0", r"gnu general public license"),
    ("MPL-2.0", r"mozilla public license,? v(ersion|\.)? ?2\.0"),
    ("Apache-2.0", r"apache license,? version 2\.0"),
    ("Unlicense", r"this is free and unencumbered software released into the public domain"),
    ("CC0-1.0", r"cc0 1\.0 universal"),
    ("BSD-2-Clause", r"redistribution and use in source and binary forms"),
    ("ISC", _ISC + r"is hereby granted, provided"),
    ("0BSD", _ISC),
    ("MIT", r"permission is hereby granted, free of charge, to any person obtaining a copy"),
)
LICENCE_FILE = re.compile(
    r"(licen[cs]e|copying|unlicense)([-_.](md|txt|rst|mit|apache.*|bsd))?", re.IGNORECASE
)
_SPDX_TAG = re.compile(r"SPDX-License-Identifier:\s*([\w.+-]+(?:\s+(?:OR|AND|WITH)\s+[\w.+-]+)*)")
_MAX_TEXT_CHARS = 200_000  # of a licence file; the project's own licence comes first
_MAX_PACKAGE_JSON_BYTES = 1_000_000  # npm's largest have some 100 kB
_MAX_EXPRESSION_CHARS = 1_000  # of an SPDX expression; real ones name a few licences


@dataclass(frozen=True)
class Licence:
    """An SPDX expression or UNKNOWN; `evidence` names the files that state it."""

    spdx: str
    evidence: str


def licence_of(folder: Path) -> Licence:
    """Return the licence of a folder by the files directly in it."""
    declared = _declared(folder / "package.json")
    found = [
        Licence(licence_of_text(path.read_text("utf-8", errors="replace")[:_MAX_TEXT_CHARS]), path.name)
        for path in sorted(folder.iterdir())
        if LICENCE_FILE.fullmatch(path.name) and path.is_file()
    ]
    named = [licence for licence in found if licence.spdx != UNKNOWN]
    if declared is not None and any(licence.spdx in declared for licence in named):
        return Licence(declared, "package.json, " + ", ".join(licence.evidence for licence in named))
    if named:  # the text is binding; two texts in one folder offer a choice
        spdx = " OR ".join(dict.fromkeys(licence.spdx for licence in named))
        return Licence(spdx, ", ".join(licence.evidence for licence in named))
    if declared is not None and not found:
        return Licence(declared, "package.json")
    return Licence(UNKNOWN, ", ".join(licence.evidence for licence in found) or "no licence file")


def licence_of_text(text: str) -> str:
    """Return the licence whose phrase comes first in `text`; notices of bundled code come later."""
    plain = re.sub(r"[\s*#>\"'“”]+", " ", text.lower())
    restricted = next((name for name, phrase in _RESTRICTIVE if re.search(phrase, plain)), None)
    if restricted is not None:
        return restricted
    matches = [(match.start(), name) for name, phrase in _PHRASES if (match := re.search(phrase, plain))]
    first = min((start for start, _ in matches), default=-1)
    name = next((name for start, name in matches if start == first), UNKNOWN)
    # Not a pattern with `.*`, which would read to the end of the text again for each time the phrase occurs.
    is_bsd3 = name == "BSD-2-Clause" and "neither the name" in plain[first:]
    return "BSD-3-Clause" if is_bsd3 else name


def nested_licences(folder: Path) -> dict[str, str]:
    """Return the licence of each subfolder with a licence text of its own, by path."""
    places = [name.rpartition("/") for name in files_below(folder)]
    inner = dict.fromkeys(inside for inside, _, name in places if inside and LICENCE_FILE.fullmatch(name))
    return {inside: licence_of(folder / inside).spdx for inside in inner}


def tagged_licence(head: str) -> str | None:
    """Return the SPDX tag in a file's first lines, which overrides the repository's licence."""
    match = _SPDX_TAG.search(head)
    return match.group(1) if match else None


def is_allowed(spdx: str, allowed: tuple[str, ...] = ALLOWED) -> bool:
    """Return whether an SPDX expression permits use of the code under allowed licences only."""
    if spdx == OWN:
        return True
    if len(spdx) > _MAX_EXPRESSION_CHARS:  # the time below grows with the square of the length
        return False
    while (inner := re.search(r"\(([^()]*)\)", spdx)) is not None:
        verdict = allowed[0] if _permits(inner.group(1), allowed) else "refused"
        spdx = f"{spdx[: inner.start()]} {verdict} {spdx[inner.end() :]}"
    return _permits(spdx, allowed)


def _permits(choices: str, allowed: tuple[str, ...]) -> bool:
    """Evaluate an expression without parentheses; AND binds tighter than OR."""
    return any(
        all(part.strip() in allowed for part in re.split(r"\s+AND\s+", choice))
        for choice in re.split(r"\s+OR\s+", choices)
    )


def _declared(package_json: Path) -> str | None:
    """Return the SPDX expression in a package.json; None if it has none, or it cannot be read."""
    try:
        if package_json.stat().st_size > _MAX_PACKAGE_JSON_BYTES:
            return None
        document: Any = json.loads(package_json.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    value: Any = cast(dict[str, Any], document).get("license")
    if isinstance(value, dict):  # the form of old packages
        value = cast(dict[str, Any], value).get("type")
    if not isinstance(value, str) or value in ("UNLICENSED", OWN) or value.upper().startswith("SEE LICENSE"):
        return None
    return value if value.isprintable() and len(value) <= _MAX_EXPRESSION_CHARS else None
