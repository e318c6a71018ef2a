"""Find the licence of a folder, and judge whether it allows use."""

import json
from pathlib import Path

import pytest

from finetune.scrape.licences import (
    ALLOWED,
    is_allowed,
    licence_of,
    licence_of_text,
    nested_licences,
    tagged_licence,
)
from tests.finetune.handmade import MIT, write_files

ISC = (
    "Permission to use, copy, modify, and/or distribute this software for any\n"
    "purpose with or without fee is hereby granted, provided that the above notice appears."
)
ZERO = ISC.replace(", provided that the above notice appears", "")
BSD2 = "Redistribution and use in source and binary forms, with or without modification, are permitted."
BSD3 = BSD2 + "\n3. Neither the name of the holder nor the names of its contributors may be used."


@pytest.mark.parametrize(
    ("text", "spdx"),
    [
        (MIT, "MIT"),
        (ISC, "ISC"),
        (ZERO, "0BSD"),
        (BSD2, "BSD-2-Clause"),
        (BSD3, "BSD-3-Clause"),
        ("  Apache License\n     Version 2.0, January 2004", "Apache-2.0"),
        ("GNU AFFERO GENERAL PUBLIC LICENSE\nVersion 3", "AGPL-3.0"),
        ("GNU LESSER GENERAL PUBLIC LICENSE ... the GNU General Public License", "LGPL-3.0"),
        ("Mozilla Public License Version 2.0", "MPL-2.0"),
        ("This is free and unencumbered software released into the public domain.", "Unlicense"),
        ("All rights reserved.", "unknown"),
        (MIT + "\n\nBundled: some-library\n" + BSD3, "MIT"),
        ("Business Source License 1.1\nChange License: Apache License, Version 2.0", "BUSL-1.1"),
        ("“Commons Clause” License Condition\n\nApache License\nVersion 2.0", "Commons-Clause"),
        (MIT + "\nfor non-commercial use only", "non-commercial"),
    ],
)
def test_a_text_is_recognized_by_its_own_phrase(text: str, spdx: str) -> None:
    assert licence_of_text(text) == spdx


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("(MIT OR GPL-3.0)", True),
        ("MIT AND Apache-2.0", True),
        ("MIT AND GPL-3.0", False),
        ("(MIT OR Apache-2.0) AND CC-BY-4.0", False),
        ("GPL-3.0 AND (MIT OR Apache-2.0)", False),
        ("(MIT AND (GPL-3.0 OR ISC)) OR GPL-2.0", True),
        ("MIT (see LICENSE)", False),
        ("GPL-3.0", False),
        ("unknown", False),
        ("MPL-2.0", False),
    ],
)
def test_an_expression_is_allowed_if_one_of_its_choices_is(expression: str, allowed: bool) -> None:
    assert is_allowed(expression) is allowed


def test_a_licence_is_added_by_name() -> None:
    assert is_allowed("MPL-2.0", (*ALLOWED, "MPL-2.0"))


@pytest.mark.parametrize(
    ("files", "spdx"),
    [
        ({"LICENSE": MIT, "package.json": json.dumps({"license": "MIT"})}, "MIT"),
        ({"package.json": json.dumps({"license": {"type": "ISC"}})}, "ISC"),
        ({"package.json": json.dumps({"license": "SEE LICENSE IN LICENSE.md"})}, "unknown"),
        ({"LICENSE": "All rights reserved.", "package.json": json.dumps({"license": "MIT"})}, "unknown"),
        (
            {"LICENSE": "Business Source License 1.1", "package.json": json.dumps({"license": "MIT"})},
            "BUSL-1.1",
        ),
        ({"LICENSE-MIT": MIT, "LICENSE-APACHE": "Apache License\nVersion 2.0"}, "Apache-2.0 OR MIT"),
        ({"package.json": "{broken"}, "unknown"),
        ({"index.js": "1"}, "unknown"),
    ],
)
def test_the_licence_text_overrides_the_declaration_of_the_package(
    tmp_path: Path, files: dict[str, str], spdx: str
) -> None:
    assert licence_of(write_files(tmp_path, dict(files))).spdx == spdx


def test_a_folder_inside_may_be_under_another_licence(tmp_path: Path) -> None:
    write_files(
        tmp_path, {"LICENSE": MIT, "src/parser/COPYING": "GNU General Public License", "src/a.js": "1"}
    )
    assert nested_licences(tmp_path) == {"src/parser": "GPL-3.0"}


def test_a_file_may_carry_a_tag_of_its_own() -> None:
    assert tagged_licence("// SPDX-License-Identifier: GPL-2.0\nint x;") == "GPL-2.0"
    assert tagged_licence("# SPDX-License-Identifier: MIT OR Apache-2.0\n") == "MIT OR Apache-2.0"
    assert tagged_licence("int x;") is None
