"""The command lines of the product's programs as the story uses them; steps.py has their order."""

from pathlib import Path

from story import base
from story.pipeline import Call, Command
from story.programs import BIN, PYTHON, ROOT
from story.sizes import OWN, TINY, Recipe, Size

JUDGED = (0, 1, 2)
"""The exit codes of `compare` that are verdicts: PASS, FAIL, INCONCLUSIVE."""
SOURCES = ("vue", "others", "unseen-vue", "unseen-others")


class Commands:
    """The commands of one replay of the given size; `folder` is STORY in steps.py."""

    def __init__(self, size: Size, folder: Path) -> None:
        self._size = size
        self._folder = folder
        self.base = size.base
        self.base_folder = base.folder_to_train(size, folder / "home")
        self.drift_words = folder / "drift-words.jsonl"
        self.sets = self._own(",".join(size.problems))

    def scrape(self, name: str) -> tuple[Command, Call]:
        """Fetch the sources called `name`, and check that none is missing."""
        size, folder = self._size, self._folder / "scraped" / name
        lists = (size.vue, size.others, size.unseen_vue, size.unseen_others)
        wanted = [self._own(word) for word in lists[SOURCES.index(name)]]
        words = _words(PYTHON, "-m", "finetune.scrape", "--out", folder, *wanted)
        program = Command(words, accepted=(0, 1))  # 1: a source is missing; those of a recipe may be
        return program, Call(base.check_sources, {"folder": folder, "wanted": wanted})

    def sample(self, target: Path, count: int, seed: int) -> Command:
        """Sample texts from the base model, which a server serves meanwhile."""
        size = self._size
        amount = ("--count", count, "--max-tokens", size.own_words_tokens, "--seed", seed)
        given = ("--url", "{url}", "--out", target, "--languages", *size.own_words, *amount)
        return _python("-m", "finetune.corpus.sample_replay", *given)

    def write_problems(self, target: Path) -> Command:
        """Write the gate's problems: documents that overlap one are kept out of the corpora."""
        languages = ("--languages", ",".join(self._size.languages)) if self._size.languages else ()
        given = ("--problems", self.sets, *languages, "--out", target)
        return _python("-m", "eval_humaneval", "problems", *given)

    def build_vue(self, target: Path, *words: object) -> Command:
        size = self._size
        packed = ("--model", self.base_folder, "--sequence-tokens", size.sequence_tokens)
        given = ("--language", "vue", *packed, "--fim-rate", size.fim_rate, *words)
        return self._build("vue", target, *given)

    def build_mixed(self, target: Path, share: float) -> Command:
        """Build Vue with `share` of all characters in other languages: packages, and texts that the base
        wrote.
        """
        replay = (self._folder / "corpora" / "others", self._folder / "own-words.jsonl")
        return self.build_vue(target, "--replay", replay[0], "--replay", replay[1], "--replay-share", share)

    def build_others(self, target: Path) -> Command:
        return self._build("others", target)

    def plan_memory(self) -> Command:
        return _python("finetune/train.py", *self._recipe(self._size.eager_config), "--dry-run")

    def train(self, config: str, corpus: Path, run: Path, name: str, *overrides: str) -> Command:
        launch = (BIN / "deepspeed", "--num_gpus", self._size.cards, "--master_port", "{port}")
        given = (f"corpus={corpus}", f"output={run}", f"name={name}", *overrides)
        return Command(_words(*launch, "finetune/train.py", *self._recipe(config), *given))

    def export(self, run: Path, share: float, target: Path) -> Command:
        form = ("--gguf", "Q8_0") if self._size.gguf else ()
        return _python("-m", "finetune.export", run, "--alpha", share, "--to", target / "model", *form)

    def exported(self, run: Path) -> Path:
        """Return the folder in which a run, or an export, leaves the model that can be served."""
        return run / ("model-gguf" if self._size.gguf else "model")

    def fetch(self) -> Command:
        """Fetch into the user's own ACEPILOT_HOME, so that a model which is there is not fetched again."""
        return Command(_words(PYTHON, "-m", "acepilot.models", "fetch", self._size.base), own_home=True)

    def add(self, model: Path, name: str) -> Command:
        return _python("-m", "acepilot.models", "add", model, "--name", name)

    def judge(self, model: str, side: str) -> list[Command]:
        """Fill the three tables: problems, holes in unseen Vue repositories, holes in unseen other code."""
        size, to = self._size, self._folder / "tables" / side
        languages = ("--languages", ",".join(size.languages)) if size.languages else ()
        sampling = ("--samples", size.samples, "--temperature", size.temperature)
        amount = (*languages, *sampling, "--max-tokens", size.max_tokens)
        scraped, others = self._folder / "scraped", size.other_languages
        return [
            _evaluate(model, to / "problems", "--problems", self.sets, *amount),
            self._fill(model, to / "vue", scraped / "unseen-vue" / "repos", ("vue",), size.vue_holes),
            self._fill(model, to / "others", scraped / "unseen-others" / "repos", others, size.other_holes),
        ]

    def judge_on_dev(self, model: str | Path, cell: str) -> list[Command]:
        """Fill holes in repositories that were held out of tuning and are in no table."""
        to, corpora, size = self._folder / "dev" / cell, self._folder / "corpora", self._size
        others = (size.other_languages, max(size.dev_holes // 2, 1))
        return [
            self._fill(model, to / "vue", corpora / "vue", ("vue",), size.dev_holes),
            self._fill(model, to / "others", corpora / "others", *others),
        ]

    def drift(self, model: str | Path, cell: str) -> Command:
        """Measure the drift from the base on texts that the base wrote and no corpus holds."""
        given = ("--texts", self.drift_words, "--json", self._folder / "dev" / cell / "drift.json")
        return _python("-m", "eval_humaneval", "drift", self.base, model, *given)

    def compare(self, side: str) -> Command:
        tables = self._folder / "tables"
        runs = (tables / "base" / "problems", tables / side / "problems")
        given = (*runs, "--no-enlarge", *self._size.margins, "--to", self._folder / "gates" / side)
        return Command(_words(PYTHON, "-m", "eval_humaneval", "compare", *given), accepted=JUDGED)

    def corpus_of(self, recipe: Recipe) -> Path:
        return self._folder / "corpora" / f"mixed-{100 * recipe.replay_share:.0f}"

    def _own(self, word: str) -> str:
        return word.replace(OWN, str(self._folder / "own"))

    def _build(self, name: str, target: Path, *words: object) -> Command:
        clean = ("--problems", self._folder / "problems.jsonl", "--out", target)
        return _python("-m", "finetune.corpus", self._folder / "scraped" / name, *clean, *words)

    def _recipe(self, config: str) -> tuple[object, ...]:
        known = base.is_starter(self._size) or self._size.base == TINY.base
        model = self._size.base if known else self.base_folder
        return ("--config", f"finetune/configs/{config}.yaml", f"model={model}", *self._size.training)

    def _fill(
        self, model: str | Path, to: Path, code: Path, languages: tuple[str, ...], count: int
    ) -> Command:
        asked = ("--holes", code, "--holes-per-language", count, "--max-tokens", self._size.hole_tokens)
        return _evaluate(model, to, *asked, "--languages", ",".join(languages))


def recipe_file(config: str) -> Path:
    return ROOT / "finetune" / "configs" / f"{config}.yaml"


def _evaluate(model: str | Path, to: Path, *words: object) -> Command:
    return _python("-m", "eval_humaneval", "run", "--model", model, "--to", to, *words)


def _python(*words: object) -> Command:
    return Command(_words(PYTHON, *words))


def _words(*words: object) -> tuple[str, ...]:
    return tuple(map(str, words))
