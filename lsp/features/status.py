"""`acepilot/status`: how Acepilot is, and why the last request got what it got. Sent when it changes.

{"state": "ready" | "loading" | "busy" | "slow" | "off" | "unauthorized" | "error",
 "message": what to do about it, "reason": why the last request was answered as it was}

While it is `ready`, `message` is empty, or says that the completion server is of another version.
"""

import asyncio
from collections.abc import Callable

from lsp.client import CompletionClient, ServerError, State
from lsp.versions import difference

METHOD = "acepilot/status"
FIRST_CHECK_S = 0.5
SLOWEST_CHECK_S = 10.0
CHECKED_STATES: frozenset[State] = frozenset({"loading", "busy", "off", "unauthorized"})
"""States that the server's own word can end. The others end with the next completion that succeeds, but for
an error that `GET /ready` told itself."""


class Status:
    """Keeps the state, tells the editor, and asks the server again until it is well."""

    def __init__(
        self,
        client: CompletionClient,
        notify: Callable[[dict[str, str]], None],
        log: Callable[[str, bool], None],
    ) -> None:
        """`log` gets a sentence for the editor's log, and whether it is a problem."""
        self._client = client
        self._notify = notify
        self._log = log
        self.state: State = "loading"
        self.message = ""
        self.reason = ""
        self._sent: dict[str, str] = {}
        self._difference = ""
        """Of the two versions; "" where there is none, or none is known."""
        self._has_failed = False
        """The server said that it could not load its model."""
        self._in_trouble = asyncio.Event()
        self._retry_s = 0.0

    def report(self, trouble: ServerError | None) -> None:
        """What a request has learned of the server; None: it completes."""
        if self._has_failed and trouble is not None and trouble.state == "loading":
            return  # a request is told "not ready" of either: `_check` knows which
        self._has_failed = False
        self._set(trouble)

    def explain(self, reason: str) -> None:
        """Why the last request was answered as it was."""
        self.reason = reason
        self._send()

    async def watch(self) -> None:
        """Ask the server at the start, and again, ever more seldom, for as long as it is in trouble."""
        pause_s = FIRST_CHECK_S
        while True:
            await self._check()
            if not self._in_trouble.is_set():
                await self._in_trouble.wait()
                pause_s = FIRST_CHECK_S
            await asyncio.sleep(max(pause_s, self._retry_s))
            pause_s = min(pause_s * 1.5, SLOWEST_CHECK_S)

    async def _check(self) -> None:
        if self.state not in CHECKED_STATES and not self._has_failed:
            return
        try:
            ready = await self._client.check()
        except ServerError as trouble:
            self.report(trouble)
            return
        self._has_failed = ready.status == "failed"
        if ready.status == "ready":
            self._set(None)
            await self._compare_versions()
        elif ready.status == "loading":
            self._set(ServerError("loading", f"The model {ready.model} is loading. {ready.detail}".strip()))
        else:
            self._set(ServerError("error", f"The model {ready.model} could not be loaded: {ready.detail}"))

    async def _compare_versions(self) -> None:
        try:
            found = difference(await self._client.version())
        except ServerError:
            return  # it may be an older one, or another kind; its completions will show
        if found and found != self._difference:
            self._log(found, True)
        self._difference = found
        if self.state == "ready":
            self._set(None)

    def _set(self, trouble: ServerError | None) -> None:
        state: State = "ready" if trouble is None else trouble.state
        message = self._difference if trouble is None else trouble.message
        if (state, message) != (self.state, self.message):
            if trouble is not None:
                self._log(message, True)
            elif self.message and self.state != "ready":
                self._log("Acepilot completes again.", False)
            self.state, self.message = state, message
        if trouble is None:
            self._in_trouble.clear()
        elif state in CHECKED_STATES or self._has_failed:
            self._retry_s = trouble.retry_after_s or 0.0
            self._in_trouble.set()
        self._send()

    def _send(self) -> None:
        now = {"state": self.state, "message": self.message, "reason": self.reason}
        if now != self._sent:
            self._sent = now
            self._notify(now)
