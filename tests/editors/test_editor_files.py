"""Files of editors/ read as their editors read them, and what VS Code's extension may not do."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from acepilot.languages import language_for

ROOT = Path(__file__).parents[2]
EDITORS = ROOT / "editors"
PROGRAMS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]

SOURCES = sorted((EDITORS / "vscode" / "src").glob("*.ts"))
IMPORTED = re.compile(r'\b(?:from|import|require)\s*\(?\s*["\']([^"\']+)["\']')
HARMLESS = {
    "vscode",
    "vscode-languageclient/node",
    "node:child_process",
    "node:fs",
    "node:os",
    "node:path",
    "node:util",
}
NETWORK = re.compile(
    r"\b(fetch|XMLHttpRequest|WebSocket|EventSource|sendBeacon|eval|import)\s*\(|openExternal|createTelemetry"
)


def test_jetbrains_template() -> None:
    template = json.loads((EDITORS / "jetbrains" / "acepilot" / "template.json").read_text())
    assert template["programArgs"] == {"default": "acepilot-lsp", "windows": "acepilot-lsp.exe"}
    assert "acepilot-lsp" in PROGRAMS
    seen: set[str] = set()
    for mapping in template["fileTypeMappings"]:
        language, patterns = mapping["languageId"], mapping["fileType"]["patterns"]
        known = language_for(language)
        assert known.id != "plaintext", language
        assert not seen.intersection(patterns)
        seen.update(patterns)
        # A file's language is the same whether the editor's id or the file's name tells it.
        named = {language_for(path=pattern.replace("*", "file")) for pattern in patterns}
        assert known in named, f"{language}: {patterns}"


def test_helix_languages() -> None:
    config = tomllib.loads((EDITORS / "helix" / "languages.toml").read_text())
    assert config["language-server"]["acepilot"]["command"] in PROGRAMS
    for language in config["language"]:
        assert language_for(language["name"]).id == language["name"]
        assert {"name": "acepilot", "only-features": ["completion"]} in language["language-servers"]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_the_extension_has_no_network_of_its_own(source: Path) -> None:
    text = source.read_text()
    for module in IMPORTED.findall(text):
        assert module in HARMLESS or module.startswith("./"), module
    assert NETWORK.search(text) is None
