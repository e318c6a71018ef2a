"""Model files from anybody: a small file takes neither much memory nor much disk, and none runs a program."""

import ast
import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFWriter

from acepilot.errors import ConfigError, EngineFailed, ModelBroken
from acepilot.models.gguf_file import open_gguf
from acepilot.models.gguf_rewrite import needs_rewriting
from acepilot.models.registry import ModelFolder
from acepilot.models.stored_weights import StoredWeights, rewrite_pickled
from finetune.modeling.tiny import make_tiny_model
from finetune.training.config import load_config
from server.engine.base import EngineOptions
from server.engine.torch.engine import TorchEngine
from server.engine.torch.runner import load_model
from server.engine.upstream.tokenizer import FolderTokenizer

HUGE = 1 << 60
UINT8, STRING, ARRAY = 0, 8, 9  # GGUF's numbers for types of values


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def gguf(keys: int = 1, tensors: int = 0, rest: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, keys) + rest


def tensor(*dimensions: int, offset: int = 0) -> bytes:
    shape = struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions)
    return text("weight") + shape + struct.pack("<IQ", 0, offset)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "header",
    [
        gguf(rest=text("a") + struct.pack("<IIQ", ARRAY, UINT8, HUGE)),
        gguf(rest=text("a") + struct.pack("<IIQ", ARRAY, STRING, HUGE)),
        gguf(rest=text("a") + struct.pack("<IIQ", ARRAY, ARRAY, HUGE)),
        gguf(rest=text("a") + struct.pack("<IIQ", ARRAY, UINT8, 50_000_000) + bytes(50_000_000)),
        gguf(rest=text("a") + struct.pack("<IQ", STRING, HUGE)),
        gguf(rest=struct.pack("<Q", HUGE)),
        gguf(keys=HUGE),
        gguf(keys=0, tensors=HUGE),
        gguf(keys=0, tensors=1, rest=tensor(*[2] * 2000)),
        gguf(keys=0, tensors=1, rest=tensor(1 << 40, 1 << 40)),
        gguf(keys=0, tensors=1, rest=tensor(8, offset=HUGE)),
    ],
    ids=lambda header: str(len(header)),
)
def test_a_gguf_that_promises_more_than_it_holds(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(header.ljust(4096, b"\0"))
    with pytest.raises(
        ModelBroken, match=r"model\.gguf cannot be read: .* Fetch or export the model again\."
    ):
        needs_rewriting(path)


def test_a_gguf_cut_off_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    writer = GGUFWriter(path, "qwen2")
    writer.add_token_list(["a", "b"])
    writer.add_tensor("blk.0.ffn_norm.weight", np.ones(4, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    whole = path.read_bytes()
    assert len(open_gguf(path).tensors) == 1
    needed_bytes = len(whole) - 16  # zeros that fill up the last block
    for length in range(1, needed_bytes):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelBroken):
            open_gguf(path)


def write_memo_trap(path: Path) -> None:
    pickled = b"\x80\x02}r" + struct.pack("<I", 500_000_000) + b"."
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3")
        archive.writestr("archive/byteorder", "little")


def write_legacy_memo_trap(path: Path) -> None:
    torch.save({"a": torch.zeros(2)}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    end_of_magic = whole.index(b".") + 1
    path.write_bytes(whole[:end_of_magic] + b"\x80\x02}r" + struct.pack("<I", 500_000_000) + b".")


def write_a_length_beyond_all_memory(path: Path) -> None:
    """A legacy file whose second pickle names a text of 2^62 bytes."""
    torch.save({"a": torch.zeros(2)}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b".") + 1] + b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62))


def write_copies_of_one_storage(path: Path) -> None:
    storage = torch.zeros(100_000)
    torch.save({f"tensor {number}": storage.view(1000, 100) for number in range(20)}, path)


def write_one_number_as_a_large_tensor(path: Path) -> None:
    torch.save({"a": torch.zeros(1).expand(100_000_000)}, path)


def write_compressed(path: Path) -> None:
    torch.save({"a": torch.zeros(1_000_000)}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def write_tar(path: Path) -> None:
    """Torch before 0.2 wrote such files; torch unpacks them into a folder of its own."""
    with tarfile.open(path, "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            member = tarfile.TarInfo(name)
            member.size = 4
            archive.addfile(member, io.BytesIO(b"\x80\x02N."))


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "write",
    [
        write_memo_trap,
        write_legacy_memo_trap,
        write_a_length_beyond_all_memory,
        write_copies_of_one_storage,
        write_one_number_as_a_large_tensor,
        write_compressed,
        write_tar,
    ],
)
def test_a_pickle_that_is_larger_in_memory_or_on_disk(tmp_path: Path, write: Callable[[Path], None]) -> None:
    source = tmp_path / "pytorch_model.bin"
    write(source)
    with pytest.raises(ModelBroken, match="no weights that can be read safely"):
        rewrite_pickled(tmp_path, [source.name])
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


def test_tied_weights_are_no_trap(tmp_path: Path) -> None:
    embedding = torch.ones(1000, 10)
    torch.save({"embedding": embedding, "head": embedding}, tmp_path / "pytorch_model.bin")
    assert rewrite_pickled(tmp_path, ["pytorch_model.bin"]) == ["model.safetensors"]


@pytest.mark.parametrize(
    "index",
    [
        '{"weight_map": {"a": "../other/model.safetensors"}}',
        '{"weight_map": {"a": "/etc/passwd"}}',
        '{"weight_map": {"a": 1}}',
        '{"weight_map": []}',
        "{}",
        "[" * 100_000,
        "\x00",
    ],
    ids=lambda index: index[:40],
)
def test_an_index_of_tensors_names_files_beside_it(tmp_path: Path, index: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ModelBroken, match="Fetch or export the model again"):
        StoredWeights(tmp_path)


READERS: dict[str, Callable[[ModelFolder], object]] = {
    "torch": lambda model: load_model(model, EngineOptions(threads=1)),
    "upstream": FolderTokenizer,
}


def changed_json(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.fixture
def tiny(tmp_path: Path) -> ModelFolder:
    return ModelFolder("tiny", make_tiny_model(tmp_path / "tiny"), None)


@pytest.fixture
def lines_to_say_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who answers every question of a library with yes."""
    monkeypatch.setattr("builtins.input", lambda *_: "y")


@pytest.mark.usefixtures("lines_to_say_yes")
@pytest.mark.parametrize("reader", READERS)
def test_a_program_in_a_models_folder_never_runs(tiny: ModelFolder, tmp_path: Path, reader: str) -> None:
    ran = tmp_path / "ran"
    (tiny.path / "evil.py").write_text(f"open({str(ran)!r}, 'w')\nclass Evil: pass\n")
    classes = {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"}
    changed_json(tiny.path / "config.json", model_type="evil", auto_map=classes)
    tokenizers = {"AutoTokenizer": ["evil.Evil", None]}
    changed_json(tiny.path / "tokenizer_config.json", tokenizer_class="Evil", auto_map=tokenizers)
    with pytest.raises(ModelBroken):
        READERS[reader](tiny)
    assert not ran.exists()


RUN_NO_PROGRAMS = {"nn.Embedding", "PeftModel", "GPTJConfig"}
"""Classes whose `from_pretrained` reads files of one kind, and has no switch."""


def calls_that_open_models() -> Iterator[tuple[str, ast.Call]]:
    root = Path(__file__).parents[2]
    for room in ("acepilot", "bench", "dev", "eval_humaneval", "finetune", "lsp", "server", "story"):
        for path in sorted((root / room).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            if "from_pretrained(" not in text and "from_config(" not in text:  # some are no whole programs
                continue
            for node in ast.walk(ast.parse(text)):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in ("from_pretrained", "from_config")
                ):
                    yield f"{path.relative_to(root)}:{node.lineno}", node


def test_every_call_that_opens_a_model_refuses_its_programs() -> None:
    found = list(calls_that_open_models())
    assert len(found) > 20
    for place, call in found:
        assert isinstance(call.func, ast.Attribute)
        refuses = any(
            word.arg == "trust_remote_code"
            and isinstance(word.value, ast.Constant)
            and word.value.value is False
            for word in call.keywords
        )
        assert refuses or ast.unparse(call.func.value) in RUN_NO_PROGRAMS, place


def replace(pattern: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": pattern}, "content": content}


def sequence(*rules: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": list(rules)}


BYTES_AS_CHARS = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
SLOW = {"type": "Split", "pattern": {"Regex": "(a|a|a|aa)+$"}, "behavior": "Isolated", "invert": False}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "parts",
    [
        {"normalizer": sequence(*[replace("a", "a" * 32)] * 6)},
        {"normalizer": sequence(*[sequence(replace("ж", "жж"))] * 40)},
        {"normalizer": replace("Δ", "x" * 1_000_000)},
        {"normalizer": sequence(*[{"type": "Prepend", "prepend": "x" * 1000}] * 3)},
        {"normalizer": sequence(*[{"type": "ByteLevel"}] * 30)},
        {"normalizer": {"type": "Replace", "pattern": {"Regex": ""}, "content": "x" * 1000}},
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [BYTES_AS_CHARS] * 20}},
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [SLOW, BYTES_AS_CHARS]}},
        {"decoder": {"type": "Sequence", "decoders": [replace("b", "b" * 32)] * 6}},
    ],
    ids=lambda parts: json.dumps(parts)[:60],
)
def test_a_tokenizer_that_makes_much_of_little(tiny: ModelFolder, parts: dict[str, Any], reader: str) -> None:
    changed_json(tiny.path / "tokenizer.json", **parts)
    with pytest.raises(ModelBroken, match="tokenizer"):
        READERS[reader](tiny)


@pytest.mark.timeout(120)
def test_a_tokenizer_that_fails_on_some_text_is_an_error_of_ours(tiny: ModelFolder) -> None:
    rule = {**SLOW, "pattern": {"Regex": "(ж|ж|ж|жж)+$"}}
    parts = {"type": "Sequence", "pretokenizers": [rule, BYTES_AS_CHARS]}
    changed_json(tiny.path / "tokenizer.json", pre_tokenizer=parts)
    text = "ж" * 40 + "private"
    with pytest.raises(EngineFailed, match="tokenizer failed on this text") as raised:
        FolderTokenizer(tiny).encode(text, begin=False)
    assert "private" not in raised.value.message
    engine = TorchEngine(tiny, EngineOptions(threads=1))
    try:
        with pytest.raises(EngineFailed, match="tokenizer failed on this text"):
            engine.count_tokens(text)
        assert engine.count_tokens("def f():") == 8
    finally:
        engine.close()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("key", ["n_inner", "n_layer", "n_head", "n_embd", "rotary_dim", "vocab_size"])
@pytest.mark.parametrize("size", [10**9, -(10**9)])
def test_a_config_that_promises_more_than_the_weights_hold(tiny: ModelFolder, key: str, size: int) -> None:
    changed_json(tiny.path / "config.json", **{key: size})
    with pytest.raises(ModelBroken, match=r"config\.json|cannot be opened"):
        load_model(tiny, EngineOptions(threads=1))


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "text", ["[" * 20_000, "? " * 3_000, "steps: 2001-99-99", "{a: " * 5_000], ids=lambda text: text[:8]
)
def test_a_recipe_that_is_nested_deeply_is_a_mistake_of_its_author(tmp_path: Path, text: str) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(text)
    with pytest.raises(ConfigError, match="cannot be read as YAML"):
        load_config(recipe, [])
