"""The story, top to bottom: every step with its programs, inputs and outputs.

Begin with `steps_of`. commands.py has the command lines; `python -m story --dry-run` prints them. Every
program runs with ACEPILOT_HOME=STORY/home.

    STORY/scraped/      repositories, as fetched       STORY/runs/    training, a folder an attempt
    STORY/corpora/      what is tuned on               STORY/tables/  evaluations: base, eager, careful
    STORY/own-words.jsonl, drift-words.jsonl           STORY/dev/     the same on the development split
    STORY/problems.jsonl, STORY/harness/
    STORY/gates/, attempts/, seen/                     STORY/report.json, report.html
"""

from dataclasses import replace
from pathlib import Path

from story import base, choice, harness, promotion, report, seen
from story.commands import SOURCES, Commands, recipe_file
from story.pipeline import Call, Step
from story.sizes import DRIFT_TEXTS, TINY, Size

EAGER, CAREFUL = "story-eager", "story-careful"
"""The names of the two tuned models in the story's registry."""


def steps_of(size: Size, folder: Path, user_home: Path) -> list[Step]:
    """Return all steps in the order in which they run. This reads and writes nothing."""
    steps = [
        *_begin(size, folder, user_home),
        _table(size, folder, "base"),
        *_fail(size, folder),
        *_sweep(size, folder),
        _choose(size, folder),
        _table(size, folder, "careful"),
        _gate(size, folder, "careful"),
        *_look(size, folder),
    ]
    steps.append(_report(size, folder, steps))
    return [replace(step, guess_s=size.guesses_s.get(step.name, step.guess_s)) for step in steps]


def _begin(size: Size, folder: Path, user_home: Path) -> list[Step]:
    """1. Get the base model, and the code to tune and to judge on."""
    do, scraped, corpora = Commands(size, folder), folder / "scraped", folder / "corpora"
    own_words, problems = folder / "own-words.jsonl", folder / "problems.jsonl"
    fetched = (do.fetch(), do.add(user_home / "models" / size.base, size.base))
    own = (Call(base.write_own_repositories, {"target": folder / "own"}),) if size.base == TINY.base else ()
    mixed = {do.corpus_of(recipe): recipe.replay_share for recipe in size.recipes}
    return [
        Step(
            "base/model",
            "Put the base model into the story's registry; plan the memory for tuning all its weights",
            (
                *(fetched if base.is_starter(size) else (Call(base.bring, {"model": size.base}),)),
                do.plan_memory(),
            ),
            inputs=(recipe_file(size.eager_config),),
            outputs=(do.base_folder / "config.json",),
        ),
        Step(
            "sources",
            "Fetch packages under permissive licences, some to tune on and some to judge on only",
            (*own, *(one for name in SOURCES for one in do.scrape(name))),
            outputs=tuple(scraped / name / "sources.jsonl" for name in SOURCES),
            makes=(scraped,),
        ),
        Step(
            "own-words",
            "Sample files in other languages from the base model: to replay, and to measure drift",
            (
                do.sample(own_words, size.own_words_count, seed=1),
                do.sample(do.drift_words, DRIFT_TEXTS, seed=10_001),
            ),
            inputs=(do.base_folder / "config.json",),
            outputs=(own_words, do.drift_words),
            makes=(own_words, do.drift_words),
            served=do.base,
        ),
        Step(
            "corpora",
            "Build the corpora: Vue alone, others, Vue with replay; without documents that overlap a problem",
            (
                do.write_problems(problems),
                do.build_vue(corpora / "vue"),
                do.build_others(corpora / "others"),
                *(do.build_mixed(corpus, share) for corpus, share in mixed.items()),
            ),
            inputs=(
                *(scraped / name / "sources.jsonl" for name in ("vue", "others")),
                *(own_words, do.base_folder / "tokenizer.json", harness.problems_file(folder)),
            ),
            outputs=tuple(
                corpus / "manifest.json" for corpus in (corpora / "vue", corpora / "others", *mixed)
            ),
            makes=(corpora, problems),
            goes_on=False,
        ),
    ]


def _fail(size: Size, folder: Path) -> list[Step]:
    """2. Repeat the team's failed attempt: tune all weights, on Vue alone, at a high rate."""
    do, run, corpus = Commands(size, folder), folder / "runs" / "eager", folder / "corpora" / "vue"
    registered = folder / "home" / "models" / EAGER
    train = Step(
        "eager/train",
        "Tune all weights on Vue alone, at a high rate",
        (do.train(size.eager_config, corpus, run, EAGER), do.add(do.exported(run), EAGER)),
        inputs=(recipe_file(size.eager_config), corpus / "manifest.json"),
        outputs=(registered / "manifest.json", run / "losses.jsonl"),
        makes=(run, registered),
        spare=(run / "checkpoints",),
    )
    drift = Step(
        "eager/drift",
        "Measure its drift from the base where it was not tuned",
        (do.drift(EAGER, "eager"),),
        inputs=(registered / "manifest.json", do.drift_words),
        outputs=(_drift(folder, "eager"),),
        makes=(folder / "dev" / "eager",),
    )
    return [train, _table(size, folder, "eager"), _gate(size, folder, "eager"), drift]


def _sweep(size: Size, folder: Path) -> list[Step]:
    """3. Tune candidates with replay, and judge them on the development split, never on the problems."""
    do, runs = Commands(size, folder), folder / "runs"
    steps: list[Step] = []
    for recipe in size.recipes:
        run, corpus = runs / recipe.name, do.corpus_of(recipe)
        for share in size.shares:
            cell = cell_name(recipe.name, share)
            made = run if share == 1 else runs / cell
            if share == 1:
                title = (
                    f"Tune adapters, {recipe.replay_share:.0%} of it replay: {', '.join(recipe.overrides)}"
                )
                first = do.train(size.careful_config, corpus, run, CAREFUL, *recipe.overrides)
                before = (recipe_file(size.careful_config), corpus / "manifest.json")
            else:
                title = f"The same, {share:.0%} of the way from the base"
                first = do.export(run, share, made)
                before = (do.exported(run) / "manifest.json",)
            step = Step(
                f"careful/{cell}",
                title,
                (first, *do.judge_on_dev(do.exported(made), cell), do.drift(do.exported(made), cell)),
                inputs=(*before, *_dev_corpora(folder), do.drift_words),
                outputs=(
                    do.exported(made) / "manifest.json",
                    *_dev_results(folder, cell),
                    _drift(folder, cell),
                ),
                makes=(made, folder / "dev" / cell),
                spare=(made / "checkpoints",),
                guess_s=size.guesses_s["careful/train" if share == 1 else "careful/share"],
            )
            steps.append(step)
    return steps


def _choose(size: Size, folder: Path) -> Step:
    do, dev = Commands(size, folder), folder / "dev"
    models = {
        cell_name(recipe.name, share): do.exported(
            folder / "runs" / (recipe.name if share == 1 else cell_name(recipe.name, share))
        )
        for recipe in size.recipes
        for share in size.shares
    }
    chosen, registered = folder / "choice.json", folder / "home" / "models" / CAREFUL
    arguments = {"base": dev / "base", "dev": dev, "models": models, "name": CAREFUL, "target": chosen}
    return Step(
        "careful/choice",
        "Choose the candidate that gains most in unseen Vue, among those with little drift",
        (Call(choice.choose, arguments),),
        inputs=(
            *(path for cell in ("base", *models) for path in _dev_results(folder, cell)),
            *(_drift(folder, cell) for cell in ("eager", *models)),
        ),
        outputs=(chosen, registered / "manifest.json"),
        makes=(chosen, registered),
    )


def _table(size: Size, folder: Path, side: str) -> Step:
    """Judge one model for the three tables; the base also fills the development split's holes."""
    do, tables, is_base = Commands(size, folder), folder / "tables" / side, side == "base"
    model = do.base if is_base else f"story-{side}"
    made_of = do.base_folder / "config.json" if is_base else folder / "home/models" / model / "manifest.json"
    scraped = folder / "scraped"
    sources = [scraped / name / "sources.jsonl" for name in ("unseen-vue", "unseen-others")]
    judged_with = [harness.tools_file(folder), harness.problems_file(folder)]
    results = [tables / name / "results.json" for name in report.TABLES]
    return Step(
        f"{side}/table",
        "Judge it on problems in all languages, holes in unseen Vue repositories and in other unseen code",
        (*do.judge(model, side), *(do.judge_on_dev(model, side) if is_base else ())),
        inputs=(made_of, *sources, *judged_with, *(_dev_corpora(folder) if is_base else ())),
        outputs=(*results, *(_dev_results(folder, side) if is_base else ())),
        makes=(tables, *((folder / "dev" / side,) if is_base else ())),
    )


def _gate(size: Size, folder: Path, side: str) -> Step:
    """Compare one model with the base, and try to promote it."""
    gate, attempt, tables = folder / "gates" / side, folder / "attempts" / f"{side}.json", folder / "tables"
    arguments = {
        "name": f"story-{side}",
        "gate": gate,
        "keep": side == "careful",
        "target": attempt,
        "policy": size.promotion,
    }
    return Step(
        f"{side}/gate",
        "Compare it with the base, and try to promote it",
        (Commands(size, folder).compare(side), Call(promotion.attempt, arguments)),
        inputs=(
            *(tables / name / "problems" / "results.json" for name in ("base", side)),
            # Each attempt begins a new history: if the first runs again, the second must too.
            *((folder / "attempts" / "eager.json",) if side == "careful" else ()),
        ),
        outputs=(gate / "gate.json", attempt),
        makes=(gate, attempt),
        guess_s=size.guesses_s["gate"],
    )


def _look(size: Size, folder: Path) -> list[Step]:
    """4. Complete Vue files with the base and with the model that is current at the end."""
    unseen, seen_in = folder / "scraped" / "unseen-vue", folder / "seen"
    models = {"base": Commands(size, folder).base, "careful": CAREFUL}
    attempts = {"base": None, "careful": folder / "attempts" / "careful.json"}
    return [
        Step(
            f"seen/{side}",
            f"Complete Vue files through the language server, served by {model}",
            (
                Call(
                    seen.complete,
                    {"model": model, "attempt": attempts[side], "holes": unseen / "repos",
                     "target": seen_in / f"{side}.json"},
                ),
            ),
            inputs=(unseen / "sources.jsonl", attempts[side] or folder / "tables/base/vue/results.json"),
            outputs=(seen_in / f"{side}.json",),
            guess_s=size.guesses_s["seen"],
        )
        for side, model in models.items()
    ]  # fmt: skip


def _report(size: Size, folder: Path, steps: list[Step]) -> Step:
    return Step(
        "report",
        "Write report.json and report.html",
        (Call(report.write, {"folder": folder, "size": size, "steps": [step.name for step in steps]}),),
        inputs=tuple(path for step in steps for path in step.outputs),
        outputs=(folder / "report.json", folder / "report.html"),
    )


def cell_name(recipe: str, share: float) -> str:
    return f"{recipe}-{share:g}"


def _dev_results(folder: Path, cell: str) -> tuple[Path, ...]:
    return tuple(folder / "dev" / cell / name / "results.json" for name in ("vue", "others"))


def _drift(folder: Path, cell: str) -> Path:
    return folder / "dev" / cell / "drift.json"


def _dev_corpora(folder: Path) -> tuple[Path, ...]:
    return tuple(folder / "corpora" / name / "manifest.json" for name in ("vue", "others"))
