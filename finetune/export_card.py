"""The model card for people: README.md in an exported folder, written from the manifest alone."""

from acepilot.manifest import Manifest


def model_card(manifest: Manifest) -> str:
    """Markdown with the header that the Hugging Face hub reads."""
    tuning = manifest.tuning
    lines = [
        "---",
        f"base_model: {manifest.base}",
        f'license: "{manifest.licence.lower()}"',
        "pipeline_tag: text-generation",
        "tags: [code]",
        "---",
        "",
        f"# {manifest.id}",
        "",
        f"{manifest.base}, tuned with Acepilot. Licence: {manifest.licence}. Weights: {manifest.dtype}. "
        f"Context: {manifest.context_tokens} tokens.",
    ]
    if tuning is None:
        return "\n".join(lines) + "\n"
    share = "the tuned weights" if tuning.alpha == 1 else f"base + {tuning.alpha} · (tuned − base)"
    lines += [
        "",
        f"- Method: {tuning.method}, {share}, the {tuning.weights} ones (step {tuning.step})",
        f"- Corpus: `{manifest.data_hash or 'without a manifest'}`",
        f"- Base revision: `{tuning.base_revision or 'not pinned'}`",
        f"- Code: `{tuning.git_commit or 'not in git'}`",
        f"- Predictions learnt from: {tuning.tokens:,}",
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
        lines += ["", "Both are of the run itself; with this alpha they were not measured."]
    lines += [
        "",
        "A lower loss is no proof of better completions: run the evaluation gate before serving this model.",
    ]
    return "\n".join(lines) + "\n"
