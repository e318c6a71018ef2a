"""Change which model is `current`: `promote` after a passed gate, `rollback` to the model before.

Hashes are computed from the bytes in the registry, not taken from manifests. Only one process promotes at a
time, so that of two reports against the same base only one wins.
"""

import getpass
import hashlib
import platform
from datetime import UTC, datetime
from pathlib import Path

from acepilot.disk import explain_full_disk
from acepilot.errors import AcepilotError
from acepilot.models.gate_report import GATE_FILE, GateReport, read_gate_report
from acepilot.models.manifest import (
    MANIFEST_FILE,
    difference,
    file_hashes,
    sha256_of,
    verified_hashes,
    write_atomically,
)
from acepilot.models.promotion_history import Promotion, ServedModel, append, read_history, report_path
from acepilot.models.promotion_policy import PromotionPolicy
from acepilot.models.registry import CURRENT, exclusive, registered
from acepilot.models.resolve import resolve
from acepilot.settings import home

LOCK = "promotion"
DISK_ADVICE = "`current` stays as it was. Free some space and run this again."
FIRST_REASONS = 3
"""The report's reasons that a refusal repeats; the report has them all."""


class PromotionRefused(AcepilotError):
    """The promotion or rollback is refused, and `current` stays. The message says why and what to do."""

    code = "promotion_refused"
    status = 409


def promote(name: str, report: Path | None, *, force_reason: str | None = None) -> Promotion:
    """Make the registered model `name` the current one. Raises PromotionRefused and NotEnoughDisk.

    `report` is the gate's report, a file or its folder. `force_reason` overrules every objection and records
    them in the history; a model with damaged files is refused even then.
    """
    if force_reason is not None and not force_reason.strip():
        raise PromotionRefused(
            "--force needs a reason, which the history keeps: --reason 'why the gate is overruled'."
        )
    judged = read_gate_report(report) if report else None
    policy = PromotionPolicy.load()
    with explain_full_disk(home(), DISK_ADVICE), exclusive(LOCK):
        history = read_history()
        candidate = _as_it_is(name)
        if history.current and candidate.is_same(history.current):
            raise PromotionRefused(f"{name} is the current model already.")
        objections = _objections(candidate, judged, history.current, policy)
        if objections and force_reason is None:
            raise PromotionRefused("\n".join(objections))
        promotion = Promotion(
            at=datetime.now(UTC),
            who=_who(),
            action="promote",
            previous=history.current or _first_base(judged),
            model=candidate,
            report_sha256=_keep(report) if report else None,
            verdict=judged.verdict if judged else None,
            forced=force_reason,
            overruled=objections,
        )
        append(promotion)
    return promotion


def rollback() -> Promotion:
    """Make the model before the current one current again. Raises PromotionRefused if there is none."""
    with explain_full_disk(home(), DISK_ADVICE), exclusive(LOCK):
        history = read_history()
        target = history.before_current
        if target is None:
            raise PromotionRefused(
                "There is no earlier model to go back to. Promote another one, or serve a model by its name: "
                "`python -m server --model NAME`."
            )
        found = _as_it_is(target.name)
        if not found.is_same(target):
            changes = difference(target.files, found.files) or f"its {MANIFEST_FILE} has changed"
            raise PromotionRefused(
                f"{target.name} is not the model that was served before ({changes}): "
                "promote it like a new model, with a report or with --force."
            )
        promotion = Promotion(
            at=datetime.now(UTC), who=_who(), action="rollback", previous=history.current, model=target
        )
        append(promotion)
    return promotion


def _as_it_is(name: str) -> ServedModel:
    """Return the registered model with the hashes of its files, which must be those of its manifest."""
    folder = registered(name).path
    manifest_sha256 = sha256_of(folder / MANIFEST_FILE)
    return ServedModel(name=name, files=verified_hashes(folder), manifest_sha256=manifest_sha256)


def _objections(
    candidate: ServedModel, report: GateReport | None, current: ServedModel | None, policy: PromotionPolicy
) -> list[str]:
    """Return what forbids the promotion of `candidate`: one sentence each, with what to do."""
    if report is None:
        return ["There is no gate report: `python -m eval_humaneval compare` writes one for --report."]
    found = [_verdict_objection(report)] if report.verdict != "PASS" else []
    if report.verdict == "PASS":
        found += policy.objections(report)
    if report.verdict == "PASS" and not report.bears_out_pass():
        found.append("The report says PASS, but its figures do not: it was edited or damaged. Compare again.")
    if report.base.files and report.base.files == report.candidate.files:
        found.append(
            f"The report compares {report.candidate.name} with itself: compare it with the model that it "
            "would replace."
        )
    if report.base.run == report.candidate.run:
        found.append("Both sides of the report are the same run: compare the runs of two models.")
    over_http = [side.name for side in (report.base, report.candidate) if not side.files]
    if over_http:
        found.append(
            f"{' and '.join(over_http)} was judged over HTTP, so the report does not know its files: "
            "evaluate the model in the registry, and compare again."
        )
    if report.candidate.files and report.candidate.files != candidate.files:
        found.append(
            f"The report is not about the {candidate.name} of the registry "
            f"({difference(report.candidate.files, candidate.files)}): evaluate the registered model, and "
            "compare again."
        )
    if current and report.base.files:
        found += _base_objections(report, candidate.name, current)
    return found


def _verdict_objection(report: GateReport) -> str:
    reasons = " ".join(report.reasons[:FIRST_REASONS])
    match report.verdict:
        case "FAIL":
            advice = "Tune again so that it forgets less: adapters, more replay, a smaller export.alpha."
        case "INCONCLUSIVE" if report.samples_to_decide:
            advice = f"Compare again with {report.samples_to_decide} samples a problem, to decide it."
        case "INCONCLUSIVE":
            advice = "More samples would not decide it: compare again on more problems."
        case _:
            advice = "Fix that and compare again; the report says nothing about the model."
    return f"The gate says {report.verdict}. {reasons} {advice}"


def _base_objections(report: GateReport, candidate: str, current: ServedModel) -> list[str]:
    try:
        files = file_hashes(resolve(CURRENT).path)
    except AcepilotError as error:
        return [f"The current model cannot be compared with the base of the report: {error.message}"]
    if report.base.files == files:
        return []
    if files != current.files:
        return [
            f"The files of {current.name}, the current model, have changed since it was promoted "
            f"({difference(current.files, files)}): restore them, or roll back."
        ]
    return [
        f"The report compares with {report.base.name}, but the current model is {current.name}: compare "
        f"{candidate} with {current.name}."
    ]


def _first_base(report: GateReport | None) -> ServedModel | None:
    if report is None or not report.base.files:
        return None
    return ServedModel(name=report.base.name, files=report.base.files)


def _keep(report: Path) -> str:
    """Copy the report beside the history, for the model's card to quote, and return its hash."""
    content = (report / GATE_FILE if report.is_dir() else report).read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    kept = report_path(sha256)
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(kept, content.decode("utf-8"))
    return sha256


def _who() -> str:
    try:
        return f"{getpass.getuser()}@{platform.node()}"
    except (KeyError, OSError):  # a container whose user has no name
        return f"?@{platform.node()}"
