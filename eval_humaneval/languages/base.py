"""The parts of a language adapter: how to run a program, and how to write a built-in problem.

Each language has one file in this folder; `languages/__init__.py` lists them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from eval_humaneval.problems.builtin import Rendered, Spec


@dataclass(frozen=True)
class Limits:
    """Limits of one program, compiling included. `cpu_s` is CPU time; `address_space_mb` 0 sets no limit.
    `problem_sets.hash_of` hashes the repr: renaming the class or a field would make old runs incomparable."""

    cpu_s: int = 10
    address_space_mb: int = 512
    processes: int = 32
    output_bytes: int = 64 * 1024
    file_mb: int = 64


@dataclass(frozen=True)
class Tool:
    """A program that a language needs. `install` is the command that installs it on Debian or Ubuntu."""

    name: str
    install: str
    version_flag: str = "--version"


@dataclass(frozen=True)
class Toolchain:
    """How to run a program of one language. The program is written to the file `source_name`. `compile`
    (empty for no such step) and `run` are argument lists, run in the folder of that file; their first word
    may be one of `tools`. `files` maps names to files that are copied beside the program. `verdict` is a
    statement that prints a word, given in two halves `{0}` and `{1}`: the source never holds the whole word.
    """

    source_name: str
    run: tuple[str, ...]
    tools: tuple[Tool, ...]
    verdict: str
    compile: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    files: Mapping[str, Path] = field(default_factory=dict[str, Path])
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class LanguageAdapter(Toolchain):
    """One language. `label` is its name in tables. `render` writes a built-in problem in the language; it is
    None for Vue, whose problems are not rendered from types and values."""

    label: str
    render: Callable[[Spec], Rendered] | None
