"""Short row slices as one padded batch, as CUDA replays them: the same logits, and few sizes."""

from dataclasses import dataclass

import numpy as np
import pytest
import structlog
import torch
from hypothesis import given
from hypothesis import strategies as st

from server.engine.scheduler.step import RowSlice, wanted_tokens
from server.engine.torch.attention import StepAttention
from server.engine.torch.cache import KvCache
from server.engine.torch.decoder import Decoder, cache_shape, open_decoder
from server.engine.torch.graphs import Captured, StepGraphs, padded_logits
from server.engine.torch.linear import WeightFormat
from server.engine.torch.padded_batch import fill, size_for
from server.engine.torch.runner import TorchRunner
from server.engine.torch.weights import read_files
from tests.server.engine.torch.torch_models import CONFIGS, VOCABULARY, tiny_folder

ROUNDING = {"rtol": 1e-4, "atol": 1e-4}
SHORT = [RowSlice(4, 30, [1], 1), RowSlice(0, 50, [2, 3, 4], 3), RowSlice(2, 33, [5, 6, 7, 8], 2)]
"""One token; a token and its drafts, all with logits; a token and its drafts, of which two have logits."""


@dataclass(frozen=True)
class Opened:
    """A decoder, and two equal caches: `plain` steps the rows of `plain_cache`, the reference."""

    decoder: Decoder
    plain: TorchRunner
    plain_cache: KvCache
    cache: KvCache


@pytest.fixture(scope="module", params=CONFIGS)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """Five rows, each with another text, in two equal caches."""
    weight_format = WeightFormat(torch.device("cpu"), torch.float32)
    files = read_files(tiny_folder(tmp_path_factory.mktemp(request.param), request.param))
    decoder = open_decoder(files, weight_format)
    caches = [KvCache(cache_shape(files.config), 5, weight_format) for _ in range(2)]
    runners = [TorchRunner(decoder, cache, VOCABULARY) for cache in caches]
    for slot in range(5):
        text = np.random.default_rng(slot).integers(0, VOCABULARY, 60).tolist()
        for runner in runners:
            runner.step([RowSlice(slot, 0, text, 0)])
    return Opened(decoder, runners[0], *caches)


@torch.inference_mode()
def test_a_padded_batch_computes_what_its_row_slices_compute(opened: Opened) -> None:
    size = size_for(SHORT, opened.cache.slot_tokens)
    assert size is not None
    logits = padded_logits(opened.decoder, opened.cache, size, fill(SHORT, size))
    np.testing.assert_allclose(
        logits[wanted_tokens(SHORT, size.tokens)].numpy(), opened.plain.step(SHORT), **ROUNDING
    )
    same_rows(opened)


@torch.inference_mode()
def test_short_row_slices_are_computed_together_beside_a_prompt(opened: Opened) -> None:
    """They need not lie side by side in the step."""
    prompt = RowSlice(1, 20, list(range(40)), 1)
    row_slices = [SHORT[0], prompt, *SHORT[1:]]
    ids = torch.tensor([token for row_slice in row_slices for token in row_slice.token_ids])
    places = [at for row_slice in row_slices for at in row_slice.positions]
    apart, together = (
        opened.decoder.hidden(
            ids, torch.tensor(places), StepAttention(cache, row_slices, short_together=short_together)
        )
        for cache, short_together in ((opened.plain_cache, False), (opened.cache, True))
    )
    np.testing.assert_allclose(together.numpy(), apart.numpy(), **ROUNDING)
    same_rows(opened)


def same_rows(opened: Opened) -> None:
    """Check that both caches hold the same."""
    for name in ("keys", "values"):
        for found, expected in zip(
            getattr(opened.cache, name), getattr(opened.plain_cache, name), strict=True
        ):
            np.testing.assert_allclose(found.numpy(), expected.numpy(), **ROUNDING)


@st.composite
def steps(draw: st.DrawFn) -> list[RowSlice]:
    count = draw(st.integers(1, 64))
    lengths = draw(st.lists(st.integers(1, 20), min_size=count, max_size=count))
    return [
        RowSlice(slot, draw(st.integers(0, 1500)), [7] * length, draw(st.integers(0, length)))
        for slot, length in enumerate(lengths)
    ]


@given(steps())
def test_sizes_hold_their_row_slices_and_are_few(row_slices: list[RowSlice]) -> None:
    slot_tokens = 2000
    size = size_for(row_slices, slot_tokens)
    longest = max(len(row_slice.token_ids) for row_slice in row_slices)
    if size is None:
        assert longest > 16 or 2 * len(row_slices) * max(4 * longest, 4) > 256
        return
    assert size.batch in {1, 2, 4, 8, 16, 32, 64, 128, 256}
    assert size.tokens in {1, 4, 16}
    assert size.length in {256, 512, 1024, 2000}
    ids, positions, slots = fill(row_slices, size).tolist()
    assert len(ids) == size.batch >= len(row_slices)
    for row, row_slice in enumerate(row_slices):
        length = len(row_slice.token_ids)
        assert ids[row][:length] == row_slice.token_ids
        assert positions[row][:length] == list(row_slice.positions)
        assert set(slots[row]) == {row_slice.slot}
        assert max(positions[row]) == row_slice.end - 1 < size.length
    written = {(slots[i][j], positions[i][j]) for i in range(size.batch) for j in range(size.tokens)}
    assert len(written) == sum(len(row_slice.token_ids) for row_slice in row_slices), (
        "padding writes where nothing is"
    )
    flat = [token for row in range(size.batch) for token in range(row * size.tokens, (row + 1) * size.tokens)]
    wanted = [flat[at] for at in wanted_tokens(row_slices, size.tokens)]
    assert len(wanted) == sum(row_slice.logits for row_slice in row_slices)


def test_a_failed_capture_is_logged_once_and_ends_replaying(opened: Opened) -> None:
    captures: list[int] = []

    def fail(*_: object) -> Captured:
        captures.append(1)
        raise RuntimeError("operation not permitted when stream is capturing")

    graphs = StepGraphs(opened.decoder, opened.plain_cache, capture=fail)
    runner = TorchRunner(opened.decoder, opened.plain_cache, VOCABULARY, graphs)
    with structlog.testing.capture_logs() as logs:
        first, second = runner.step(SHORT), runner.step(SHORT)
    np.testing.assert_allclose(second, first)
    assert [entry["event"] for entry in logs] == ["cuda_graphs_failed"]
    assert len(captures) == 1
