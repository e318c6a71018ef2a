"""The sandbox, the toolchains and the judge of one run, opened and closed together."""

import asyncio
from collections.abc import Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Self

from acepilot.corpus import canonical_hash
from acepilot.settings import home
from eval_humaneval.execution.detect import detect_sandbox
from eval_humaneval.execution.judge import Judge, Judgement, JudgementCache, Spent
from eval_humaneval.execution.sandbox import Sandbox
from eval_humaneval.execution.toolchains import FoundToolchains, find_toolchains
from eval_humaneval.languages import ADAPTERS
from eval_humaneval.problems.problem import Program


class JudgePool:
    """A context that judges programs in parallel. Judgements are cached in ACEPILOT_HOME/eval, one file for
    each set of tool versions. Entering raises SandboxUnavailable if this machine cannot contain programs."""

    def __init__(self, *, unsafe: bool) -> None:
        self._unsafe = unsafe
        self._opened = ExitStack()
        self._found: FoundToolchains
        self._judge: Judge
        self._threads: ThreadPoolExecutor
        self.sandbox: str
        self.spent: Spent

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            sandbox = opened.enter_context(Sandbox(detect_sandbox(unsafe=self._unsafe)))
            self._found = find_toolchains(ADAPTERS, sandbox)
            tools = canonical_hash(dict(self._found.versions))[:12]
            cache = JudgementCache(home() / "eval" / f"judgements-{tools}.jsonl")
            self._judge = Judge(sandbox, opened.enter_context(cache))
            self._threads = opened.enter_context(ThreadPoolExecutor(sandbox.workers))
            self.sandbox, self.spent = sandbox.level.name, self._judge.spent
            self._opened = opened.pop_all()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:  # drop the programs that wait: their judgements are not needed any more
            self._threads.shutdown(wait=False, cancel_futures=True)
        self._opened.close()

    def missing(self, languages: Iterable[str]) -> dict[str, str]:
        """Return those of `languages` that cannot be run here, each with the reason and the remedy."""
        return {name: self._found.missing[name] for name in languages if name in self._found.missing}

    def versions(self, languages: Iterable[str]) -> dict[str, str]:
        """Return the version line of every tool that `languages` use."""
        tools = {tool.name for name in languages if name in ADAPTERS for tool in ADAPTERS[name].tools}
        return {name: line for name, line in self._found.versions.items() if name in tools}

    async def judge(self, program: Program) -> Judgement:
        """Judge `program` as soon as one of the sandbox's workers is free."""
        loop = asyncio.get_running_loop()
        toolchain = self._found.ready[program.language]
        return await loop.run_in_executor(self._threads, self._judge.judge, program, toolchain)


async def run_all(jobs: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run `jobs` concurrently. The first failure cancels the others and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for job in jobs:
                group.create_task(job)
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
