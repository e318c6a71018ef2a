"""A model by its hub id: what is fetched, what is not, and what one is told when it cannot be."""

import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save
from transformers import AutoModelForCausalLM, CodeGenForCausalLM

from acepilot.errors import ModelBroken
from acepilot.models.hub.weights import rewrite_all
from acepilot.models.manifest import read_manifest, verified_hashes
from acepilot.models.registry import ModelFolder
from finetune.modeling.tiny import make_tiny_model

REVISION = "0123456789abcdef0123456789abcdef01234567"
RESOLVE = """
import sys
from acepilot.errors import AcepilotError
from acepilot.models.resolve import resolve
try:
    print(resolve(sys.argv[1]).path)
except AcepilotError as error:
    sys.exit(f"{type(error).__name__}: {error.message}")
"""
SMALL = {
    "config.json": b'{"model_type": "llama", "max_position_embeddings": 4096}',
    "tokenizer.json": b"{}",
    "README.md": b"card",
}
WEIGHTS = {"a": torch.zeros(4, 4, dtype=torch.bfloat16), "b": torch.ones(2, dtype=torch.bfloat16)}

Resolve = Callable[..., subprocess.CompletedProcess[str]]


class FakeHub:
    """As much of a hub as fetching needs. `cut_at`: there the connection breaks, and then it is down."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.card: dict[str, Any] = {"license": "apache-2.0"}
        self.refuses: tuple[int, str] | None = None
        self.cut_at: int | None = None
        self.is_down = False
        self.wrong_hash = False
        self.requests: list[str] = []
        self.ranges: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "FakeHub":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def fetched(self) -> set[str]:
        return {path.rpartition(f"{REVISION}/")[2] for path in self.requests if "/resolve/" in path}

    def described(self) -> dict[str, Any]:
        siblings = [
            {"rfilename": name, "size": len(content), "lfs": self._lfs(content) if _is_large(name) else None}
            for name, content in self.files.items()
        ]
        return {"id": "org/model", "sha": REVISION, "siblings": siblings, "cardData": self.card}

    def _lfs(self, content: bytes) -> dict[str, Any]:
        digest = "0" * 64 if self.wrong_hash else sha256(content).hexdigest()
        return {"sha256": digest, "size": len(content), "pointerSize": 130}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                hub.requests.append(path)
                if hub.refuses:
                    self._send(hub.refuses[0], b"{}", {"X-Error-Code": hub.refuses[1]})
                elif hub.is_down:
                    self._send(503, b"{}")
                elif path == "/api/models/org/model":
                    self._send(200, json.dumps(hub.described()).encode())
                else:
                    self._file(hub.files[path.rpartition(f"/org/model/resolve/{REVISION}/")[2]])

            def _file(self, content: bytes) -> None:
                asked = self.headers.get("Range", "")
                start = int(asked.removeprefix("bytes=").partition("-")[0] or 0)
                if asked:
                    hub.ranges.append(asked)
                end = len(content)
                if hub.cut_at is not None and len(content) > hub.cut_at:
                    end, hub.cut_at, hub.is_down = hub.cut_at, None, True
                length = {"Content-Length": str(len(content) - start)}
                self._send(206 if asked else 200, content[start:end], length)
                if end < len(content):
                    self.connection.close()

            def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


def _is_large(name: str) -> bool:
    return name.endswith((".safetensors", ".bin", ".gguf"))


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        hub.files = {**SMALL, "model.safetensors": save(WEIGHTS)}
        yield hub


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def resolve(hub: FakeHub, home: Path, tmp_path: Path) -> Resolve:
    """`resolve` in its own process: huggingface_hub reads its settings at the import."""

    def run(
        model: str = "org/model", *, program: tuple[str, ...] = ("-c", RESOLVE), **environment: str
    ) -> Any:
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "http"))}
        settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "ACEPILOT_HOME": str(home)}
        return subprocess.run(
            [sys.executable, *program, model],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            cwd=tmp_path,
            env=ours | settings | {"NO_PROXY": "127.0.0.1"} | environment,
        )

    return run


def test_a_model_is_fetched_once_and_only_what_it_needs(hub: FakeHub, resolve: Resolve, home: Path) -> None:
    hub.files |= {
        "pytorch_model.bin": b"the same again",
        "modeling_model.py": b"raise SystemExit",
        "LICENSE": b"free",
        "merges.txt": b"a b",
        "onnx/model.safetensors": b"not this one",
        "model.safetensors.index.json": b"{}",
        "pytorch_model.bin.index.json": b"{}",
        "training_args.bin": b"no weights",
    }
    hub.card = {"license": "bsd-3-clause", "base_model": ["org/base"]}
    done = resolve()
    assert done.returncode == 0, done.stderr
    folder = home / "models" / "org--model"
    assert done.stdout.strip() == str(folder)
    expected = {*SMALL, "model.safetensors", "LICENSE", "merges.txt", "model.safetensors.index.json"}
    assert hub.fetched == expected
    assert {path.name for path in folder.iterdir()} == expected | {"manifest.json"}
    manifest = read_manifest(folder)
    assert (manifest.base, manifest.licence, manifest.dtype) == ("org/model", "bsd-3-clause", "bfloat16")
    assert (manifest.format, manifest.context_tokens) == ("safetensors", 4096)
    assert REVISION in manifest.notes
    assert "org/base" in manifest.notes
    assert verified_hashes(folder)
    assert "fetching org/model" in done.stderr
    assert "100 %" in done.stderr
    assert not list((home / "downloads").iterdir())

    hub.requests.clear()
    again = resolve(HF_HUB_OFFLINE="1")
    assert (again.stdout, hub.requests) == (done.stdout, [])


def test_a_broken_fetch_goes_on_where_it_stopped(hub: FakeHub, resolve: Resolve, home: Path) -> None:
    hub.files["model.safetensors"] = save({"a": torch.arange(3_000_000)})
    hub.cut_at = 23_000_000  # huggingface_hub writes 10 MB at a time
    broken = resolve()
    assert broken.returncode != 0
    assert "DownloadFailed: There is no local folder `org/model`, and fetching" in broken.stderr
    assert "start again" in broken.stderr
    part = next((home / "downloads").rglob("*.part"))
    kept = part.stat().st_size
    assert 0 < kept <= 23_000_000
    hub.is_down = False
    hub.ranges.clear()
    assert resolve().returncode == 0
    assert hub.ranges == [f"bytes={kept}-"]
    written = home / "models" / "org--model" / "model.safetensors"
    assert written.read_bytes() == hub.files["model.safetensors"]


def test_a_disk_that_fills_up_is_told_as_such(resolve: Resolve, home: Path) -> None:
    folder = home / "downloads" / "org--model" / REVISION[:12]
    folder.mkdir(parents=True)
    (folder / "model.safetensors.part").symlink_to("/dev/full")
    refused = resolve()
    assert refused.stderr.splitlines()[-1].startswith(f"NotEnoughDisk: The disk of {home} is full (")
    assert "what was fetched of org/model is kept" in refused.stderr
    assert (folder / "config.json").is_file()


def test_other_bytes_than_the_hub_has_are_refused(hub: FakeHub, resolve: Resolve, home: Path) -> None:
    hub.wrong_hash = True
    refused = resolve()
    assert "DownloadFailed: model.safetensors arrived with a wrong hash" in refused.stderr
    assert not (home / "models" / "org--model").exists()
    hub.wrong_hash = False
    assert resolve().returncode == 0


def test_without_a_way_to_the_hub_one_is_told_where_to_put_the_files(
    hub: FakeHub, resolve: Resolve, home: Path
) -> None:
    folder = home / "models" / "org--model"
    away = resolve(HF_ENDPOINT="http://127.0.0.1:9")
    offline = resolve(HF_HUB_OFFLINE="1")
    assert hub.requests == []
    for told in (away, offline):
        assert told.stderr.startswith("DownloadFailed: There is no local folder `org/model`, and fetching")
        assert f"into {folder} and start again" in told.stderr
        assert "Traceback" not in told.stderr
    assert "(HF_HUB_OFFLINE is set)" in offline.stderr
    folder.mkdir(parents=True)
    for name, content in hub.files.items():
        (folder / name).write_bytes(content)
    assert resolve(HF_HUB_OFFLINE="1").stdout.strip() == str(folder)


def test_the_server_says_so_and_does_not_start(resolve: Resolve) -> None:
    refused = resolve("--model=org/model", program=("-m", "server"), HF_HUB_OFFLINE="1", ACEPILOT_PORT="0")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: There is no local folder `org/model`, and fetching")


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        ((404, "RepoNotFound"), "ModelNotFound: There is no local folder `org/model` and no public model at"),
        ((403, "GatedRepo"), "DownloadFailed: org/model requires that you accept its terms"),
        ((500, ""), "DownloadFailed: There is no local folder `org/model`, and fetching"),
    ],
)
def test_refusals_are_told(hub: FakeHub, resolve: Resolve, refusal: tuple[int, str], told: str) -> None:
    hub.refuses = refusal
    refused = resolve()
    assert told in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"a.Q8_0.gguf": b"x", "b.gguf": b"y"}, "GGUF files (a.Q8_0.gguf, b.gguf) and give its path"),
        ({"config.json": b"{}", "adapter_model.safetensors": b"x"}, "lacks config.json or weights"),
    ],
)
def test_what_is_no_model_is_told_before_it_is_fetched(
    hub: FakeHub, resolve: Resolve, files: dict[str, bytes], told: str
) -> None:
    hub.files = files
    assert told in resolve().stderr
    assert not hub.fetched


def test_paths_and_names_never_ask_the_hub(hub: FakeHub, resolve: Resolve, tmp_path: Path) -> None:
    (tmp_path / "org" / "model").mkdir(parents=True)
    assert resolve().stdout.strip() == str(tmp_path / "org" / "model")
    for missing in ("models/x.gguf", "./org/other", "/org/other", "a/b/c", "nothing"):
        assert "ModelNotFound: There is no model" in resolve(missing).stderr
    assert hub.requests == []


def test_a_model_published_by_us_keeps_its_manifest(hub: FakeHub, resolve: Resolve, home: Path) -> None:
    assert resolve().returncode == 0
    folder = home / "models" / "org--model"
    ours = read_manifest(folder).model_copy(update={"data_hash": "d" * 64, "base": "org/base", "id": "tuned"})
    weights = folder / "model.safetensors"
    kept = {name: file for name, file in ours.files.items() if name in ("model.safetensors", "config.json")}
    ours = ours.model_copy(update={"files": kept})
    hub.files = {
        "README.md": b"card",
        "manifest.json": ours.model_dump_json().encode(),
        "model.safetensors": weights.read_bytes(),
        "config.json": SMALL["config.json"],
        "unnamed.json": b"{}",
    }
    (folder / "manifest.json").unlink()
    (folder / "config.json").unlink()
    assert resolve().returncode == 0
    assert read_manifest(folder) == ours
    assert verified_hashes(folder)

    hub.files["config.json"] = b'{"model_type": "other and as long as it was", "max_position": 1}'
    (folder / "manifest.json").unlink()
    (folder / "config.json").unlink()
    refused = resolve()
    assert "ModelBroken" in refused.stderr
    assert "config.json has changed" in refused.stderr


def test_a_manifest_cannot_reach_outside(hub: FakeHub, resolve: Resolve, home: Path) -> None:
    assert resolve().returncode == 0
    folder = home / "models" / "org--model"
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = {"../../outside": manifest["files"]["config.json"]}
    hub.files = {"manifest.json": json.dumps(manifest).encode(), "../../outside": SMALL["config.json"]}
    for name in ("manifest.json", "config.json"):
        (folder / name).unlink()
    assert "does not fit its files (../../outside)" in resolve().stderr
    assert not (home / "outside").exists()


def test_pickled_weights_become_safetensors_that_say_the_same(
    hub: FakeHub, resolve: Resolve, home: Path, tmp_path: Path
) -> None:
    source = make_tiny_model(tmp_path / "codegen")
    model = CodeGenForCausalLM.from_pretrained(source, dtype=torch.float32)
    halved = {name: tensor.half() for name, tensor in model.state_dict().items()}
    torch.save(halved, tmp_path / "pytorch_model.bin")
    model.load_state_dict(halved)
    hub.files = {path.name: path.read_bytes() for path in source.iterdir() if path.suffix == ".json"}
    hub.files["pytorch_model.bin"] = (tmp_path / "pytorch_model.bin").read_bytes()
    done = resolve()
    assert done.returncode == 0, done.stderr
    folder = home / "models" / "org--model"
    assert not list(folder.glob("*.bin"))
    assert ModelFolder("x", folder, None).is_safetensors
    assert read_manifest(folder).dtype == "float16"
    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        read = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(ids).logits
        assert torch.equal(read, model(ids).logits)


def test_without_torch_pickled_weights_are_not_even_fetched(hub: FakeHub, resolve: Resolve) -> None:
    hub.files = {**SMALL, "pytorch_model.bin": b"x"}
    without_torch = f"import sys; sys.modules['torch'] = None\n{RESOLVE}"
    refused = resolve(program=("-c", without_torch))
    assert refused.stderr.startswith("ConfigError: The weights of org/model are published as pickles only")
    assert "acepilot[torch]" in refused.stderr
    assert not hub.fetched


def test_every_kind_of_number_and_several_files(tmp_path: Path) -> None:
    whole = torch.arange(24.0)
    parts: list[dict[str, torch.Tensor]] = [
        {
            "view": whole[4:16].view(3, 4),
            "same": whole,
            "transposed": whole.view(4, 6).T,
            "every other": whole[::2],
            "half": torch.randn(2, 1, 3).half(),
            "scalar": torch.tensor(7),
            "empty": torch.zeros(0, 4),
        },
        {
            "brain": torch.randn(5).bfloat16(),
            "mask": torch.ones(2, 2, dtype=torch.bool),
            "bytes": torch.arange(9, dtype=torch.uint8),
            "parameter": torch.nn.Parameter(torch.randn(3)),
        },
    ]
    names = [f"pytorch_model-0000{number}-of-00002.bin" for number in (1, 2)]
    torch.save(parts[0], tmp_path / names[0])
    torch.save(parts[1], tmp_path / names[1], _use_new_zipfile_serialization=False)  # as torch before 1.6
    everything = parts[0] | parts[1]

    assert rewrite_all(tmp_path, ["config.json", *names]) == ["config.json", "model.safetensors"]
    assert_same(load_file(tmp_path / "model.safetensors"), everything)

    first, index, *shards = rewrite_all(tmp_path, ["config.json", *names], shard_bytes=100)
    assert (first, index) == ("config.json", "model.safetensors.index.json")
    assert len(shards) > 2
    weight_map = json.loads((tmp_path / index).read_text())["weight_map"]
    read = {name: load_file(tmp_path / shard)[name] for name, shard in weight_map.items()}
    assert_same(read, everything)
    assert set(weight_map.values()) == set(shards)
    sizes = [sum(tensor.nbytes for tensor in load_file(tmp_path / shard).values()) for shard in shards]
    assert all(size <= 100 or size == whole.nbytes for size in sizes)


def assert_same(read: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert read.keys() == expected.keys()
    for name, tensor in expected.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)


class Attack:
    def __init__(self, target: Path) -> None:
        self.target = str(target)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.target,)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        *(
            (content, "asks for more than tensors")
            for content in ("attack", "inside", "legacy", "bare attack")
        ),
        *((content, "is damaged") for content in ("cut off", "no archive", "no bytes")),
        *(
            (content, "not a plain table of tensors")
            for content in ("list", "number", "numbered", "nothing", "sparse", "no values")
        ),
    ],
)
def test_a_pickle_that_is_no_table_of_tensors_is_refused_and_not_run(
    tmp_path: Path, content: str, why: str
) -> None:
    name, target = "pytorch_model.bin", tmp_path / "attacked"
    source, tensor = tmp_path / name, torch.zeros(2)
    match content:
        case "attack":
            torch.save(Attack(target), source)
        case "inside":
            torch.save({"a": tensor, "b": Attack(target)}, source)
        case "legacy":
            torch.save({"a": Attack(target)}, source, _use_new_zipfile_serialization=False)
        case "bare attack":
            source.write_bytes(pickle.dumps(Attack(target), protocol=2))
        case "list":
            torch.save([tensor], source)
        case "number":
            torch.save({"a": tensor, "step": 3}, source)
        case "numbered":
            torch.save({"a": tensor, 1: tensor}, source)
        case "nothing":
            torch.save({}, source)
        case "sparse":
            torch.save({"a": tensor.to_sparse()}, source)
        case "no values":
            torch.save({"a": torch.zeros(2, device="meta")}, source)
        case "cut off":
            torch.save({"a": torch.zeros(1000)}, source)
            os.truncate(source, source.stat().st_size // 2)
        case "no bytes":
            source.touch()
        case _:
            source.write_bytes(b"neither a pickle nor an archive")
    with pytest.raises(ModelBroken, match=f"no weights that can be read safely.*{why}"):
        rewrite_all(tmp_path, [name])
    assert not target.exists()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_two_pickled_files_with_the_same_tensor_are_refused(tmp_path: Path) -> None:
    names = ["pytorch_model.bin", "pytorch_model.fp16.bin"]
    for name in names:
        torch.save({"a": torch.zeros(2)}, tmp_path / name)
    with pytest.raises(ModelBroken, match="another file has its tensor a"):
        rewrite_all(tmp_path, names)
