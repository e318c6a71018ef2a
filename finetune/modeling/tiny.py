"""Make `model: tiny` and `corpus: tiny` for smoke runs: a random CodeGen, and this repository's files.

Nothing is fetched. The tokenizer has one token for each byte, and a run takes seconds on a CPU.
"""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import CodeGenConfig, CodeGenForCausalLM, PreTrainedTokenizerFast

from acepilot.corpus import INPUT_IDS, LABELS, NO_LOSS, POSITION_IDS, Split
from finetune.corpus.tables import PACKED, write_rows

END_OF_TEXT = "<|endoftext|>"
REPOSITORY = Path(__file__).resolve().parents[2]
SAMPLES = {"python": "acepilot/**/*.py", "markdown": "docs/*.md", "toml": "acepilot/*.toml"}
DOCUMENT_BYTES = 150
"""Files are cut into documents of this size, so that a row of the tiny corpus has several."""


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer with 256 byte tokens and an end token with id 256."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: index for index, symbol in enumerate(alphabet)} | {END_OF_TEXT: 256}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END_OF_TEXT, bos_token=END_OF_TEXT)


def make_tiny_model(folder: Path) -> Path:
    """Save a CodeGen with 150,000 random weights into `folder`, and return `folder`."""
    torch.manual_seed(0)
    config = CodeGenConfig(
        vocab_size=320, n_positions=256, n_ctx=256, n_embd=64, n_layer=2, n_head=4, rotary_dim=16,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=256, eos_token_id=256,
    )  # fmt: skip
    CodeGenForCausalLM(config).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def make_tiny_corpus(folder: Path, row_tokens: int = 256) -> Path:
    """Write this repository's files as packed rows, each of one language; hold out every fifth document."""
    tokenizer = byte_tokenizer()
    documents: dict[Split, dict[str, list[str]]] = {"train": {}, "heldout": {}}
    for language, pattern in SAMPLES.items():
        text = "".join(path.read_text(encoding="utf-8") for path in sorted(REPOSITORY.glob(pattern)))[:60_000]
        pieces = [text[at : at + DOCUMENT_BYTES] for at in range(0, len(text), DOCUMENT_BYTES)]
        documents["heldout"][language] = pieces[::5]
        documents["train"][language] = [piece for index, piece in enumerate(pieces) if index % 5]
    for split, by_language in documents.items():
        rows = [
            {**row, "language": language}
            for language, pieces in by_language.items()
            for row in pack([[*tokenizer.encode(piece), 256] for piece in pieces], row_tokens)
        ]
        write_rows(folder / "packed" / split / "part-0.parquet", PACKED, rows)
    tokenizer.save_pretrained(folder / "tokenizer")
    return folder


def pack(documents: list[list[int]], row_tokens: int) -> list[dict[str, list[int]]]:
    """Join token lists and cut them into rows of `row_tokens`; padding in the last row has no loss."""
    input_ids: list[int] = []
    position_ids: list[int] = []
    labels: list[int] = []
    for document in documents:
        input_ids += document
        position_ids += range(len(document))
        labels += [NO_LOSS, *document[1:]]
    missing = -len(input_ids) % row_tokens
    input_ids += [0] * missing
    position_ids += range(missing)
    labels += [NO_LOSS] * missing
    columns = {INPUT_IDS: input_ids, POSITION_IDS: position_ids, LABELS: labels}
    starts = range(0, len(input_ids), row_tokens)
    return [{name: column[at : at + row_tokens] for name, column in columns.items()} for at in starts]
