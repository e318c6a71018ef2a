"""How much of a file an editor's request shows the model: a step of plan.py.

On a CPU most of the wait is for the prompt, and a prompt that is not in the KV cache costs every user
seconds. So while other requests are served, a file that is new to the engine gets a shorter window. Once a
window has been shown, it stays as long as the cache can continue from it.
"""

from collections import deque
from collections.abc import Callable
from threading import Lock

from acepilot.prompt import ComposedPrompt

SHORT_SHARE = 3
"""Under load, a new file gets 1/SHORT_SHARE of the token budget."""

BUSY_SEQUENCES = 2
"""The server counts as loaded from this many running sequences; one may be the caller's previous request,
being cancelled."""

REMEMBERED = 24
"""Prompts remembered, one for each window: about as many as an engine keeps rows for."""


class Windows:
    """Remembers the prompts that the engine read last, to guess what its KV cache holds."""

    def __init__(self) -> None:
        self._shown: deque[tuple[str, str]] = deque(maxlen=REMEMBERED)
        self._lock = Lock()  # requests are planned in threads

    def choose(
        self, within: Callable[[int], ComposedPrompt], budget_tokens: int, in_hand: int, cache_salt: str
    ) -> ComposedPrompt:
        """Choose a prompt, composed `within` a budget, while `in_hand` other sequences wait or run.

        Only prompts with the same `cache_salt` share the KV cache.
        """
        chosen = within(budget_tokens)
        if not chosen.text:  # the engine gets no request
            return chosen
        known = self._shown_before(chosen.text, cache_salt)
        if known is None:
            short = within(budget_tokens // SHORT_SHARE)
            known = self._shown_before(short.text, cache_salt)
            if in_hand >= BUSY_SEQUENCES or known is not None:
                chosen = short
        with self._lock:
            if known in self._shown:
                self._shown.remove(known)
            self._shown.append((cache_salt, chosen.text))
        return chosen

    def _shown_before(self, prompt: str, cache_salt: str) -> tuple[str, str] | None:
        """Return an earlier prompt that begins with two thirds of `prompt`: typing changes only its end."""
        head = prompt[: len(prompt) * 2 // 3]
        with self._lock:
            return next(
                (known for known in self._shown if known[0] == cache_salt and known[1].startswith(head)), None
            )
