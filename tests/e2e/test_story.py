"""What a replayed story changed for whoever edits Vue: the same place in VS Code, before and after.

The pictures are of the first place in the story's report at which the two models offer different things.
"""

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from story.seen import Place, name_served, places
from tests.e2e.own_server import MODEL_LOAD_S, ROOT, Server
from tests.e2e.vscode_editor import LANGUAGE_SERVER, CodeServer, Window, until
from tests.needs import missing

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(4 * MODEL_LOAD_S)]

STORY = ROOT / "artifacts" / "story" / "starter"
LOOK = {"editor.stickyScroll.enabled": False, "workbench.activityBar.location": "hidden"}


@pytest.mark.parametrize("side", ["base", "careful"])
def test_a_vue_file_before_and_after(
    page: Page, code_server: CodeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    if not (STORY / "report.json").is_file():
        missing("a story that was replayed to its end", "make story")
    place, offered = _first_that_differs()
    monkeypatch.setenv("ACEPILOT_HOME", str(STORY / "home"))
    named = next(part for part in place.name.split(":") if part.endswith(".vue"))
    file = tmp_path / "project" / Path(named).name
    file.parent.mkdir()
    file.write_text(place.before + place.after)
    with _served(side) as server:
        settings = {"acepilot.command": LANGUAGE_SERVER, "acepilot.serverUrl": server.url}
        code_server.set_up({**settings, **LOOK, "acepilot.timeBudgetMs": 60_000})
        window = Window(page, code_server, file.parent, file)
        window.status("ready", timeout_s=MODEL_LOAD_S)
        lines = place.before.split("\n")
        window.put_cursor(len(lines), len(lines[-1]) + 1)
        window.press("Alt+\\")
        if offered[side]:
            until(window.ghost, 60, lambda: f"nothing is shown, but {offered[side]!r} was offered")
        window.picture(f"story-{side}")
        window.close()


def _first_that_differs() -> tuple[Place, dict[str, str]]:
    """With what either model offered there, by side."""
    seen: dict[str, list[dict[str, Any]]] = {
        side: json.loads((STORY / "seen" / f"{side}.json").read_text()) for side in ("base", "careful")
    }
    for place, base, careful in zip(places(STORY / "scraped/unseen-vue/repos"), *seen.values(), strict=True):
        if base["offered"] != careful["offered"]:
            return place, {"base": base["offered"], "careful": careful["offered"]}
    pytest.skip("the two models offer the same everywhere")


@contextmanager
def _served(side: str) -> Generator[Server]:
    careful = name_served("story-careful", STORY / "attempts" / "careful.json")
    server = Server("-m", "server", "--model", "starter" if side == "base" else careful, "--port")
    try:
        yield server
    finally:
        server.stop()
