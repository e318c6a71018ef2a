"""Try to promote a model with its gate report, and record the registry's answer; a step of steps.py.

The story has its own ACEPILOT_HOME, so no server of the user is affected.
"""

import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from acepilot.errors import AcepilotError
from acepilot.models.gate_report import read_gate_report
from acepilot.models.manifest import write_atomically
from acepilot.settings import CONFIG_NAME, home
from story.programs import PYTHON, must_run, run_quietly

MODELS = (PYTHON, "-m", "acepilot.models")


class GateIgnored(AcepilotError):
    """The registry did not follow the gate's report: a fault of Acepilot."""

    code = "gate_ignored"


def attempt(name: str, gate: Path, keep: bool, target: Path, policy: Mapping[str, int]) -> None:
    """Try to promote `name` with the report in `gate`, under `policy`. Raises GateIgnored.

    Without `keep` the promotion is rolled back, so that the next candidate is judged against the same base.
    """
    home().mkdir(parents=True, exist_ok=True)
    lines = ["[promotion]", *(f"{name} = {value}" for name, value in policy.items())]
    write_atomically(home() / CONFIG_NAME, "\n".join(lines) + "\n")
    shutil.rmtree(home() / "promotions", ignore_errors=True)  # from an earlier replay in this folder
    verdict = read_gate_report(gate).verdict
    code, output = run_quietly([*MODELS, "promote", name, "--report", str(gate)])
    if (code == 0) != (verdict == "PASS"):
        raise GateIgnored(
            f"The gate's verdict on {name} is {verdict}, but `promote` ended with {code}: {output}"
        )
    if code == 0 and not keep:
        must_run([*MODELS, "rollback"])
    document = {
        "name": name,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),  # each attempt begins a new history
        "verdict": verdict,
        "exit_code": code,
        "said": output,
        "promoted": code == 0,
        "rolled_back": code == 0 and not keep,
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, json.dumps(document, indent=2) + "\n")
