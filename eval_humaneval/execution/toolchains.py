"""Find the languages that can be judged here: those whose tools work for the sandbox's user."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from eval_humaneval.execution.sandbox import SYSTEM_PATH, Sandbox
from eval_humaneval.languages.base import Limits, Tool, Toolchain

# No limit on address space: a virtual machine without flags reserves a quarter of the memory.
_VERSION_LIMITS = Limits(cpu_s=20, address_space_mb=0, processes=128)


@dataclass(frozen=True)
class FoundToolchains:
    """`ready`: language -> toolchain with full paths of its tools. `missing`: language -> why it cannot be
    run, and what installs its tools. `versions`: tool -> version line."""

    ready: Mapping[str, Toolchain]
    missing: Mapping[str, str]
    versions: Mapping[str, str]


@dataclass(frozen=True)
class _FoundTool:
    """`problem` is empty for a tool that works."""

    path: str
    version: str
    problem: str


def find_toolchains(
    toolchains: Mapping[str, Toolchain], sandbox: Sandbox, path: str = SYSTEM_PATH
) -> FoundToolchains:
    """Look every tool up in the folders of `path` and start it in the sandbox. A tool that the sandbox's user
    cannot read counts as missing."""
    tools = {tool.name: tool for toolchain in toolchains.values() for tool in toolchain.tools}
    with ThreadPoolExecutor(sandbox.workers) as pool:
        searches = {name: pool.submit(_find, tool, sandbox, path) for name, tool in tools.items()}
    found = {name: search.result() for name, search in searches.items()}
    ready: dict[str, Toolchain] = {}
    missing: dict[str, str] = {}
    for language, toolchain in toolchains.items():
        problems = [found[tool.name].problem for tool in toolchain.tools]
        problems += [f"{file} is missing" for file in toolchain.files.values() if not file.is_file()]
        if any(problems):
            missing[language] = "; ".join(filter(None, problems))
        else:
            paths = {tool.name: found[tool.name].path for tool in toolchain.tools}
            ready[language] = replace(
                toolchain, run=_resolved(toolchain.run, paths), compile=_resolved(toolchain.compile, paths)
            )
    versions = {name: tool.version for name, tool in found.items() if not tool.problem}
    return FoundToolchains(ready, missing, versions)


def _find(tool: Tool, sandbox: Sandbox, search_path: str) -> _FoundTool:
    problem = f"{tool.name} is not installed: `{tool.install}`"
    for folder in search_path.split(":"):
        path = Path(folder, tool.name)
        if not path.exists():
            continue
        command = (str(path), tool.version_flag)
        ran = sandbox.run(command, _VERSION_LIMITS, {}, {}, toolchain_etc=True)
        line = (ran.stdout.strip() or ran.stderr.strip()).partition("\n")[0]
        if not ran.error and ran.exit_code == 0:
            return _FoundTool(str(path), line, "")
        problem = f"{path} does not work for the sandbox's user ({line or ran.error}): `{tool.install}`"
    return _FoundTool("", "", problem)


def _resolved(command: tuple[str, ...], paths: Mapping[str, str]) -> tuple[str, ...]:
    return (paths.get(command[0], command[0]), *command[1:]) if command else ()
