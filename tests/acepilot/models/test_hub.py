"""Models by hub id: which files are fetched, resuming, and the messages when a fetch fails."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from transformers import AutoModelForCausalLM, CodeGenForCausalLM

from acepilot.models.manifest import read_manifest, verified_hashes
from acepilot.models.registry import ModelFolder
from finetune.modeling.tiny import make_tiny_model
from tests.acepilot.models.download_hub import REVISION, DownloadHub

RESOLVE = """
import sys
from acepilot.errors import AcepilotError
from acepilot.models.resolve import resolve
try:
    print(resolve(*sys.argv[1:]).path)
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


@pytest.fixture
def hub() -> Iterator[DownloadHub]:
    with DownloadHub() as hub:
        hub.files = {**SMALL, "model.safetensors": save(WEIGHTS)}
        yield hub


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def resolve(hub: DownloadHub, home: Path, tmp_path: Path) -> Resolve:
    """Runs `resolve` in a process of its own, because huggingface_hub reads its settings at the import."""

    def run(*arguments: str, program: tuple[str, ...] = ("-c", RESOLVE), **environment: str) -> Any:
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "http"))}
        settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "ACEPILOT_HOME": str(home)}
        return subprocess.run(
            [sys.executable, *program, *(arguments or ["org/model"])],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            cwd=tmp_path,
            env=ours | settings | {"NO_PROXY": "127.0.0.1"} | environment,
        )

    return run


def test_a_model_is_fetched_once_and_only_what_it_needs(
    hub: DownloadHub, resolve: Resolve, home: Path
) -> None:
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


def test_a_revision_is_a_model_of_its_own(hub: DownloadHub, resolve: Resolve, home: Path) -> None:
    assert resolve().returncode == 0
    done = resolve("org/model", REVISION)
    assert done.stdout.strip() == str(home / "models" / f"org--model--{REVISION}")
    assert f"/api/models/org/model/revision/{REVISION}" in hub.requests


def test_a_broken_fetch_resumes_where_it_stopped(hub: DownloadHub, resolve: Resolve, home: Path) -> None:
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


def test_a_disk_that_fills_up_is_reported(resolve: Resolve, home: Path) -> None:
    folder = home / "downloads" / "org--model" / REVISION[:12]
    folder.mkdir(parents=True)
    (folder / "model.safetensors.part").symlink_to("/dev/full")
    refused = resolve()
    assert refused.stderr.splitlines()[-1].startswith(f"NotEnoughDisk: The disk of {home} is full (")
    assert "what was fetched of org/model is kept" in refused.stderr
    assert (folder / "config.json").is_file()


def test_a_wrong_hash_is_refused(hub: DownloadHub, resolve: Resolve, home: Path) -> None:
    hub.wrong_hash = True
    refused = resolve()
    assert "DownloadFailed: model.safetensors arrived with a wrong hash" in refused.stderr
    assert not (home / "models" / "org--model").exists()
    hub.wrong_hash = False
    assert resolve().returncode == 0


def test_without_a_hub_the_message_says_where_to_put_the_files(
    hub: DownloadHub, resolve: Resolve, home: Path
) -> None:
    folder = home / "models" / "org--model"
    away = resolve(HF_ENDPOINT="http://127.0.0.1:9")
    offline = resolve(HF_HUB_OFFLINE="1")
    assert hub.requests == []
    for refused in (away, offline):
        assert refused.stderr.startswith("DownloadFailed: There is no local folder `org/model`, and fetching")
        assert f"into {folder} and start again" in refused.stderr
        assert "Traceback" not in refused.stderr
    assert "(HF_HUB_OFFLINE is set)" in offline.stderr
    folder.mkdir(parents=True)
    for name, content in hub.files.items():
        (folder / name).write_bytes(content)
    assert resolve(HF_HUB_OFFLINE="1").stdout.strip() == str(folder)


def test_the_server_prints_the_message_and_does_not_start(resolve: Resolve) -> None:
    refused = resolve("--model=org/model", program=("-m", "server"), HF_HUB_OFFLINE="1", ACEPILOT_PORT="0")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: There is no local folder `org/model`, and fetching")


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        ((404, "RepoNotFound"), "ModelNotFound: There is no local folder `org/model` and no public model at"),
        ((403, "GatedRepo"), "DownloadFailed: org/model requires that you accept its terms"),
        ((500, ""), "DownloadFailed: There is no local folder `org/model`, and fetching"),
    ],
)
def test_refusals_are_explained(
    hub: DownloadHub, resolve: Resolve, refusal: tuple[int, str], message: str
) -> None:
    hub.refuses = refusal
    refused = resolve()
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.Q8_0.gguf": b"x", "b.gguf": b"y"}, "GGUF files (a.Q8_0.gguf, b.gguf) and give its path"),
        ({"config.json": b"{}", "adapter_model.safetensors": b"x"}, "lacks config.json or weights"),
    ],
)
def test_a_repository_without_a_model_is_refused_before_it_is_fetched(
    hub: DownloadHub, resolve: Resolve, files: dict[str, bytes], message: str
) -> None:
    hub.files = files
    assert message in resolve().stderr
    assert not hub.fetched


def test_paths_and_names_never_ask_the_hub(hub: DownloadHub, resolve: Resolve, tmp_path: Path) -> None:
    (tmp_path / "org" / "model").mkdir(parents=True)
    assert resolve("./org/model").stdout.strip() == str(tmp_path / "org" / "model")
    assert "there is a folder org/model here" in resolve().stderr, "its name may be private"
    for missing in ("models/x.gguf", "./org/other", "/org/other", "a/b/c", "nothing"):
        assert "ModelNotFound: There is no model" in resolve(missing).stderr
    assert hub.requests == []


def test_a_model_published_by_us_keeps_its_manifest(hub: DownloadHub, resolve: Resolve, home: Path) -> None:
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


def test_a_manifest_cannot_name_files_outside_its_folder(
    hub: DownloadHub, resolve: Resolve, home: Path
) -> None:
    assert resolve().returncode == 0
    folder = home / "models" / "org--model"
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = {"../../outside": manifest["files"]["config.json"]}
    hub.files = {"manifest.json": json.dumps(manifest).encode(), "../../outside": SMALL["config.json"]}
    for name in ("manifest.json", "config.json"):
        (folder / name).unlink()
    assert "cannot be served from the hub" in resolve().stderr  # the manifest is not one of ours
    assert not (home / "outside").exists()


def test_pickled_weights_become_safetensors_of_the_same_model(
    hub: DownloadHub, resolve: Resolve, home: Path, tmp_path: Path
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


def test_without_torch_pickled_weights_are_not_fetched(hub: DownloadHub, resolve: Resolve) -> None:
    hub.files = {**SMALL, "pytorch_model.bin": b"x"}
    without_torch = f"import sys; sys.modules['torch'] = None\n{RESOLVE}"
    refused = resolve(program=("-c", without_torch))
    assert refused.stderr.startswith("ConfigError: The weights of org/model are published as pickles only")
    assert "acepilot[torch]" in refused.stderr
    assert not hub.fetched
