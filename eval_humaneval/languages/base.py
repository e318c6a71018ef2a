"""What the harness knows of a language: how to run a program, and how to write a built-in problem in it.

One file a language beside this one; `languages/__init__.py` lists them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from eval_humaneval.problems.builtin import Rendered, Spec


@dataclass(frozen=True)
class Limits:
    """For one program, compiling included. `cpu_s` is CPU time; `address_space_mb` 0 sets no such limit."""

    cpu_s: int = 10
    address_space_mb: int = 512
    processes: int = 32
    output_bytes: int = 64 * 1024
    file_mb: int = 64


@dataclass(frozen=True)
class Tool:
    """A program that must be there. `install`: the command that installs it on Debian or Ubuntu."""

    name: str
    install: str


@dataclass(frozen=True)
class Toolchain:
    """How a program of one language is run.

    `source_name` is the file that the program is written to. `compile` (where there is such a step) and
    `run` are argument lists, run in the folder of that file; their first word is one of `tools`. `files` are
    put beside the program, by name. `verdict` is the statement that prints a word: `{0}` and `{1}` are its
    halves, so that the source never holds the whole word.
    """

    source_name: str
    run: tuple[str, ...]
    tools: tuple[Tool, ...]
    verdict: str
    compile: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    files: Mapping[str, Path] = field(default_factory=dict[str, Path])
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class LanguageAdapter:
    """One language. `label` is how people write its name; `render` writes a built-in problem in it, and is
    None for a language whose problems are not rendered from values and types (Vue)."""

    label: str
    toolchain: Toolchain
    render: Callable[[Spec], Rendered] | None
