"""Packing: no text is lost, documents stay apart, and loss is only where it belongs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from acepilot.corpus import INPUT_IDS, LABELS, NO_LOSS, POSITION_IDS
from acepilot.errors import ConfigError
from acepilot.fim import FORMATS, format_for
from finetune.corpus.packing.fill_in_the_middle import infill, random_for
from finetune.corpus.packing.pack import Piece, fill, pieces_of, sequence
from finetune.corpus.packing.tokenizer import Vocabulary, load_vocabulary, prepare_tokenizer
from tests.finetune.handmade import COUNTER, write_byte_model

LENGTH = 64


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    folder = tmp_path_factory.mktemp("model")
    write_byte_model(folder / "model", rows=300)
    prepare_tokenizer(folder / "model", folder / "out", fim_rate=0.5)
    return load_vocabulary(folder / "out", folder / "model")


def decode(vocabulary: Vocabulary, ids: list[int]) -> str:
    """Decode byte tokens."""
    alphabet = {symbol: number for number, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    return tokenizer.decode(ids)


def row(text: str, kind: str = "code", prompt_chars: int = 0) -> dict[str, Any]:
    return {"id": "shop:src/a.vue", "text": text, "kind": kind, "prompt_chars": prompt_chars}


def test_codegens_sentinels_take_the_rows_after_its_tokens(tmp_path: Path) -> None:
    model = write_byte_model(tmp_path / "model", rows=300)
    prepare_tokenizer(model, tmp_path / "out", fim_rate=0.5)
    sentinels = load_vocabulary(tmp_path / "out", model).sentinels
    assert sentinels is not None
    assert sentinels.added
    assert [one[1] for one in (sentinels.prefix, sentinels.suffix, sentinels.middle)] == [257, 258, 259]
    # They have the names of a format that the server knows.
    fim = format_for([sentinels.prefix[0], sentinels.suffix[0], sentinels.middle[0]])
    assert fim == replace(FORMATS[0], file_separator=None)


def test_transformers_reads_the_tokenizer_with_its_sentinels(tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    model = write_byte_model(tmp_path / "model", rows=300)
    prepare_tokenizer(model, tmp_path / "out", fim_rate=0.5)
    loader: Any = PreTrainedTokenizerFast
    tokenizer = loader.from_pretrained(str(tmp_path / "out"))
    assert tokenizer.convert_tokens_to_ids(FORMATS[0].middle) == 259
    assert FORMATS[0].middle in tokenizer.all_special_tokens


def test_a_model_without_room_for_sentinels_is_refused(tmp_path: Path) -> None:
    model = write_byte_model(tmp_path / "model", rows=258)
    with pytest.raises(ConfigError, match="build with --fim-rate 0"):
        prepare_tokenizer(model, tmp_path / "out", fim_rate=0.5)
    prepare_tokenizer(model, tmp_path / "plain", fim_rate=0)
    assert load_vocabulary(tmp_path / "plain", model).sentinels is None


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no tokenizer\.json"):
        prepare_tokenizer(tmp_path, tmp_path / "out", fim_rate=0)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match="cannot be read"):
        prepare_tokenizer(tmp_path, tmp_path / "out2", fim_rate=0)


@given(st.text(max_size=300), st.integers())
def test_the_three_parts_of_an_infill_are_the_text(text: str, seed: int) -> None:
    assert "".join(infill(text, random_for(seed, "name"))) == text


@pytest.mark.parametrize("text", [COUNTER, "short\n", "größer 🙂 " * 30, "  \n\n   indented\n"])
def test_without_fim_the_pieces_are_the_text(vocabulary: Vocabulary, text: str) -> None:
    pieces = list(pieces_of(row(text), vocabulary, LENGTH, fim_rate=0, seed=1))
    assert all(len(piece.ids) <= LENGTH for piece in pieces)
    end = vocabulary.end[1]
    assert decode(vocabulary, [token for piece in pieces for token in piece.ids if token != end]) == text
    assert sum(piece.ids.count(end) for piece in pieces) >= 1


def test_with_fim_the_parts_stand_in_the_servers_order(vocabulary: Vocabulary) -> None:
    sentinels = vocabulary.sentinels
    assert sentinels is not None
    pieces = list(pieces_of(row(COUNTER), vocabulary, LENGTH, fim_rate=1, seed=1))
    text = ""
    for piece in pieces:
        assert piece.fim
        assert piece.ids[0] == sentinels.prefix[1]
        suffix_at, middle_at = piece.ids.index(sentinels.suffix[1]), piece.ids.index(sentinels.middle[1])
        assert 0 < suffix_at < middle_at
        prefix, suffix = piece.ids[1:suffix_at], piece.ids[suffix_at + 1 : middle_at]
        text += decode(vocabulary, [*prefix, *piece.ids[middle_at + 1 : -1], *suffix])
    assert text == COUNTER


def test_the_rate_is_the_share_of_pieces(vocabulary: Vocabulary) -> None:
    pieces = list(pieces_of(row(COUNTER * 60), vocabulary, LENGTH, fim_rate=0.5, seed=1))
    share = sum(piece.fim for piece in pieces) / len(pieces)
    assert len(pieces) > 400
    assert 0.42 < share < 0.58


def test_a_document_that_holds_a_sentinel_cannot_forge_one(vocabulary: Vocabulary) -> None:
    assert vocabulary.sentinels is not None
    (piece,) = pieces_of(row(f"a {FORMATS[0].middle} b"), vocabulary, LENGTH, fim_rate=0, seed=1)
    assert vocabulary.sentinels.middle[1] not in piece.ids


def test_an_instruction_has_loss_on_its_completion_only(vocabulary: Vocabulary) -> None:
    record = row("ask:answer", "instruction", prompt_chars=4)
    (piece,) = pieces_of(record, vocabulary, LENGTH, fim_rate=1, seed=1)
    labels = sequence([piece], LENGTH, vocabulary.end[1])[LABELS]
    learnt = [label for label in labels if label != NO_LOSS]
    assert decode(vocabulary, learnt[:-1]) == "answer"
    assert learnt[-1] == vocabulary.end[1]


def test_an_instruction_that_is_too_long_is_not_cut(vocabulary: Vocabulary) -> None:
    assert list(pieces_of(row("q" * 40 + "a" * 40, "instruction", 40), vocabulary, LENGTH, 0, 1)) == []


def test_documents_of_a_sequence_are_apart() -> None:
    packed = sequence([Piece([5, 6, 9], 1), Piece([7, 9], 1)], length=8, padding=9)
    assert packed == {
        INPUT_IDS: [5, 6, 9, 7, 9, 9, 9, 9],
        POSITION_IDS: [0, 1, 2, 0, 1, 0, 1, 2],
        LABELS: [NO_LOSS, 6, 9, NO_LOSS, 9, NO_LOSS, NO_LOSS, NO_LOSS],
    }


@given(st.lists(st.integers(min_value=1, max_value=LENGTH), max_size=200))
def test_filling_loses_nothing_and_overfills_nothing(lengths: list[int]) -> None:
    pieces = [Piece([number] * length, 1) for number, length in enumerate(lengths)]
    bins = fill(pieces, LENGTH)
    placed = [piece for bin_ in bins for piece in bin_]
    assert sorted(placed, key=lambda piece: piece.ids[0]) == pieces
    assert all(sum(len(piece.ids) for piece in bin_) <= LENGTH for bin_ in bins)
    # Best fit: at most one sequence is half empty or more.
    assert sum(2 * sum(len(piece.ids) for piece in bin_) <= LENGTH for bin_ in bins) <= 1
