"""The torch engine on a tiny random CodeGen, in float32: its text is the model's text, whatever runs beside
it."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Tokenizer
from transformers import AutoModelForCausalLM

from acepilot.errors import ConfigError, EngineFailed, ModelBroken
from acepilot.fim import format_for
from acepilot.models.registry import ModelFolder
from finetune.modeling.tiny import byte_tokenizer
from server.engine.base import EngineOptions, GenerationRequest
from server.engine.scheduler.schedule import StepLimits
from server.engine.scheduler.sequence import TextStream
from server.engine.torch.engine import TorchEngine
from server.engine.torch.runner import load_model
from server.engine.torch.weights import special_tokens
from tests.server.engine.fake_runner import ObservedWorker, generation
from tests.server.engine.torch.torch_models import CONTEXT_TOKENS, END_OF_TEXT_ID, tiny_folder
from tests.server.engine.worker_process import kill_while_answering, open_with_process, until_restarted

OPTIONS = EngineOptions(dtype="float32", max_streams=4, threads=1)
"""One thread: on busy cores, two threads wait for each other longer than this small model computes."""
PROMPTS = [f"def f{number}(a, b):\n    return a" for number in range(6)]
SHARED = "import json\n" * 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return tiny_folder(tmp_path_factory.mktemp("codegen"), "codegen")


@pytest.fixture(scope="module")
def engine(folder: ModelFolder) -> Iterator[TorchEngine]:
    engine = TorchEngine(folder, OPTIONS)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def reference(folder: ModelFolder) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder.path, dtype=torch.float32)


async def text_of(engine: TorchEngine, request: GenerationRequest) -> str:
    return "".join([delta.text async for delta in engine.generate(request)])


class InProcess:
    """The worker without its process: `generated` runs all prompts at once."""

    def __init__(self, folder: ModelFolder, *, prompt_lookup: bool = True) -> None:
        self._model = replace(load_model(folder, OPTIONS), limits=StepLimits(tokens=32, drafts=16))
        self._tokenizer = Tokenizer.from_str(self._model.opened.tokenizer)
        self._prompt_lookup = prompt_lookup

    def generated(self, prompts: list[str], task: GenerationRequest) -> list[str]:
        worker = ObservedWorker(self._model, replace(OPTIONS, prompt_lookup=self._prompt_lookup))
        for number, prompt in enumerate(prompts):
            worker.add(number, self._tokenizer.encode(prompt).ids, task)
        worker.run()
        return [worker.texts[number] for number in range(len(prompts))]


@pytest.mark.asyncio
async def test_greedy_text_is_transformers_text(engine: TorchEngine, reference: Any) -> None:
    for prompt in (PROMPTS[0], SHARED):
        ids = torch.tensor([engine.encode(prompt, begin=True)])
        out = reference.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=48, do_sample=False, pad_token_id=0
        )
        expected = byte_tokenizer().decode(out[0, ids.shape[1] :], skip_special_tokens=True)
        text = await text_of(engine, GenerationRequest(prompt, max_tokens=48))
        assert text == expected.rstrip("\ufffd")


def test_prompt_lookup_changes_no_greedy_text(folder: ModelFolder) -> None:
    prompts = [*PROMPTS, SHARED, "ab" * 30]
    texts = [
        InProcess(folder, prompt_lookup=lookup).generated(prompts, generation(60)) for lookup in (True, False)
    ]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_together_is_as_alone(folder: ModelFolder, temperature: float) -> None:
    task = generation(30, temperature=temperature, seed=5)
    prompts = [*PROMPTS, SHARED + "a", SHARED + "b", SHARED + "a"]
    process = InProcess(folder)
    assert process.generated(prompts, task) == [process.generated([prompt], task)[0] for prompt in prompts]


@pytest.mark.asyncio
async def test_a_seed_holds_whatever_else_runs(engine: TorchEngine) -> None:
    request = GenerationRequest(PROMPTS[0], max_tokens=30, temperature=1.0, top_p=0.9, seed=11)
    alone = await text_of(engine, request)
    others = [GenerationRequest(prompt, max_tokens=20, temperature=1.0, seed=3) for prompt in PROMPTS]
    beside = await asyncio.gather(text_of(engine, request), *(text_of(engine, other) for other in others))
    assert beside[0] == alone


@pytest.mark.asyncio
async def test_scores_are_the_model_s_log_probabilities(engine: TorchEngine, reference: Any) -> None:
    for continuation in ("return b", "z"):
        before, after = engine.encode(PROMPTS[0], begin=True), engine.encode(continuation, begin=False)
        with torch.inference_mode():
            logits = reference(torch.tensor([before + after])).logits[0]
        wanted = logits.log_softmax(-1)[len(before) - 1 : -1].gather(1, torch.tensor(after)[:, None])
        scores = await engine.score(PROMPTS[0], continuation)
        assert scores == pytest.approx(wanted[:, 0].tolist(), abs=1e-4)
    assert await engine.score(PROMPTS[0], "") == []
    with pytest.raises(EngineFailed, match="empty"):
        await engine.score("", "a")


@pytest.mark.asyncio
async def test_a_prompt_that_is_too_long_is_refused_and_one_that_just_fits_is_not(
    engine: TorchEngine,
) -> None:
    assert engine.info.context_tokens == CONTEXT_TOKENS
    with pytest.raises(EngineFailed, match=f"{CONTEXT_TOKENS} tokens"):
        await text_of(engine, GenerationRequest("a" * CONTEXT_TOKENS, max_tokens=4))
    request = GenerationRequest("a" * (CONTEXT_TOKENS - 1), max_tokens=4)
    deltas = [delta async for delta in engine.generate(request)]
    assert sum(delta.tokens for delta in deltas) == 1


def test_a_prompt_s_sentinels_are_encoded_as_such(engine: TorchEngine) -> None:
    assert engine.encode("a<|endoftext|>b", begin=True)[1:2] == [END_OF_TEXT_ID]
    assert engine.info.special_tokens == {"<|endoftext|>"}


def test_sentinels_are_special_where_a_tokenizer_does_not_say_so() -> None:
    tokenizer = byte_tokenizer()
    sentinels = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]
    tokenizer.add_tokens([AddedToken(text) for text in [*sentinels, "<fim-prefix>", "<tool_call>", "    "]])
    found = set(special_tokens(tokenizer.backend_tokenizer).values())
    assert found == {"<|endoftext|>", "<fim-prefix>", *sentinels}
    fim = format_for(found)
    assert fim is not None
    assert fim.name == "qwen"


@pytest.mark.parametrize("tokens_a_time", [1, 2, 3, 7])
def test_characters_whose_bytes_span_tokens_arrive_whole(tokens_a_time: int) -> None:
    """With this tokenizer each byte is a token."""
    text = "x = '😀é漢🎉'\n"
    tokenizer = byte_tokenizer().backend_tokenizer
    ids = tokenizer.encode(text).ids
    stream = TextStream(tokenizer.decode, tokenizer.encode("é").ids[-1])
    pieces = [ids[at : at + tokens_a_time] for at in range(0, len(ids), tokens_a_time)]
    arrived = [stream.add(piece, last=number == len(pieces)) for number, piece in enumerate(pieces, start=1)]
    assert "".join(arrived) == text
    assert not [piece for piece in arrived if "\ufffd" in piece]


def test_a_character_that_never_ends_is_left_out() -> None:
    tokenizer = byte_tokenizer().backend_tokenizer
    ids = tokenizer.encode("ab😀").ids
    stream = TextStream(tokenizer.decode, ids[0])
    assert stream.add(ids[1:4], last=False) == ""
    assert stream.add([], last=True) == "b"


@pytest.mark.asyncio
async def test_a_crash_fails_its_streams_and_after_the_restart_requests_are_answered(
    folder: ModelFolder,
) -> None:
    engine, process = open_with_process(lambda: TorchEngine(folder, OPTIONS))
    with pytest.raises(EngineFailed, match="process has ended"):
        await kill_while_answering(engine, process, GenerationRequest(PROMPTS[0], max_tokens=200))
    await until_restarted(engine)
    deltas = [delta async for delta in engine.generate(GenerationRequest(PROMPTS[1], max_tokens=3))]
    assert deltas[-1].finish  # three tokens of random weights may not make a whole character
    engine.close()
    assert not process.is_alive()


def test_damaged_files_are_named(folder: ModelFolder, tmp_path: Path) -> None:
    for file in folder.path.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[:5000])
    with pytest.raises(ModelBroken, match="torch cannot open"):
        TorchEngine(ModelFolder("damaged", tmp_path, None), OPTIONS)


def test_without_torch_the_error_names_the_extra_to_install(
    folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    with pytest.raises(ConfigError, match="needs torch, which"):
        TorchEngine(folder, OPTIONS)


def test_the_server_s_process_never_imports_torch() -> None:
    code = (
        "import sys, tokenizers, server.engine.torch.engine\n"
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
