"""The model card, README.md of an exported or published model, made from its manifest and gate report."""

import json
import re

from acepilot.models.gate_report import Comparison, GateReport
from acepilot.models.manifest import Manifest

HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
SPDX = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9.]+)+|MIT")


def model_card(manifest: Manifest, gate: GateReport | None = None) -> str:
    """Return Markdown with the header that the hub reads. `gate` is a report about these files."""
    lines = [
        "---",
        *_header(manifest),
        "pipeline_tag: text-generation",
        "tags: [code]",
        "---",
        "",
        f"# {manifest.id}",
        "",
        f"{manifest.base}{', tuned with Acepilot' if manifest.tuning else ''}. Licence: {manifest.licence}. "
        f"Weights: {manifest.dtype}. Context: {manifest.context_tokens} tokens.",
        *_tuning(manifest),
    ]
    if gate:
        lines += _verdict(gate)
    elif manifest.tuning:
        lines += [
            "",
            "A lower loss does not prove better completions: run the evaluation gate before you serve this "
            "model.",
        ]
    return "\n".join(lines) + "\n"


def _header(manifest: Manifest) -> list[str]:
    """Return the lines that the hub parses. It refuses a base that is not a hub id, and unknown licences."""
    header = [f"base_model: {manifest.base}"] if HUB_ID.fullmatch(manifest.base) else []
    if SPDX.fullmatch(manifest.licence):
        return [*header, f"license: {manifest.licence.lower()}"]
    return [*header, "license: other", f"license_name: {json.dumps(manifest.licence, ensure_ascii=False)}"]


def _tuning(manifest: Manifest) -> list[str]:
    tuning = manifest.tuning
    if tuning is None:
        return ["", manifest.notes] if manifest.notes else []
    share = "the tuned weights" if tuning.alpha == 1 else f"base + {tuning.alpha} · (tuned − base)"
    lines = [
        "",
        f"- Method: {tuning.method}, {share}, the {tuning.weights} weights (step {tuning.step})",
        f"- Corpus: `{manifest.data_hash or 'without a manifest'}`",
        f"- Base revision: `{tuning.base_revision or 'not pinned'}`",
        f"- Code: `{tuning.git_commit or 'not in git'}`",
        f"- Tokens that counted for the loss: {tuning.tokens:,}",
        "",
        "## Held-out loss, nats a token",
        "",
        "| language | before | after | change |",
        "|---|---|---|---|",
    ]
    for language, before in tuning.heldout_loss_before.items():
        after = tuning.heldout_loss_after.get(language)
        if after is not None:
            lines.append(f"| {language} | {before:.4f} | {after:.4f} | {after - before:+.4f} |")
    if tuning.alpha != 1:
        lines += ["", "Both figures are of alpha 1; they were not measured with this alpha."]
    return lines


def _verdict(gate: GateReport) -> list[str]:
    compared = gate.languages if gate.pool is None else {"all": gate.pool, **gate.languages}
    lines = [
        "",
        f"## The gate: {gate.verdict}",
        "",
        f"Compared with {gate.base.name} on {gate.created:%Y-%m-%d}; sandbox: {gate.sandbox}. Figures are "
        f"passed samples in percent; the lower bound of the change is one-sided, alpha {gate.alpha:g}.",
    ]
    if not compared:
        return [*lines, "", *(f"- {reason}" for reason in gate.reasons)]
    lines += [
        "",
        "| language | problems | samples | base | this model | change | lower bound | margin | verdict |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    return lines + [_row(language, comparison) for language, comparison in compared.items()]


def _row(language: str, found: Comparison) -> str:
    return (
        f"| {language} | {found.problems} | {found.samples} | {found.base:.1f} | {found.candidate:.1f} "
        f"| {found.difference:+.1f} | {found.lower:+.1f} | {found.margin:.1f} | {found.verdict} |"
    )
