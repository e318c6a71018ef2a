"""Start each contestant's server, ours among them, and read what it has computed.

All serve the same model, greedily, over OpenAI's `POST /v1/completions`. Model, port and context are set;
everything else is the server's default, except prefix caches, which are on for all.
"""

import re
import subprocess
import sys
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
from gguf import GGUFReader, LlamaFileType
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from acepilot.errors import ConfigError
from acepilot.models.resolve import resolve
from bench.peers.levers import LEVERS
from bench.peers.processes import PeerFailed, free_port, running
from finetune.modeling.base_model import base_folder

HERE = Path(__file__).resolve().parent
CONTEXT_TOKENS = 2048
"""Tokens of prompt and completion together, for each stream, for servers that ask for a size."""


@dataclass(frozen=True)
class Contestant:
    """A server to measure. The tokens it has computed are its counters `computed` less its counters `reused`.

    This process's variables take precedence over `environment`. `extra` goes into each request. `streams`:
    the server can stream. Only our server has `counts`, the folder to which its processes write their counts,
    and `without`, the levers that are off.
    """

    name: str
    quantisation: str
    version: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    ready_path: str = "/health"
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    computed: tuple[str, ...] = ()
    reused: tuple[str, ...] = ()
    streams: bool = True
    counts: Path | None = None
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class Running:
    """A running server at `url`. `session` is the session id of its processes."""

    url: str
    session: int

    def metrics(self) -> list[Sample]:
        """Return the samples of its `/metrics`."""
        families = text_string_to_metric_families(httpx.get(f"{self.url}/metrics", timeout=30).text)
        return [sample for family in families for sample in family.samples]


@contextmanager
def serving(contestant: Contestant, logs: Path) -> Generator[Running]:
    """Start the server on a free port, and end it at the end. Raises PeerFailed."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        try:
            answer = httpx.get(f"{url}{contestant.ready_path}", timeout=5)
        except httpx.TransportError:
            return False
        # A server of ours whose model cannot be loaded reports that, and keeps running.
        if contestant.counts and answer.json()["status"] == "failed":
            raise PeerFailed(f"{contestant.name}: {answer.json()['detail']}")
        return answer.status_code == 200

    command = [part.replace("{port}", str(port)) for part in contestant.command]
    log = logs / (contestant.name.replace(",", "").replace(" ", "-") + ".log")
    with running(command, log=log, ready=ready, environment=contestant.environment) as session:
        yield Running(url, session)


def growth(
    before: Sequence[Sample],
    after: Sequence[Sample],
    names: Collection[str],
    outcomes: Collection[str] = (),
) -> int:
    """Return the sum by which the counters `names` have grown; with `outcomes`, only for these outcomes."""

    def total(samples: Sequence[Sample]) -> float:
        return sum(
            sample.value
            for sample in samples
            if sample.name in names and (not outcomes or sample.labels.get("outcome") in outcomes)
        )

    return round(total(after) - total(before))


def acepilot(
    model: str, engine: str, counts: Path, without: tuple[str, ...] = (), flags: tuple[str, ...] = ()
) -> Contestant:
    """Return our own server, started through levers.py. The benchmark starts its language servers."""
    file = quantisation_of(gguf_of(model))
    weights = {"openvino": file, "torch": f"its dtype, from {file}", "upstream": "as served there"}
    levers = "any lever" if len(without) == len(LEVERS) else ", ".join(without)
    name = f"acepilot {engine}" + (f" without {levers}" if without else "")
    options = ["server", "--port", "{port}", "--log-level", "error", "--engine", engine, "--model", model]
    return Contestant(
        name,
        weights[engine],
        version("acepilot"),
        (*_without(without, counts), *options, *flags),
        ready_path="/ready",
        counts=counts,
        without=without,
    )


def language_server_command(url: str, own: Contestant, budget_s: float) -> list[str]:
    """Return the command of our language server. `budget_s` is its time budget in seconds."""
    assert own.counts is not None
    budget = str(round(budget_s * 1000))
    return [*_without(own.without, own.counts), "lsp", "--server-url", url, "--time-budget-ms", budget]


def naive(model: str) -> Contestant:
    script = str(HERE / "naive_server.py")
    return Contestant(
        "transformers generate",
        "bf16",
        version("transformers"),
        (sys.executable, script, "--port", "{port}", "--model", str(base_folder(model))),
        ready_path="/metrics",
        computed=("naive_prompt_tokens_total", "naive_generated_tokens_total"),
        streams=False,
    )


def vllm(binary: Path, model: str, streams: int) -> Contestant:
    folder = str(base_folder(model))
    options = ["--host", "127.0.0.1", "--port", "{port}", "--dtype", "bfloat16", "--enable-prefix-caching"]
    sizes = f"--max-model-len {CONTEXT_TOKENS} --max-num-seqs {max(streams, 4)}".split()
    # By default vLLM refuses to start unless 92 % of the memory is free.
    sizes += ["--gpu-memory-utilization", "0.4"]
    return Contestant(
        "vLLM",
        "bf16",
        _first_number([str(binary), "--version"]),
        (str(binary), "serve", folder, *options, *sizes, "--served-model-name", model),
        environment={
            "VLLM_CPU_KVCACHE_SPACE": "1",  # in GB, the same as ours
            "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",  # by default vLLM uses one of two cores
            "VLLM_NO_USAGE_STATS": "1",
            "HF_HUB_OFFLINE": "1",
        },
        # It reads a prompt of this size in one step, which cannot be interrupted: all of it is computed.
        computed=("vllm:prefix_cache_queries_total", "vllm:generation_tokens_total"),
        reused=("vllm:prefix_cache_hits_total",),
    )


def llama(binary: Path, model: str, streams: int, gguf: Path | None) -> Contestant:
    """Return llama.cpp's server. `gguf` replaces the file that our own server has."""
    file = gguf or gguf_of(model)
    options = ["--host", "127.0.0.1", "--port", "{port}", "--metrics", "--no-webui"]
    sizes = f"--parallel {streams} --ctx-size {CONTEXT_TOKENS * streams}".split()
    return Contestant(
        f"llama.cpp {gguf.stem}" if gguf else "llama.cpp",
        quantisation_of(file),
        _first_number([str(binary), "--version"]),
        (str(binary), "--model", str(file), *options, *sizes),
        extra={"cache_prompt": True},
        computed=("llamacpp:prompt_tokens_total", "llamacpp:tokens_predicted_total"),
    )


def gguf_of(model: str) -> Path:
    """Return the GGUF file of `model`, a word that `resolve` takes. Raises ConfigError when it has none."""
    found = resolve(model)
    if found.gguf is None:
        raise ConfigError(f"{found.path} holds no GGUF file: give a model that is one, such as starter.")
    return found.gguf


def quantisation_of(gguf: Path) -> str:
    """Return the quantisation that the file names, such as `Q8_0` or `Q4_K_M`."""
    field = GGUFReader(gguf).fields.get("general.file_type")
    return LlamaFileType(field.contents()).name.removeprefix("MOSTLY_") if field else "GGUF"


def _without(without: tuple[str, ...], counts: Path) -> tuple[str, ...]:
    levers = [part for lever in without for part in ("--without", lever)]
    return (sys.executable, str(HERE / "levers.py"), "--counts", str(counts), *levers)


def _first_number(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found = re.search(r"\d+\.\d+(\.\d+)?\S*", done.stdout + done.stderr)
    return found[0] if found else "unknown"
