"""The story, top to bottom: every step that is taken, by which program, from what, to what.

Read `steps_of`. A step's command is what a person would type; `ACEPILOT_HOME` is STORY/home throughout.

    STORY/scraped/      repositories, as fetched       STORY/runs/    training, one folder an attempt
    STORY/corpora/      what is tuned on               STORY/tables/  evaluations: base, eager, careful
    STORY/own-words.jsonl, problems.jsonl              STORY/dev/     the same on the development split
    STORY/gates/, attempts/, seen/                     STORY/report.json, report.html
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from story import base, choice, promotion, report, seen
from story.pipeline import Call, Command, Step
from story.programs import BIN, PYTHON, ROOT
from story.sizes import TINY, Recipe, Size

EAGER, CAREFUL = "story-eager", "story-careful"
"""Their names in the story's registry."""
JUDGED = (0, 1, 2)
"""Exit codes of `compare` that are verdicts."""


def steps_of(size: Size, folder: Path, user_home: Path) -> list[Step]:
    """All steps in the order in which they run. Nothing is read or written to make this list."""
    home, scraped, corpora, runs = (folder / name for name in ("home", "scraped", "corpora", "runs"))
    problems, own_words = folder / "problems.jsonl", folder / "own-words.jsonl"
    trained_base = base.folder_to_train(size, home)
    sets = ",".join(filter(None, ("builtin", size.human_eval)))
    guess = size.guesses_s

    # ---- 1. The base model, and what code there is to tune and to judge on
    steps = [
        Step(
            "base/model",
            f"Fetch {size.base} and put it into the story's registry; does full tuning of it fit?",
            (*_bring(size, user_home), _train(size, "eager", home, "--dry-run")),
            outputs=(trained_base / "config.json",),
        ),
        Step(
            "sources",
            "Fetch packages under permissive licences: Vue and other languages, to tune on and never to be seen",
            (
                *([Call(base.write_own_repositories, {"target": folder / "own"})] if size.base == "tiny" else []),
                *(
                    _python("scripts/scrape_repos.py", "--out", scraped / name, *_sources(size, name, folder))
                    for name in ("vue", "others", "unseen-vue", "unseen-others")
                ),
            ),
            outputs=tuple(
                scraped / name / "sources.jsonl" for name in ("vue", "others", "unseen-vue", "unseen-others")
            ),
            makes=(scraped,),
        ),
        Step(
            "own-words",
            "Sample files in other languages from the base model itself, to replay",
            (
                _python(
                    *("scripts/sample_replay.py", "--url", "{url}", "--out", own_words),
                    *("--languages", *size.own_words, "--count", size.own_words_count),
                    *("--max-tokens", size.own_words_tokens),
                ),
            ),
            inputs=(trained_base / "config.json",),
            outputs=(own_words,),
            makes=(own_words,),
            served=base.name_to_serve(size),
        ),
    ]

    # ---- 2. The corpora: Vue alone, and Vue with shares of replay; problems are kept out of both
    common = ("--model", trained_base, "--sequence-tokens", size.sequence_tokens, "--fim-rate", size.fim_rate)
    vue = ("scripts/build_corpus.py", scraped / "vue", "--language", "vue", "--problems", problems, *common)
    mixed = {recipe.replay_share: _mixed(corpora, recipe) for recipe in size.recipes}
    made = (corpora / "vue", corpora / "others", *mixed.values())
    steps.append(
        Step(
            "corpora",
            "Build the corpora: Vue alone, other languages, and Vue with replay; the gate's problems kept out",
            (
                Call(base.write_problems, {"sets": sets, "languages": size.languages, "target": problems}),
                _python(*vue, "--out", corpora / "vue"),
                _python(
                    *("scripts/build_corpus.py", scraped / "others", "--problems", problems),
                    *("--out", corpora / "others"),
                ),
                *(
                    _python(
                        *(*vue, "--replay", corpora / "others", "--replay", own_words),
                        *("--replay-share", share, "--out", corpus),
                    )
                    for share, corpus in mixed.items()
                ),
            ),
            inputs=(
                scraped / "vue" / "sources.jsonl",
                scraped / "others" / "sources.jsonl",
                own_words,
                trained_base / "tokenizer.json",
            ),
            outputs=tuple(corpus / "manifest.json" for corpus in made),
            makes=(corpora, problems),
        )
    )

    # ---- 3. What the base model can do
    steps.append(_table(size, folder, "base", base.name_to_serve(size), trained_base / "config.json"))

    # ---- 4. The failed attempt: all weights, on Vue alone, as eager as the team was then
    eager = runs / "eager"
    steps += [
        Step(
            "eager/train",
            "Tune all weights on Vue alone, with a high rate, for several epochs",
            (
                _train(
                    *(size, "eager", home, f"corpus={corpora / 'vue'}", f"output={eager}", f"name={EAGER}")
                ),
                _python("scripts/promote_model.py", "add", _exported(size, eager), "--name", EAGER),
            ),
            inputs=(_recipe_file(size.eager_config), corpora / "vue" / "manifest.json"),
            outputs=(home / "models" / EAGER / "manifest.json", eager / "losses.jsonl"),
            makes=(eager, home / "models" / EAGER),
            spare=(eager / "checkpoints",),
        ),
        _table(size, folder, "eager", EAGER, home / "models" / EAGER / "manifest.json"),
        _gate(size, folder, "eager", EAGER),
    ]

    # ---- 5. The way that works: a small sweep, judged on the development split, and never on the problems
    cells: dict[str, Path] = {}
    for recipe in size.recipes:
        run, corpus = runs / recipe.name, mixed[recipe.replay_share]
        for share in size.shares:
            cell = f"{recipe.name}-{share:g}"
            model = _exported(size, run) if share == 1 else _exported(size, runs / cell)
            cells[cell] = model
            whole = Step(
                f"careful/{cell}",
                f"Tune adapters on Vue with {recipe.replay_share:.0%} replay ({', '.join(recipe.overrides)})",
                (
                    _train(
                        *(size, "careful", home, f"corpus={corpus}", f"output={run}", f"name={CAREFUL}"),
                        *recipe.overrides,
                    ),
                    *_dev(size, folder, cell, model),
                ),
                inputs=(
                    *(_recipe_file(size.careful_config), corpus / "manifest.json"),
                    *_dev_corpora(corpora),
                ),
                outputs=(model / "manifest.json", run / "losses.jsonl", *_dev_results(folder, cell)),
                makes=(run, folder / "dev" / cell),
                spare=(run / "checkpoints",),
                guess_s=guess["careful/train"],
            )
            part = Step(
                f"careful/{cell}",
                f"The same, {share:.0%} of the way from the base",
                (
                    _python(
                        *("-m", "finetune.export", run, "--alpha", share, "--to", runs / cell / "model"),
                        *(("--gguf", "Q8_0") if size.gguf else ()),
                    ),
                    *_dev(size, folder, cell, model),
                ),
                inputs=(_exported(size, run) / "manifest.json", *_dev_corpora(corpora)),
                outputs=(model / "manifest.json", *_dev_results(folder, cell)),
                makes=(runs / cell, folder / "dev" / cell),
                guess_s=guess["careful/share"],
            )
            steps.append(whole if share == 1 else part)
    chosen = folder / "choice.json"
    dev = folder / "dev"
    steps += [
        Step(
            "careful/choice",
            "Choose: most likelihood gained in Vue, and none lost elsewhere, on the development split",
            (
                Call(
                    choice.choose,
                    {"base": dev / "base", "cells": {name: dev / name for name in cells}, "models": cells,
                     "name": CAREFUL, "target": chosen},
                ),
            ),
            inputs=tuple(
                path
                for name in ("base", *cells)
                for path in _dev_results(folder, name)
            ),
            outputs=(chosen, home / "models" / CAREFUL / "manifest.json"),
            makes=(chosen, home / "models" / CAREFUL),
        ),
        _table(size, folder, "careful", CAREFUL, home / "models" / CAREFUL / "manifest.json"),
        _gate(size, folder, "careful", CAREFUL),
    ]  # fmt: skip

    # ---- 6. What a person sees: a Vue file before and after; then the report
    unseen = scraped / "unseen-vue"
    shown = {"base": base.name_to_serve(size), "current": "current"}
    steps += [
        Step(
            f"seen/{side}",
            f"Complete Vue files through the language server, with {model} served",
            (
                Call(
                    seen.complete,
                    {"url": "{url}", "holes": unseen / "repos", "target": folder / "seen" / f"{side}.json"},
                ),
            ),
            inputs=(
                unseen / "sources.jsonl",
                *([folder / "attempts" / "careful.json"] if side == "current" else []),
            ),
            outputs=(folder / "seen" / f"{side}.json",),
            served=model,
            guess_s=guess["seen"],
        )
        for side, model in shown.items()
    ]
    before = tuple(path for step in steps for path in step.outputs)
    steps.append(
        Step(
            "report",
            "Write report.json and report.html",
            (Call(report.write, {"folder": folder, "size": size, "steps": [step.name for step in steps]}),),
            inputs=before,
            outputs=(folder / "report.json", folder / "report.html"),
        )
    )
    return [_guessed(step, size) for step in steps]


def _table(size: Size, folder: Path, side: str, model: str, made_of: Path) -> Step:
    """One row of the three tables: the problems, holes in unseen Vue repositories, holes in other languages."""
    tables, scraped = folder / "tables" / side, folder / "scraped"
    sets = ",".join(filter(None, ("builtin", size.human_eval)))
    languages = ("--languages", ",".join(size.languages)) if size.languages else ()
    sampling = ("--samples", size.samples, "--temperature", size.temperature, "--max-tokens", size.max_tokens)
    work = [
        _evaluate(model, tables / "problems", "--problems", sets, *languages, *sampling),
        _holes(size, model, tables / "vue", scraped / "unseen-vue" / "repos", size.vue_holes, "vue"),
        _holes(size, model, tables / "others", scraped / "unseen-others" / "repos", size.other_holes),
    ]
    results = [tables / name / "results.json" for name in ("problems", "vue", "others")]
    sources = [scraped / name / "sources.jsonl" for name in ("unseen-vue", "unseen-others")]
    makes = [tables]
    if side == "base":  # beside it, what the sweep's candidates are compared with
        work += _dev(size, folder, side, model)
        results += _dev_results(folder, side)
        sources += _dev_corpora(folder / "corpora")
        makes.append(folder / "dev" / side)
    return Step(
        f"{side}/table",
        "Judge it: problems in all languages, holes in unseen Vue repositories and in unseen other code",
        tuple(work),
        inputs=(made_of, *sources),
        outputs=tuple(results),
        makes=tuple(makes),
    )


def _gate(size: Size, folder: Path, side: str, name: str) -> Step:
    """The verdict, and what the registry makes of it."""
    gate, attempt, tables = folder / "gates" / side, folder / "attempts" / f"{side}.json", folder / "tables"
    return Step(
        f"{side}/gate",
        "Compare it with the base; try to promote it",
        (
            Command(
                _words(
                    *(PYTHON, "-m", "eval_humaneval", "compare", tables / "base" / "problems"),
                    *(tables / side / "problems", "--no-enlarge", *size.margins, "--to", gate),
                ),
                accepted=JUDGED,
            ),
            Call(
                promotion.attempt,
                {"name": name, "gate": gate, "keep": side == "careful", "target": attempt},
            ),
        ),
        inputs=(
            tables / "base" / "problems" / "results.json",
            tables / side / "problems" / "results.json",
            # the history begins with the first attempt: when that is made again, so is the second
            *([folder / "attempts" / "eager.json"] if side == "careful" else []),
        ),
        outputs=(gate / "gate.json", attempt),
        makes=(gate, attempt),
        guess_s=size.guesses_s["gate"],
    )


def _bring(size: Size, user_home: Path) -> list[Command | Call]:
    """The base model, in the story's registry."""
    if not base.is_starter(size):
        return [Call(base.bring, {"model": size.base})]
    fetched = user_home / "models" / size.base
    return [
        Command(_words(PYTHON, "scripts/fetch_model.py", size.base), own_home=True),
        _python("scripts/promote_model.py", "add", fetched, "--name", size.base),
    ]


def _train(size: Size, attempt: Literal["eager", "careful"], home: Path, *words: str) -> Command:
    config = _recipe_file(size.eager_config if attempt == "eager" else size.careful_config)
    known = base.is_starter(size) or size.base == TINY.base
    model = size.base if known else base.folder_to_train(size, home)
    given = ("--config", config.relative_to(ROOT), f"model={model}", *size.training, *words)
    if "--dry-run" in words:
        return _python("finetune/train.py", *given)
    launcher = (BIN / "deepspeed", "--num_gpus", size.cards, "--master_port", "{port}")
    return Command(_words(*launcher, "finetune/train.py", *given))


def _evaluate(model: str | Path, to: Path, *words: object) -> Command:
    return _python("-m", "eval_humaneval", "run", "--model", model, "--to", to, *words)


def _holes(size: Size, model: str | Path, to: Path, code: Path, count: int, *languages: str) -> Command:
    words = ("--holes", code, "--holes-per-language", count, "--max-tokens", size.hole_tokens)
    return _evaluate(model, to, *words, *(("--languages", ",".join(languages)) if languages else ()))


def _dev(size: Size, folder: Path, cell: str, model: str | Path) -> list[Command]:
    """Holes in repositories that were held out of tuning, and that are no part of the tables."""
    corpora, dev = folder / "corpora", folder / "dev" / cell
    return [_holes(size, model, dev / name, corpora / name, size.dev_holes) for name in ("vue", "others")]


def _dev_results(folder: Path, cell: str) -> list[Path]:
    return [folder / "dev" / cell / name / "results.json" for name in ("vue", "others")]


def _dev_corpora(corpora: Path) -> list[Path]:
    return [corpora / name / "manifest.json" for name in ("vue", "others")]


def _exported(size: Size, run: Path) -> Path:
    return run / ("model-gguf" if size.gguf else "model")


def _mixed(corpora: Path, recipe: Recipe) -> Path:
    return corpora / f"mixed-{100 * recipe.replay_share:.0f}"


def _recipe_file(name: str) -> Path:
    return ROOT / "finetune" / "configs" / f"{name}.yaml"


def _sources(size: Size, name: str, folder: Path) -> list[str]:
    lists = {"vue": size.vue, "others": size.others}
    lists |= {"unseen-vue": size.unseen_vue, "unseen-others": size.unseen_others}
    return [word.replace("{own}", str(folder / "own")) for word in lists[name]]


def _python(*words: object) -> Command:
    return Command(_words(PYTHON, *words))


def _words(*words: object) -> tuple[str, ...]:
    return tuple(map(str, words))


def _guessed(step: Step, size: Size) -> Step:
    """With the size's own guess where it has one for this step."""
    return replace(step, guess_s=size.guesses_s.get(step.name, step.guess_s))
