"""Replays with pauses made by hand."""

import dataclasses

from bench.typing.editor import PATIENCE_S, Pause
from bench.typing.replay import Replay

IN_TIME = Pause("a:1", gap_s=1.0, waited_s=0.2, answered=True, shown=True, taken_chars=8)
LATE = Pause("a:2", gap_s=1.0, waited_s=3.0, answered=True, shown=True, taken_chars=0)
NOTHING = Pause("a:3", gap_s=1.0, waited_s=0.1, answered=True, shown=False, taken_chars=0)
NO_ANSWER = Pause("a:4", gap_s=1.0, waited_s=PATIENCE_S, answered=False, shown=False, taken_chars=0)
ALL_PAUSES = [IN_TIME, LATE, NOTHING, NO_ANSWER]


def replay_of(pauses: list[Pause], name: str = "acepilot openvino", **changes: object) -> Replay:
    replay = Replay(
        name=name, quantisation="Q8_0", version="1", developers=1, keystrokes=200, asked=210, taken=1,
        kept_chars=8, computed_tokens=4000, cpu_s=10.0, wall_s=60.0, inside={}, pauses=pauses,
    )  # fmt: skip
    return dataclasses.replace(replay, **changes)  # type: ignore[arg-type]
