"""What was judged is what is served: changed files, damaged conversions, forged reports, full disks."""

import asyncio
import hashlib
import json
import mmap
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Quant
from gguf import GGUFReader, GGUFValueType, GGUFWriter

from acepilot.errors import AcepilotError, ConfigError, ModelBroken, ModelNotFound
from acepilot.models import known_hashes
from acepilot.models.__main__ import main as models_program
from acepilot.models.gate_report import GateReport, JudgedModel
from acepilot.models.manifest import (
    MANIFEST_FILE,
    StoredFile,
    file_hashes,
    read_manifest,
    sha256_of,
    write_manifest,
)
from acepilot.models.promotion import PromotionRefused, promote, rollback
from acepilot.models.promotion_history import read_history
from acepilot.models.registry import models_dir, register
from acepilot.models.resolve import resolve
from eval_humaneval.gate.decision import analyze
from eval_humaneval.gate.options import GateOptions
from eval_humaneval.gate.statistics import POOL, PairedCounts
from eval_humaneval.languages import ADAPTERS, builtin_problems
from eval_humaneval.settings import EvalSettings
from finetune.transformers_folder import transformers_folder
from server.engine.base import Engine, EngineOptions, GenerationRequest
from server.engine.opening import open_engine
from server.engine.openvino import model_files
from tests.acepilot.models.tuned_models import comparison, report, write_model, write_report
from tests.needs import need_model

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ACEPILOT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture(scope="module")
def converted_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one layer of starter-tiny as the promoted model `ours-1`, opened once. Tests copy it."""
    need_model("starter-tiny")
    folder = tmp_path_factory.mktemp("converted")
    model, home = folder / "ours-1", folder / "home"
    model.mkdir()
    write_one_layer(models_dir() / "starter-tiny" / "model.gguf", model / "model.gguf")
    about = read_manifest(models_dir() / "starter-tiny")
    file = StoredFile(
        sha256=sha256_of(model / "model.gguf"), size_bytes=(model / "model.gguf").stat().st_size
    )
    write_manifest(about.model_copy(update={"files": {"model.gguf": file}}), model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACEPILOT_HOME", str(home))
        register(model, "ours-1")
        promote("ours-1", None, force_reason="a test of serving")
        serve("current")
    return home


@pytest.fixture
def served_home(converted_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `converted_home` at another path."""
    home = tmp_path / "home"
    subprocess.run(["cp", "--archive", "--reflink=auto", converted_home, home], check=True)
    monkeypatch.setenv("ACEPILOT_HOME", str(home))
    return home


def write_one_layer(source: Path, target: Path) -> None:
    """Write a GGUF that is quick to convert: the first layer of `source`, a Llama."""
    reader, writer = GGUFReader(source), GGUFWriter(target, "llama")
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            item = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
            value = 1 if name == "llama.block_count" else field.contents()
            writer.add_key_value(name, value, field.types[0], item)
    for tensor in reader.tensors:
        if not tensor.name.startswith("blk.") or tensor.name.startswith("blk.0."):
            is_plain = tensor.tensor_type in (Quant.F32, Quant.F16)
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=None if is_plain else tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def serve(model: str) -> None:
    """Open `model` with the engine openvino, and let it write a token."""
    engine = open_engine(resolve(model), "openvino", EngineOptions(max_streams=1, threads=1))
    try:
        asyncio.run(write_a_token(engine))
    finally:
        engine.close()


async def write_a_token(engine: Engine) -> None:
    async for _ in engine.generate(GenerationRequest("def f():\n", 1)):
        pass


def change_a_byte(file: Path) -> None:
    """Change one byte of the weights, and give the file its former size and time of change back."""
    before = file.stat()
    with file.open("r+b") as content:
        content.seek(before.st_size - 100_000)
        byte = content.read(1)[0]
        content.seek(before.st_size - 100_000)
        content.write(bytes([byte ^ 0xFF]))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def conversion(home: Path) -> Path:
    [folder] = (home / "cache" / "openvino").iterdir()
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("openvino_*")}


# --- what is judged is what is served ---


@pytest.mark.parametrize("name", ["current", "ours-1"])
def test_weights_that_changed_after_the_promotion_are_not_served(served_home: Path, name: str) -> None:
    change_a_byte(served_home / "models" / "ours-1" / "model.gguf")
    with pytest.raises(ModelBroken, match=r"model\.gguf has changed.*not served"):
        serve(name)


def test_a_folder_with_a_manifest_is_served_only_as_its_manifest_says(served_home: Path) -> None:
    folder = served_home / "models" / "ours-1"
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelBroken, match=r"tokenizer\.json is unexpected"):
        serve(str(folder))


def test_another_model_under_the_promoted_name_is_not_current(own_home: Path, tmp_path: Path) -> None:
    """Its manifest is right, so it may be judged and promoted; but `current` is what was promoted."""
    register(write_model(tmp_path / "first", "weights"), "ours-1")
    promote("ours-1", None, force_reason="a test")
    shutil.rmtree(models_dir() / "ours-1")
    register(write_model(tmp_path / "second", "other weights"), "ours-1")
    with pytest.raises(ModelBroken, match=r"not those that were promoted \(model\.gguf has changed\)"):
        open_engine(resolve("current"), "openvino", EngineOptions(max_streams=1))


def test_weights_that_changed_while_they_were_served_are_not_opened_again(served_home: Path) -> None:
    others = multiprocessing.active_children()
    engine = open_engine(resolve("current"), "openvino", EngineOptions(max_streams=1, threads=1))
    try:
        change_a_byte(served_home / "models" / "ours-1" / "model.gguf")
        [worker] = set(multiprocessing.active_children()) - set(others)
        worker.kill()
        worker.join()
        deadline = time.monotonic() + 60
        said: list[str] = []
        while not any("model.gguf has changed" in message for message in said):
            assert time.monotonic() < deadline, said
            with pytest.raises(AcepilotError) as caught:
                asyncio.run(write_a_token(engine))
            said.append(caught.value.message)
            time.sleep(0.05)
    finally:
        engine.close()


def test_a_manifest_that_changed_after_the_promotion_is_not_served(served_home: Path) -> None:
    manifest = served_home / "models" / "ours-1" / MANIFEST_FILE
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"context_tokens": 64}))
    with pytest.raises(ModelBroken, match=r"manifest\.json has changed.*not served"):
        serve("current")
    promote("ours-1", None, force_reason="the new manifest is wanted")
    serve("current")


def test_a_promotion_that_did_not_record_its_manifest_is_served(served_home: Path) -> None:
    history = served_home / "promotions" / "history.json"
    content = json.loads(history.read_text())
    content["promotions"][0]["model"].pop("manifest_sha256", None)
    history.write_text(json.dumps(content))
    serve("current")


def test_files_that_a_desktop_left_behind_are_no_models(tmp_path: Path) -> None:
    for name in ("model.gguf", "._model.gguf", "._model.safetensors"):
        (tmp_path / name).write_bytes(b"GGUF")
    model = resolve(str(tmp_path))
    assert model.gguf == tmp_path / "model.gguf"
    assert not model.is_safetensors


def test_a_write_through_a_memory_map_after_the_check_is_seen(
    own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the first write to a page changes the file's ctime, until the page is written to the disk."""
    monkeypatch.setattr(known_hashes, "SETTLED_NS", 0)
    file = tmp_path / "model.gguf"
    file.write_bytes(bytes(4096))
    with file.open("r+b") as opened:
        os.fsync(opened.fileno())
        with mmap.mmap(opened.fileno(), 4096) as page:
            page[0] = 1
            before = known_hashes.known_hashes(file)
            time.sleep(0.05)  # more than a tick of the file system's clock
            page[0] = 2
            assert known_hashes.known_hashes(file) != before


# --- names and the working directory ---


@pytest.mark.parametrize("name", ["starter", "ours-1", "owner/name"])
def test_a_folder_in_the_working_directory_is_served_only_as_a_path(
    own_home: Path, tmp_path: Path, name: str
) -> None:
    folder = write_model(tmp_path / name, "a stranger's") if "/" not in name else tmp_path / name
    if "/" in name:
        folder.parent.mkdir()
        write_model(folder, "a stranger's")
    with pytest.raises(ModelNotFound, match=rf"there is a folder {name} here.*\./{name}"):
        resolve(name)
    for path in (f"./{name}", str(folder), f"../{tmp_path.name}/{name}"):
        assert resolve(path).path == folder


def test_a_run_in_the_working_directory_is_not_taken_for_the_model_of_its_name(
    own_home: Path, tmp_path: Path
) -> None:
    (tmp_path / "starter").mkdir()
    (tmp_path / "starter" / "results.json").write_text("{}")
    done = subprocess.run(
        [sys.executable, "-m", "eval_humaneval", "compare", "starter", "starter", "--languages", "python"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=100,
    )
    assert done.returncode == 3
    assert "There is no model" in done.stderr or "is a folder starter here" in done.stderr, done.stderr


@pytest.mark.parametrize(
    "line",
    [
        'languages = "vue"',
        "samples = 1",
        "temperature = 1.0",
        "top_p = 0.01",
        "max_tokens = 1",
        "seed = 7",
        "holes_per_language = 1",
        "kv_cache_gb = 10000",
    ],
)
def test_a_clone_cannot_choose_what_is_judged(
    own_home: Path, tmp_path: Path, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = tmp_path / "clone"
    clone.mkdir(mode=0o755)
    (clone / "acepilot.toml").write_text(f"[eval_humaneval]\nthreads = 1\n{line}\n")
    monkeypatch.chdir(clone)
    with pytest.raises(ConfigError, match=f"sets {line.split()[0]}, which a file in the working directory"):
        EvalSettings.load()


# --- converted forms ---


@pytest.mark.parametrize("way", ["written", "renamed"])
def test_a_model_that_is_replaced_while_it_is_converted_and_then_restored(
    own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    model = tmp_path / "model.gguf"
    writer = GGUFWriter(model, "llama")
    writer.add_tensor("token_embd.weight", np.zeros((4, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    good = model.read_bytes()

    def replace_convert_restore(source: str, *_: object) -> None:
        if way == "renamed":
            model.rename(tmp_path / "kept")
        model.write_bytes(bytes(len(good)))
        Path(source).with_name("openvino_model.xml").write_bytes(Path(source).read_bytes())
        if way == "renamed":
            (tmp_path / "kept").rename(model)
        else:
            model.write_bytes(good)

    monkeypatch.setattr(model_files.genai, "ContinuousBatchingPipeline", replace_convert_restore)
    with pytest.raises(ModelBroken, match="changed while it was converted"):
        model_files.prepared_folder(resolve(str(model)))
    assert list((own_home / "cache" / "openvino").iterdir()) == []


def test_a_model_that_is_replaced_while_it_is_written_for_training_and_then_restored(
    own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model.gguf"
    model.write_bytes(b"GGUF, the model")

    def replaced(gguf: Path, folder: Path) -> None:
        good = gguf.read_bytes()
        gguf.write_bytes(b"GGUF, another  ")
        shutil.copyfile(gguf, folder / "model.safetensors")
        gguf.write_bytes(good)

    gguf_folder = pytest.importorskip("finetune.gguf_folder")
    monkeypatch.setattr(gguf_folder, "write_gguf_as_safetensors", replaced)
    with pytest.raises(ModelBroken, match="changed while it was converted"):
        transformers_folder(resolve(str(model)))
    assert list((own_home / "cache" / "training").iterdir()) == []


def a_changed_byte(folder: Path) -> None:
    change_a_byte(folder / "openvino_model.bin")


def lost_files(folder: Path) -> None:
    os.truncate(folder / "openvino_model.xml", 10_000)
    (folder / "openvino_tokenizer.xml").unlink()


@pytest.mark.parametrize("damage", [a_changed_byte, lost_files])
def test_a_damaged_conversion_is_made_again(served_home: Path, damage: Callable[[Path], None]) -> None:
    folder = conversion(served_home)
    whole = contents(folder)
    damage(folder)
    serve("current")
    assert contents(folder) == whole


def test_a_moved_and_read_only_home_is_served_without_converting(served_home: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    program = "from tests.attacks.test_promotion import serve; serve('current'); print('served')"
    done = in_own_mounts(
        f"mount --bind {served_home} {elsewhere} && mount -o remount,bind,ro {elsewhere} && "
        f'! touch {elsewhere}/file 2>&- && exec {sys.executable} -c "$PROGRAM"',
        ACEPILOT_HOME=str(elsewhere),
        PROGRAM=f'if __name__ == "__main__":\n    {program}\n',
    )
    assert "served" in done.stdout, done.stderr
    conversion(served_home)  # still the only one


def test_a_read_only_home_without_the_conversion_says_what_to_do(
    own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACEPILOT_HOME", "/proc/none")  # not even root can write there
    model = tmp_path / "model.gguf"
    model.write_bytes(b"GGUF")
    with pytest.raises(ConfigError, match=r"has to convert the model once.*After one start with a home that"):
        model_files.prepared_folder(resolve(str(model)))


def in_own_mounts(command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a bash command that may mount; skip the test where the machine does not allow that."""
    unshared = ["unshare", "--user", "--map-root-user", "--mount", "bash", "-c"]
    if subprocess.run([*unshared, "mount -t tmpfs tmpfs /mnt"], capture_output=True).returncode != 0:
        pytest.skip("this machine does not allow mounting a small disk")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(
        [*unshared, command], capture_output=True, text=True, env=environment, timeout=100, cwd=ROOT
    )


# --- full disks ---

PROMOTE_ON_A_FULL_DISK = """
import json, os, sys
from pathlib import Path
from acepilot.models.__main__ import main
from acepilot.models.registry import register
from tests.acepilot.models.tuned_models import write_model

home = Path(os.environ["ACEPILOT_HOME"])
for name in ("first", "second"):
    register(write_model(Path(sys.argv[1]) / name, name))
    assert main(["promote", name, "--force", "--reason", "a test"]) == 0
history = home / "promotions" / "history.json"
before = history.read_bytes()
try:
    with (home / "filler").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
except OSError:
    pass
codes = [main(words) for words in (["rollback"], ["promote", "first", "--force", "--reason", "a test"])]
try:
    codes.append(main(["add", str(write_model(Path(sys.argv[1]) / "third", "third" * 10_000))]))
finally:
    (home / "filler").unlink()
left = [str(path) for path in home.rglob("*") if ".part" in path.name or path.name.startswith(".third")]
print(json.dumps({"codes": codes, "left": left, "whole": history.read_bytes() == before}))
"""


def test_a_full_disk_stops_promotion_rollback_and_add_with_a_sentence(tmp_path: Path) -> None:
    home, runs = tmp_path / "home", tmp_path / "runs"
    home.mkdir()
    done = in_own_mounts(
        f'mount -t tmpfs -o size=1m tmpfs {home} && exec {sys.executable} -c "$PROGRAM" {runs}',
        ACEPILOT_HOME=str(home),
        PROGRAM=PROMOTE_ON_A_FULL_DISK,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"codes": [1, 1, 1], "left": [], "whole": True}
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 3
    assert all("disk" in line and "ree" in line for line in errors), errors
    assert "Traceback" not in done.stderr


CONVERT_ON_A_FULL_DISK = """
import os, threading, time
from pathlib import Path
from acepilot.errors import AcepilotError
from acepilot.models.resolve import resolve
from server.engine.base import EngineOptions
from server.engine.opening import open_engine

kept = Path(os.environ["ACEPILOT_HOME"]) / "cache" / "openvino"

def fill() -> None:
    # Another program takes the rest of the disk once the conversion has begun.
    while not list(kept.glob(".*/model.gguf")):
        time.sleep(0.01)
    with (kept / "filler").open("wb") as file:
        size = os.statvfs(kept).f_bavail * os.statvfs(kept).f_frsize
        while size > 4096:
            try:
                os.posix_fallocate(file.fileno(), file.tell(), size)
                file.seek(size, 1)
            except OSError:
                size //= 2

if __name__ == "__main__":
    threading.Thread(target=fill, daemon=True).start()
    try:
        open_engine(resolve(os.environ["MODEL"]), "openvino", EngineOptions(max_streams=1))
    except AcepilotError as error:
        print(error.code, error.message)
    print("left:", [path.name for path in kept.iterdir() if path.name != "filler"])
"""


def test_a_disk_that_fills_while_converting_is_named(tmp_path: Path) -> None:
    need_model("starter-tiny")
    home = tmp_path / "home"
    home.mkdir()
    program = tmp_path / "convert.py"  # a file, because the worker process imports it again
    program.write_text(CONVERT_ON_A_FULL_DISK)
    done = in_own_mounts(
        f"mount -t tmpfs -o size=700m tmpfs {home} && exec {sys.executable} {program}",
        ACEPILOT_HOME=str(home),
        MODEL=str(models_dir() / "starter-tiny" / "model.gguf"),
    )
    assert done.stdout.startswith(f"not_enough_disk The disk of {home}/cache/openvino is full"), done
    assert done.stdout.endswith("left: []\n")


# --- forged reports ---


def changed_language(**changes: Any) -> dict[str, Any]:
    """Return a pool and two languages, of which the first is changed; the pool remains their sum."""
    python = comparison(-0.5).model_copy(update=changes)
    vue = comparison(9.25)
    difference = (python.difference + vue.difference) / 2
    pool = comparison(difference, problems=80, p_adjusted=0.5)
    return {"pool": pool, "languages": {"python": python, "vue": vue}}


NOTHING_ASKED = comparison(0, problems=0).model_copy(
    update={"base": 60.0, "candidate": 10.0, "difference": -50.0, "lower": 1.0}
)
FORGED: dict[str, dict[str, Any]] = {
    "a margin beyond every loss": {
        "pool": comparison(4.375, problems=80).model_copy(update={"margin": 1e9}),
        "languages": {
            name: comparison(difference).model_copy(update={"margin": 1e9})
            for name, difference in {"python": -0.5, "vue": 9.25}.items()
        },
    },
    "no problems and a bound above the difference": {
        "pool": NOTHING_ASKED,
        "languages": {"python": NOTHING_ASKED},
    },
    "an alpha of 1": {"alpha": 1.0},
    "drops that never fail": {"drop_points": 1e9},
    "programs that were not contained": {"sandbox": "limits-only"},
    "a report of 1970": {"created": datetime(1970, 1, 1, tzinfo=UTC)},
    "a report of the future": {"created": datetime.now(UTC) + timedelta(days=30)},
    "a difference that is not candidate minus base": {
        "pool": comparison(4.375, problems=80).model_copy(update={"candidate": 10.0}),
    },
    "a pool that is not the sum of its languages": {"pool": comparison(4.375, problems=800)},
    "an upper bound below the drops that fail, and no small p": changed_language(
        difference=-2.5, lower=-3.0, upper=-2.0, candidate=27.5, p_value=0.6
    ),
    "p-values that Holm's method does not give": changed_language(p_value=0.01, p_adjusted=1.0),
    "a p-value of all languages that was corrected": {
        "pool": comparison(4.375, problems=80, p_adjusted=1.0),
    },
    "samples that differ between languages": changed_language(samples=200),
    "a language that nobody knows": {
        "languages": {"": comparison(-0.5), "klingon": comparison(9.25)},
    },
    "a language without problems": {
        "languages": {"python": comparison(-0.5), "vue": comparison(9.25), "go": comparison(0, problems=0)}
    },
    "one run on both sides": {"base": "same run", "candidate": "same run"},
}


@pytest.fixture
def attempt(own_home: Path, tmp_path: Path) -> Callable[..., str]:
    """Promotes `second` with a report about `first` and `second`, PASS unless changed. Returns its name."""
    models = {
        name: register(write_model(tmp_path / "runs" / name, name)).path for name in ("first", "second")
    }

    def run(**changes: Any) -> str:
        for side, model in zip(("base", "candidate"), ("first", "second"), strict=True):
            if changes.get(side) == "same run":
                changes[side] = JudgedModel(name=model, files=file_hashes(models[model]), run="runs/one")
        content = report(models["first"], models["second"], **changes)
        return promote("second", write_report(tmp_path / "report", content)).model.name

    return run


def test_an_honest_report_promotes_the_first_model(attempt: Callable[..., str]) -> None:
    assert attempt() == "second"


@pytest.mark.parametrize("count", [10**30, 10**400], ids=["31 digits", "401 digits"])
@pytest.mark.parametrize("field", ["problems", "samples"])
def test_counts_beyond_all_runs_are_a_sentence(
    attempt: Callable[..., str], tmp_path: Path, field: str, count: int
) -> None:
    with pytest.raises((PromotionRefused, ConfigError), match=r"gate report|figures"):
        attempt(**changed_language(**{field: count}))


def test_few_changed_problems_may_have_a_large_p_value(attempt: Callable[..., str]) -> None:
    """Three problems got worse, and none better: by McNemar's test that is no evidence of a drop."""
    python = {"difference": -7.5, "candidate": 22.5, "lower": -13.0, "upper": -2.0, "margin": 20.0}
    figures = changed_language(**python, p_value=0.125, p_adjusted=0.25)
    figures["languages"]["vue"] = comparison(9.25, p_adjusted=0.5)
    assert attempt(**figures) == "second"


def as_judged(samples: int, languages: int) -> dict[str, Any]:
    """Return the figures of a gate that chose its own margins, for equal models on the built-in problems."""
    chosen = [name for name in ADAPTERS if builtin_problems(name)][:languages]
    rows = [(at, problem.cluster) for at, name in enumerate(chosen) for problem in builtin_problems(name)]
    clusters = sorted({cluster for _, cluster in rows})
    passed = np.array([(7 * row) % (samples + 1) for row in range(len(rows))], dtype=np.float64)
    counts = PairedCounts(
        languages=tuple(chosen),
        language=np.array([at for at, _ in rows]),
        cluster=np.array([clusters.index(cluster) for _, cluster in rows]),
        base=passed,
        candidate=passed,
        samples=samples,
        greedy=samples == 1,
    )
    found = analyze(counts, GateOptions(resamples=2000), None).compared
    return {"pool": found.pop(POOL), "languages": found, "alpha": 0.025}


@pytest.mark.parametrize("samples", [1, 5])
@pytest.mark.parametrize("languages", [1, 2, 3, 11])
def test_the_margins_that_the_gate_chooses_are_accepted(
    attempt: Callable[..., str], samples: int, languages: int
) -> None:
    assert attempt(**as_judged(samples, languages)) == "second"


def test_the_reports_in_the_documentation_agree_with_themselves() -> None:
    content = json.loads((ROOT / "docs/reports/same/gate.json").read_text())
    assert GateReport.model_validate(content).bears_out_pass()


@pytest.mark.parametrize("forgery", FORGED)
def test_a_report_that_proves_nothing_is_refused_at_the_first_promotion(
    attempt: Callable[..., str], forgery: str
) -> None:
    with pytest.raises(PromotionRefused):
        attempt(**FORGED[forgery])
    assert read_history().promotions == []


def test_a_model_that_was_compared_with_itself_is_refused(
    attempt: Callable[..., str], own_home: Path
) -> None:
    hashes = {name: file.sha256 for name, file in read_manifest(own_home / "models/second").files.items()}
    del hashes["README.md"]
    side = JudgedModel(name="second", files=hashes, run="r")
    with pytest.raises(PromotionRefused, match="compares second with itself"):
        attempt(base=side, candidate=side)


def test_the_owner_of_the_home_decides_what_is_demanded(attempt: Callable[..., str], own_home: Path) -> None:
    policy = own_home / "acepilot.toml"
    policy.write_text("[promotion]\nlanguage_margin = 3\n")
    with pytest.raises(
        PromotionRefused, match=r"margin of python is 4 points; at most 3 count.*acepilot\.toml"
    ):
        attempt()
    policy.write_text('[promotion]\nmax_age_days = 30000\nsandboxes = ["limits-only"]\n')
    assert attempt(sandbox="limits-only", created=datetime(1970, 1, 1, tzinfo=UTC)) == "second"


# --- histories ---


def test_a_history_that_begins_with_a_rollback_is_damaged(own_home: Path, tmp_path: Path) -> None:
    register(write_model(tmp_path / "model", "weights"), "ours-1")
    promote("ours-1", None, force_reason="a test")
    history = own_home / "promotions" / "history.json"
    history.write_text(history.read_text().replace('"action": "promote"', '"action": "rollback"'))
    for attempt in (rollback, lambda: resolve("current"), lambda: promote("ours-1", None, force_reason="x")):
        with pytest.raises(ModelBroken, match=r"history\.json is damaged(.|\n)*entry 1 rolls back"):
            attempt()


# --- terminals ---

ESC = "\x1b]0;owned\x07\x1b[2J"


def test_texts_of_strangers_do_not_reach_the_terminal_raw(
    own_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = [register(write_model(tmp_path / name, name)).path for name in ("first", "second", "third")]
    manifest = models[2] / MANIFEST_FILE
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"base": f"base{ESC}"}))
    judged = write_report(tmp_path / "report", report(models[0], models[1], reasons=[f"It passed.{ESC}"]))
    commands = [
        ["promote", "second", "--report", str(judged)],
        ["promote", "first", "--force", "--reason", f"a test{ESC}"],
        ["list"],
        ["publish", "third", "--to", "owner/name", "--dry-run"],
    ]
    for words in commands:
        models_program(words)
        shown = "".join(capsys.readouterr())
        assert "\x1b" not in shown, words
        assert "\x07" not in shown, words


@pytest.mark.parametrize("languages", [1, 2])
def test_promoting_says_in_which_languages_a_model_was_judged(
    own_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], languages: int
) -> None:
    models = [register(write_model(tmp_path / name, name)).path for name in ("first", "second")]
    changes = (
        {}
        if languages == 2
        else {"languages": {"python": comparison(0, p_adjusted=0.5)}, "pool": comparison(0, p_adjusted=0.5)}
    )
    assert (
        models_program(
            ["promote", "second", "--report", str(write_report(tmp_path, report(*models, **changes)))]
        )
        == 0
    )
    said = capsys.readouterr().err
    if languages == 2:
        assert "Judged in 2 languages: python, vue." in said
    else:
        assert "Warning: judged in python only." in said


# --- numbers in manifests ---


@pytest.mark.parametrize("field", [{"context_tokens": -5}, {"context_tokens": 0}, {"context_tokens": 63}])
def test_a_manifest_without_room_for_a_prompt_is_damaged(tmp_path: Path, field: dict[str, int]) -> None:
    folder = write_model(tmp_path / "model", "weights")
    manifest = folder / MANIFEST_FILE
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | field))
    with pytest.raises(ModelBroken, match=r"is damaged(.|\n)*context_tokens"):
        resolve(str(folder))
