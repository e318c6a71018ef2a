"""Record the tools and problems that judge the story, before it spends hours; called by `python -m story`.

STORY/harness/tools.json      the version of every compiler and interpreter; an input of every table
STORY/harness/problems.json   the hash of each problem set; an input of tables and corpora
"""

import json
from pathlib import Path

from acepilot.errors import AcepilotError, ConfigError
from acepilot.models.manifest import write_atomically
from acepilot.settings import CONFIG_NAME
from eval_humaneval.execution.judge_pool import JudgePool
from eval_humaneval.languages import ADAPTERS
from eval_humaneval.problems import problem_sets
from story.sizes import OWN, Size


class HarnessIncomplete(AcepilotError):
    """This machine cannot judge a language that the gate has a margin for."""

    code = "harness_incomplete"


def tools_file(folder: Path) -> Path:
    return folder / "harness" / "tools.json"


def problems_file(folder: Path) -> Path:
    return folder / "harness" / "problems.json"


def note(size: Size, folder: Path) -> None:
    """Write both files.

    Raises HarnessIncomplete with the packages to install, SandboxUnavailable, and ConfigError for a problem
    set that cannot be read or for settings that would change the story.
    """
    settings = Path(CONFIG_NAME).resolve()
    if settings.exists():
        raise ConfigError(
            f"The story's programs would read {settings}. Move it to ACEPILOT_HOME "
            "(~/.local/share/acepilot), where your other programs still find it."
        )
    languages = size.languages or tuple(ADAPTERS)
    sets = {  # a later step writes the problems of `tiny`, which never change
        name: problem_sets.hash_of(problem_sets.load([name], languages).problems)
        for name in size.problems
        if OWN not in name
    }
    with JudgePool(unsafe=False) as judge_pool:
        missing, tools = judge_pool.missing(languages), judge_pool.versions(languages)
    if missing:
        tools_needed = "; ".join(f"{name}: {how}" for name, how in missing.items())
        raise HarnessIncomplete(
            f"The gate needs {len(languages)} languages; this machine cannot judge all. {tools_needed}"
        )
    problems_file(folder).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(tools_file(folder), json.dumps(tools, indent=2) + "\n")
    write_atomically(problems_file(folder), json.dumps(sets, indent=2) + "\n")
