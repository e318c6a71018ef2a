"""The registry's answer to a gate's report, as a file: `promote` is tried, whatever the report says.

Called by steps.py's list. The story's home is its own, so no server of the user is moved by this.
"""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

from acepilot.errors import AcepilotError
from acepilot.models.gate_report import read_gate_report
from acepilot.models.manifest import write_atomically
from acepilot.settings import home
from story.programs import PYTHON, must_run, run_quietly

PROMOTE = "scripts/promote_model.py"


class GateIgnored(AcepilotError):
    """The registry did another thing than the gate's report says: a fault, and no result."""

    code = "gate_ignored"


def attempt(name: str, gate: Path, keep: bool, target: Path) -> None:
    """Tries to promote `name` with the report in `gate`. Without `keep`, what was promoted is rolled back, so
    that the next candidate is judged against the same base. Raises GateIgnored."""
    shutil.rmtree(home() / "promotions", ignore_errors=True)  # of an earlier replay in this folder
    verdict = read_gate_report(gate).verdict
    code, said = run_quietly([PYTHON, PROMOTE, "promote", name, "--report", str(gate)])
    if (code == 0) != (verdict == "PASS"):
        raise GateIgnored(
            f"The gate says {verdict} of {name}, and promote_model.py ended with {code}: {said}"
        )
    if code == 0 and not keep:
        must_run([PYTHON, PROMOTE, "rollback"])
    document = {
        "name": name,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),  # each attempt begins a new history
        "verdict": verdict,
        "exit_code": code,
        "said": said,
        "promoted": code == 0,
        "rolled_back": code == 0 and not keep,
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, json.dumps(document, indent=2) + "\n")
