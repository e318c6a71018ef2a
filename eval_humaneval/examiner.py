"""Sandbox, tools and judge of one run, opened together: run and selftest -> this -> execution."""

import asyncio
from collections.abc import Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from acepilot.corpus import canonical_hash
from acepilot.settings import home
from eval_humaneval.execution.cache import JudgementCache
from eval_humaneval.execution.judge import Judge, Judgement, Spent
from eval_humaneval.execution.probe import probe
from eval_humaneval.execution.sandbox import Sandbox
from eval_humaneval.execution.toolchains import FoundToolchains, find_toolchains
from eval_humaneval.languages import ADAPTERS
from eval_humaneval.problems.problem import Program


class Examiner:
    """To be used as a context. What was judged before is found again in ACEPILOT_HOME/eval, as long as the
    tools are the same. Raises SandboxUnavailable when programs cannot be contained here."""

    def __init__(self, *, unsafe: bool) -> None:
        self._unsafe = unsafe
        self._opened = ExitStack()
        self._found: FoundToolchains
        self._judge: Judge
        self._pool: ThreadPoolExecutor
        self.sandbox: str

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            sandbox = opened.enter_context(Sandbox(probe(unsafe=self._unsafe)))
            toolchains = {name: adapter.toolchain for name, adapter in ADAPTERS.items()}
            self._found = find_toolchains(toolchains, sandbox)
            tools = canonical_hash(dict(self._found.versions))[:12]
            known = JudgementCache(home() / "eval" / f"judgements-{tools}.jsonl")
            opened.callback(known.close)
            self._judge = Judge(sandbox, known)
            self._pool = opened.enter_context(ThreadPoolExecutor(sandbox.workers))
            self.sandbox = sandbox.level.name
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:  # nobody waits any more for what was not yet started
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._opened.close()

    @property
    def spent(self) -> Spent:
        return self._judge.spent

    def missing(self, languages: Iterable[str]) -> dict[str, str]:
        """Of `languages`, those that cannot be run here, and what would mend that."""
        return {name: self._found.missing[name] for name in languages if name in self._found.missing}

    def versions(self, languages: Iterable[str]) -> dict[str, str]:
        """The version line of every tool that `languages` use."""
        tools = {
            tool.name for name in languages if name in ADAPTERS for tool in ADAPTERS[name].toolchain.tools
        }
        return {name: line for name, line in self._found.versions.items() if name in tools}

    async def examine(self, program: Program) -> Judgement:
        """As many at once as there are cores; the others wait."""
        loop = asyncio.get_running_loop()
        toolchain = self._found.ready[program.language]
        return await loop.run_in_executor(self._pool, self._judge.judge, program, toolchain)


async def all_of(jobs: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Runs `jobs` at once. The first that fails cancels the others, and its error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for job in jobs:
                group.create_task(job)
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
