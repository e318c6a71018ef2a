"""What the story's tables are judged with, noted before hours are spent: replay_story.py -> here.

STORY/harness/tools.json      the version of every compiler and interpreter; tables are made of it
STORY/harness/problems.json   the hash of each problem set; tables and corpora are made of it
"""

import json
from pathlib import Path

from acepilot.errors import AcepilotError, ConfigError
from acepilot.models.manifest import write_atomically
from acepilot.settings import CONFIG_NAME
from eval_humaneval.examiner import Examiner
from eval_humaneval.languages import ADAPTERS
from eval_humaneval.problems import problem_sets
from story.sizes import OWN, Size


class HarnessIncomplete(AcepilotError):
    """A language that the gate has a margin for could not be judged here."""

    code = "harness_incomplete"


def tools_file(folder: Path) -> Path:
    return folder / "harness" / "tools.json"


def problems_file(folder: Path) -> Path:
    return folder / "harness" / "problems.json"


def note(size: Size, folder: Path) -> None:
    """Writes both files. Raises HarnessIncomplete with what has to be installed, SandboxUnavailable, and
    ConfigError for a problem set that cannot be read, or settings that would reach into the story."""
    settings = Path(CONFIG_NAME).resolve()
    if settings.exists():
        raise ConfigError(
            f"The story's programs would read {settings}. Move it to ACEPILOT_HOME "
            "(~/.local/share/acepilot): other programs find it there as well."
        )
    languages = size.languages or tuple(ADAPTERS)
    sets = {  # its own are written by a later step, always the same
        name: problem_sets.hash_of(problem_sets.load([name], languages).problems)
        for name in size.problems
        if OWN not in name
    }
    with Examiner(unsafe=False) as examiner:
        missing, tools = examiner.missing(languages), examiner.versions(languages)
    if missing:
        told = "; ".join(f"{name}: {how}" for name, how in missing.items())
        raise HarnessIncomplete(
            f"The gate asks for {len(languages)} languages, and some could not be judged here. {told}"
        )
    problems_file(folder).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(tools_file(folder), json.dumps(tools, indent=2) + "\n")
    write_atomically(problems_file(folder), json.dumps(sets, indent=2) + "\n")
