"""The upstream engine with a real vLLM; ACEPILOT_TEST_VLLM is the path of its program `vllm`."""

# transformers is typed in part
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import torch
from prometheus_client.parser import text_string_to_metric_families
from transformers import GPTJConfig, GPTJForCausalLM

from acepilot.models.registry import ModelFolder
from finetune.modeling.tiny import byte_tokenizer
from server.engine.base import Delta, EngineOptions, GenerationRequest
from server.engine.upstream.engine import UpstreamEngine
from tests.needs import missing
from tests.server.engine.upstream.upstream_fake import eventually, eventually_async

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

START_TIMEOUT_S = 400
CONTEXT_TOKENS = 1024
DOCUMENTS = ["".join(f"const {name}{number} = {number}\n" for number in range(40)) for name in "abcd"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-J with random weights; CodeGen is exported in this form."""
    folder = tmp_path_factory.mktemp("gptj")
    torch.manual_seed(0)
    config = GPTJConfig(
        vocab_size=320, n_positions=CONTEXT_TOKENS, n_embd=128, n_layer=2, n_head=2, rotary_dim=32,
        bos_token_id=256, eos_token_id=256,
    )  # fmt: skip
    GPTJForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def vllm_url(folder: Path) -> Iterator[str]:
    binary = os.environ.get("ACEPILOT_TEST_VLLM")
    if not binary:
        missing("vLLM", "make test-slow ACEPILOT_TEST_VLLM=/path/to/bin/vllm")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        binary,
        "serve",
        str(folder),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--dtype",
        "bfloat16",
    ]
    command += ["--max-model-len", str(CONTEXT_TOKENS), "--enable-prefix-caching", "--enforce-eager"]
    command += ["--gpu-memory-utilization", "0.1"]
    environment = {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    log = folder / "vllm.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=os.environ | environment, start_new_session=True
        )
        try:
            url = f"http://127.0.0.1:{port}"
            assert eventually(lambda: process.poll() is not None or _answers(url), START_TIMEOUT_S), (
                log.read_text()
            )
            assert process.poll() is None, log.read_text()
            yield url
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def engine(vllm_url: str, folder: Path) -> Iterator[UpstreamEngine]:
    engine = UpstreamEngine(ModelFolder("tiny", folder, None), EngineOptions(upstream=(vllm_url,)))
    yield engine
    engine.close()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=2).is_success
    except httpx.HTTPError:
        return False


def metric(url: str, name: str) -> float:
    families = text_string_to_metric_families(httpx.get(f"{url}/metrics", timeout=10).text)
    return sum(sample.value for family in families for sample in family.samples if sample.name == name)


async def collect(engine: UpstreamEngine, request: GenerationRequest) -> list[Delta]:
    return [delta async for delta in engine.generate(request)]


@pytest.mark.asyncio
async def test_tokens_come_one_by_one_and_are_counted(engine: UpstreamEngine) -> None:
    assert engine.info.context_tokens == CONTEXT_TOKENS
    deltas = await collect(engine, GenerationRequest("def add(a, b):\n    return", 20))
    assert deltas[-1].finish == "length"
    assert sum(delta.tokens for delta in deltas) == 20
    assert {delta.tokens for delta in deltas} <= {0, 1}
    assert deltas == await collect(engine, GenerationRequest("def add(a, b):\n    return", 20))


@pytest.mark.asyncio
async def test_sampling_follows_its_seed(engine: UpstreamEngine) -> None:
    first, again, other = [
        await collect(engine, GenerationRequest("x = ", 30, temperature=1.0, seed=seed)) for seed in (1, 1, 2)
    ]
    assert first == again
    assert first != other


@pytest.mark.asyncio
async def test_cancelling_frees_the_place_in_vllm(engine: UpstreamEngine, vllm_url: str) -> None:
    stream = engine.generate(GenerationRequest("def f", 900))
    await anext(stream)
    assert metric(vllm_url, "vllm:num_requests_running") == 1
    await stream.aclose()
    assert await eventually_async(lambda: metric(vllm_url, "vllm:num_requests_running") == 0)


@pytest.mark.asyncio
async def test_the_next_keystroke_finds_the_document_in_the_cache(
    engine: UpstreamEngine, vllm_url: str
) -> None:
    async def typed(characters: int) -> float:
        before = metric(vllm_url, "vllm:prefix_cache_hits_total")
        requests = [GenerationRequest(text + "const"[:characters], 4) for text in DOCUMENTS]
        await asyncio.gather(*(collect(engine, request) for request in requests))
        return metric(vllm_url, "vllm:prefix_cache_hits_total") - before

    assert await typed(0) == 0
    tokens = sum(map(len, DOCUMENTS))
    assert await typed(1) > 0.8 * tokens, "only whole blocks are cached, of 128 tokens on CPU"


@pytest.mark.asyncio
async def test_scores_are_transformers(engine: UpstreamEngine, folder: Path) -> None:
    before, after = "def add(a, b):\n", "    return a + b"
    ids = torch.tensor([byte_tokenizer().encode(before + after)])
    with torch.no_grad():
        logits = GPTJForCausalLM.from_pretrained(folder, dtype=torch.float32)(ids).logits[0]
    expected = logits[:-1].log_softmax(-1).gather(1, ids[0, 1:, None])[-len(after) :, 0]
    assert await engine.score(before, after) == pytest.approx(expected.tolist(), abs=0.05)
