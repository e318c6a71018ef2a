"""How much of a file an editor's request shows the model: a step of plan.py.

On a CPU most of the wait is for the prompt, and one that the KV cache does not know yet costs everybody
seconds. So while others are being served, a file that is new to the engine is shown a shorter window; and a
window that was shown stays for as long as the cache can go on from it.
"""

from collections import deque
from typing import Protocol

from acepilot.prompt import ComposedPrompt

SHORT_SHARE = 3
"""Under load a new file gets 1 of so many tokens of the budget."""
OTHERS = 2
"""So many sequences in hand are load: one may be the asker's own, whose end is on its way."""
REMEMBERED = 24
"""Prompts, one a window: about as many as an engine keeps rows for."""


class Within(Protocol):
    """One request's prompt, made to fit a budget."""

    def __call__(self, *, budget_tokens: int) -> ComposedPrompt: ...


class Windows:
    """Remembers what the engine was shown last, to tell what its KV cache knows."""

    def __init__(self) -> None:
        self._shown: deque[str] = deque(maxlen=REMEMBERED)

    def choose(self, within: Within, budget_tokens: int, in_hand: int) -> ComposedPrompt:
        """`in_hand` sequences of others wait or run."""
        chosen = within(budget_tokens=budget_tokens)
        if not chosen.text:  # the engine will not be asked
            return chosen
        known = self._shown_before(chosen.text)
        if known is None:
            short = within(budget_tokens=budget_tokens // SHORT_SHARE)
            known = self._shown_before(short.text)
            if in_hand >= OTHERS or known is not None:
                chosen = short
        if known is not None:
            self._shown.remove(known)
        self._shown.append(chosen.text)
        return chosen

    def _shown_before(self, prompt: str) -> str | None:
        """What was shown and begins with two thirds of `prompt`: what changes as one types is its end."""
        head = prompt[: len(prompt) * 2 // 3]
        return next((shown for shown in self._shown if shown.startswith(head)), None)
