"""Replay the story: the gate refuses a tune that hurts and passes one that helps. See docs/story.md.

python -m story --dry-run                  print the plan: steps, commands, times; change nothing
python -m story                            the starter: hours on two cores
python -m story --human-eval FOLDER        with HumanEval in eight languages
python -m story --model tiny               the same steps in two minutes; its figures mean nothing
python -m story --model codegen-2b         CodeGen 2.7B on two V100 of 32 GB

After a stop or a kill, the same command continues. A step is skipped while its inputs, commands and versions
are unchanged. Exit code 0 means that the story reached its end; the report has the verdicts.
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
from story import harness, report
from story.pipeline import Story
from story.programs import ROOT
from story.progress import StoryProgress, print_plan, print_result
from story.sizes import SIZES, WIDE_MARGINS
from story.steps import steps_of


def end(number: int, _: object) -> NoReturn:
    """Exit, so that the programs which the story started end too."""
    sys.exit(128 + number)


@program(resumes=True)
def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m story", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", choices=sorted(SIZES), default="starter", help="the model to tune (default: starter)"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
    parser.add_argument("--folder", type=Path, help="where all files go (default: artifacts/story/MODEL)")
    parser.add_argument(
        "--human-eval", metavar="SET", help="a folder with mxeval's HumanEval in eight languages"
    )
    parser.add_argument("--report", action="store_true", help="write a finished run's report again, and stop")
    given = parser.parse_args()
    size = SIZES[given.model]
    if given.human_eval:
        if size.languages:
            parser.error(f"--model {size.name} uses only {', '.join(size.languages)}: leave out --human-eval")
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
    if given.report:
        report.write(folder, size, [step.name for step in steps if step.name != "report"])
        console.print(f"{folder / 'report.html'}")
        return 0
    # Settings of the user's own server or evaluation must not change the story.
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
        with StoryProgress(story, steps, console) as progress:
            for step in steps:
                if not story.is_done(step):
                    with progress.running(step) as on_line:
                        story.run(step, on_line)
    print_result(folder, console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
