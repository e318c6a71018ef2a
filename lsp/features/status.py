"""`acepilot/status`: whether Acepilot can complete, and the reason for the last answer. Sent on each change.

{"state": "ready" | "loading" | "busy" | "slow" | "off" | "unauthorized" | "error",
 "message": what to do about the state, "reason": why the last request was answered as it was}

In the state `ready`, `message` is empty, or says that the completion server has another version.
"""

import asyncio
from collections.abc import Callable

from lsp.answers import ServerError, State, version_advice
from lsp.client import CompletionClient

METHOD = "acepilot/status"
FIRST_CHECK_S = 0.5  # the pause between checks grows by half each time, up to SLOWEST_CHECK_S
SLOWEST_CHECK_S = 10.0
CHECKED_STATES: frozenset[State] = frozenset({"loading", "busy", "off", "unauthorized"})
"""States that a health check can end. The others end with the next completion that succeeds; so does `error`,
unless `GET /ready` itself reported it."""


class Status:
    """Keeps the state, sends it to the editor, and checks the server until it can complete again."""

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
        self._difference = ""  # a sentence, if the server is known to have another version
        self._has_failed = False
        """The server reported that it could not load its model."""
        self._must_check = asyncio.Event()
        self._retry_s = 0.0

    def report(self, error: ServerError | None) -> None:
        """Record the result of a request: an error, or None for a success."""
        if self._has_failed and error is not None and error.state == "loading":
            return  # requests get the same answer whether the model is loading or has failed
        self._has_failed = False
        self._set(error)

    def explain(self, reason: str) -> None:
        self.reason = reason
        self._send()

    async def watch(self) -> None:
        """Check the server at the start, and then at growing pauses for as long as it cannot complete."""
        pause_s = FIRST_CHECK_S
        while True:
            await self._check()
            if not self._must_check.is_set():
                await self._must_check.wait()
                pause_s = FIRST_CHECK_S
            await asyncio.sleep(max(pause_s, self._retry_s))
            pause_s = min(pause_s * 1.5, SLOWEST_CHECK_S)

    async def _check(self) -> None:
        if self.state not in CHECKED_STATES and not self._has_failed:
            return
        try:
            ready = await self._client.check()
        except ServerError as error:
            self.report(error)
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
            found = version_advice(await self._client.version())
        except ServerError:
            return  # an older server, or another kind of server: its completions will show
        if found and found != self._difference:
            self._log(found, True)
        self._difference = found
        if self.state == "ready":
            self._set(None)

    def _set(self, error: ServerError | None) -> None:
        state: State = "ready" if error is None else error.state
        message = self._difference if error is None else error.message
        if (state, message) != (self.state, self.message):
            if error is not None:
                self._log(message, True)
            elif self.message and self.state != "ready":
                self._log("Acepilot completes again.", False)
            self.state, self.message = state, message
        if error is None:
            self._must_check.clear()
        elif state in CHECKED_STATES or self._has_failed:
            self._retry_s = error.retry_after_s or 0.0
            self._must_check.set()
        self._send()

    def _send(self) -> None:
        now = {"state": self.state, "message": self.message, "reason": self.reason}
        if now != self._sent:
            self._sent = now
            self._notify(now)
