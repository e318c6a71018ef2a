"""The choice between drafts by the code after the cursor, on an engine without fill-in-the-middle."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acepilot.errors import ConfigError, EngineFailed
from acepilot.fim import FORMATS
from server.engine.base import Delta, EngineInfo, EngineLoad, GenerationRequest
from server.settings import ServerSettings
from server.suffix_choice import JOINT_CHARS, LEAD_NATS, ROOM_TOKENS, Gap, gap_of
from tests.event_stream import chunks_of

Serve = Callable[..., Any]

PLAIN = EngineInfo(
    model="plain", engine="scripted", context_tokens=4096, fim=None, special_tokens=frozenset({"<|end|>"})
)
LEADS, TRAILS = -10.0, -10.0 - LEAD_NATS - 1


@dataclass
class DraftingEngine:
    """Generates `greedy`, or for the n-th seed the n-th of `rivals`; a token is a character.

    The code after the cursor has the log-probability that `likely` holds for the text before it, or else -30.
    """

    greedy: str = "greedy"
    rivals: tuple[str, ...] = ("rival", "other", "third")
    likely: dict[str, float] = field(default_factory=dict)
    step_s: float = 0.0
    score_s: float = 0.0
    score_fails: bool = False
    info: EngineInfo = PLAIN
    asked: list[GenerationRequest] = field(default_factory=list)
    scored: list[tuple[str, str]] = field(default_factory=list)
    open_streams: int = 0
    most_open: int = 0
    steps: int = 0

    def count_tokens(self, text: str) -> int:
        return len(text)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        self.asked.append(request)
        lowest = min((other.seed for other in self.asked if other.temperature), default=0)
        text = self.rivals[(request.seed - lowest) % len(self.rivals)] if request.temperature else self.greedy
        with self._open():
            for number, char in enumerate(text, start=1):
                await asyncio.sleep(self.step_s)
                self.steps += 1
                if number == request.max_tokens:
                    yield Delta(char, 1, "length")
                    return
                yield Delta(char, 1, "stop" if number == len(text) else None)
            if not text:
                yield Delta("", 1, "stop")

    async def score(self, prompt: str, continuation: str, *, cache_salt: str = "") -> list[float]:
        self.scored.append((prompt, continuation))
        with self._open():
            await asyncio.sleep(self.score_s)
            if self.score_fails:
                raise EngineFailed("The script says that scoring fails here.")
            nats = next((nats for text, nats in self.likely.items() if prompt.endswith(text)), -30.0)
            return [nats / len(continuation)] * len(continuation)

    @contextlib.contextmanager
    def _open(self):
        self.open_streams += 1
        self.most_open = max(self.most_open, self.open_streams)
        try:
            yield
        finally:
            self.open_streams -= 1

    def load(self) -> EngineLoad:
        return EngineLoad(self.open_streams, 0.0)

    def close(self) -> None:
        pass


BODY = {"prompt": "x = ", "suffix": "\nprint(x)\n"}


@pytest.fixture
def engine() -> DraftingEngine:
    return DraftingEngine()


@pytest.fixture
def asking(serve: Serve, engine: DraftingEngine) -> Callable[..., Any]:
    """Return a function that starts a server with `count` drafts and forgets its warm-up request."""

    def start(count: int = 4, **settings: object) -> Any:
        server = serve(engine, suffix_candidates=count, **settings)
        engine.asked.clear()
        return server

    return start


def text_of(answer: dict[str, Any]) -> str:
    return answer["choices"][0]["text"]


def test_the_rival_that_the_suffix_follows_best_is_chosen(asking, engine: DraftingEngine) -> None:
    engine.likely = {"other\n": LEADS, "third\n": LEADS - 1, "greedy\n": TRAILS}
    server = asking()
    answer = server.complete(**BODY).json()
    assert text_of(answer) == "other"
    assert answer["usage"]["completion_tokens"] == len("greedy" + "rival" + "other" + "third")
    trail = server.get(f"/v1/explain/{answer['id']}").json()
    choice = trail["suffix_choice"]
    assert (choice["drafts"], choice["texts"], choice["chosen"]) == (4, 4, 2)
    assert choice["chosen_nats"] == pytest.approx(LEADS + 30, abs=0.01)
    assert choice["greedy_nats"] == pytest.approx(TRAILS + 30, abs=0.01)
    assert "draft 3 of 4" in trail["reason"]
    assert server.metric("acepilot_scored_tokens_total") == choice["scored_tokens"] == 5 * len("print(x)")


def test_a_rival_needs_a_lead(asking, engine: DraftingEngine) -> None:
    engine.likely = {"other\n": LEADS, "greedy\n": LEADS - LEAD_NATS + 0.5}
    assert text_of(asking().complete(**BODY).json()) == "greedy"


def test_a_draft_may_stop_at_the_end_of_a_line(asking, engine: DraftingEngine) -> None:
    engine.greedy = "1\ny = 2\nprint(y)"
    engine.likely = {"x = 1\n": LEADS}
    server = asking()
    answer = server.complete(**BODY).json()
    assert answer["choices"][0] == {"index": 0, "text": "1", "finish_reason": "stop", "logprobs": None}
    trail = server.get(f"/v1/explain/{answer['id']}").json()
    assert trail["suffix_choice"]["chosen"] == 0
    assert "up to the end of a line" in trail["reason"]


@pytest.mark.parametrize("mode", ["raw", "line"])
def test_an_editor_is_offered_nothing_when_that_is_better(asking, engine, mode: str) -> None:
    engine.likely = {"x = \n": LEADS, "greedy\n": TRAILS}
    server = asking()
    answer = server.complete(**BODY, mode=mode, language="python").json()
    assert text_of(answer) == ("" if mode == "line" else "greedy")
    trail = server.get(f"/v1/explain/{answer['id']}").json()
    assert (trail["suffix_choice"]["chosen"] is None) == (mode == "line")
    assert trail["reason"].startswith("Nothing: " if mode == "line" else "Offered")


def test_early_stops_and_filters_judge_every_draft(asking, engine: DraftingEngine) -> None:
    engine.greedy = "a + b\nprint(add(1, 2))"
    engine.rivals = ("b + a\nprint(add(2, 1))", "   ", ")")
    engine.likely = {"b + a\n\n": LEADS, "a + b\n\n": TRAILS}
    server = asking()
    body = {"prompt": "def add(a, b):\n    return ", "suffix": "\n\nadd(1, 2)\n", "language": "python"}
    answer = server.complete(**body).json()
    assert text_of(answer) == "b + a"
    assert answer["usage"]["completion_tokens"] < len(engine.greedy) * 2
    again = server.complete(**body).json()
    assert text_of(again) == "b + a"
    assert server.get(f"/v1/explain/{again['id']}").json()["cache"] == "response"


def test_the_same_request_has_the_same_seeds(asking, engine: DraftingEngine) -> None:
    server = asking()
    seeds = []
    for suffix in ("\nprint(x)\n", "\nprint(x)\n", "\nreturn x\n"):
        engine.asked.clear()
        server.complete(prompt="x = ", suffix=suffix, mode="raw")
        assert sorted(request.temperature > 0 for request in engine.asked) == [False, True, True, True]
        seeds.append(sorted(request.seed for request in engine.asked if request.temperature))
    assert len(set(seeds[0])) == 3
    assert seeds[0] == seeds[1] != seeds[2]


@pytest.mark.parametrize(
    ("body", "sequences"),
    [
        ({"suffix": " \n"}, 1),
        ({"suffix": None}, 1),
        ({"n": 2, "temperature": 0.5}, 2),
        ({"temperature": 0.5}, 1),
        ({"max_tokens": 1800}, 1),
        ({}, 4),
    ],
)
def test_drafts_are_for_one_greedy_completion_with_code_below(
    asking, engine, body: dict[str, object], sequences: int
) -> None:
    asking().complete(**{**BODY, **body})
    assert len(engine.asked) == sequences
    assert bool(engine.scored) == (sequences == 4)


def test_drafts_are_off_by_default_and_with_fim(asking, engine: DraftingEngine) -> None:
    assert ServerSettings().suffix_candidates == 0
    asking(0).complete(**BODY)
    engine.info = replace(PLAIN, fim=FORMATS[0])
    asking().complete(**BODY)
    assert len(engine.asked) == 1
    assert not engine.scored


def test_a_stream_gets_the_text_in_one_piece(asking, engine: DraftingEngine) -> None:
    engine.likely = {"other\n": LEADS}
    response = asking().complete(**BODY, stream=True, stream_options={"include_usage": True})
    events = chunks_of(response)
    assert [event["choices"][0]["text"] for event in events if event["choices"]] == ["other", ""]
    assert events[-2]["acepilot"]["text"] == "other"
    assert events[-1]["usage"]["completion_tokens"] == len("greedy" + "rival" + "other" + "third")


@pytest.mark.parametrize("phase", ["drafting", "scoring"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_frees_everything(asking, engine, phase: str, stream: bool) -> None:
    engine.greedy, engine.rivals = "g" * 500, ("r" * 500, "o" * 500, "t" * 500)
    engine.step_s, engine.score_s = (0.05, 0) if phase == "drafting" else (0, 30)
    server = asking()
    payload = json.dumps({**BODY, "max_tokens": 400, "stream": stream}).encode()
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(payload), payload)
        )
        in_phase = (lambda: engine.steps > 4) if phase == "drafting" else (lambda: engine.scored)
        assert server.wait_for(lambda: engine.open_streams == 4 and in_phase())
    assert server.wait_for(lambda: engine.open_streams == 0)
    assert server.wait_for(lambda: server.metric("acepilot_wasted_tokens_total") > 0)
    assert server.metric("acepilot_active_requests") == server.metric("acepilot_waiting_requests") == 0


def test_scoring_that_fails_is_500_and_leaves_nothing_open(asking, engine: DraftingEngine) -> None:
    engine.score_fails = True
    server = asking()
    response = server.complete(**BODY)
    assert (response.status_code, response.json()["error"]["code"]) == (500, "engine_failed")
    assert engine.open_streams == 0
    engine.score_fails = False
    assert server.complete(**BODY).status_code == 200


def test_drafts_take_places_like_any_sequence(asking, engine: DraftingEngine) -> None:
    server = asking(4, max_streams=4, max_waiting=0)
    assert server.complete(**BODY).status_code == 200
    assert engine.most_open == 4
    with pytest.raises(ConfigError, match="max_streams"):
        ServerSettings.load({"suffix_candidates": 4, "max_streams": 3})


TEXT = st.text(alphabet=st.sampled_from("ab \n漢"), max_size=2000)


@given(prompt=TEXT, suffix=TEXT.filter(str.strip))
def test_a_gap_is_the_code_around_the_cursor(prompt: str, suffix: str) -> None:
    gap = gap_of(prompt, suffix, len)
    assert prompt.endswith(gap.before)
    assert bool(gap.before) == bool(prompt)
    assert gap.joint + gap.after in suffix
    assert gap.after.strip()
    assert not gap.joint.strip()
    assert gap.joint.endswith("\n") or not gap.joint
    dense = gap_of(prompt, suffix, lambda text: 3 * len(text))
    assert 3 * len(dense.before + dense.joint + dense.after) <= ROOM_TOKENS + 2 * JOINT_CHARS


def test_blank_lines_below_the_cursor_are_the_joint() -> None:
    assert gap_of("x", ")\n  y\n\n z\nw\nv", len) == Gap("x", "", ")\n  y\n\n z")
    assert gap_of("x", "  \n\n  y\n\n z\nw\nv", len) == Gap("x", "  \n\n", "  y\n\n z\nw")
