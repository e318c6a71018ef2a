"""The sizes of a replay: one model each, with its sources, problem sets and margins. steps.py uses them.

`starter` is the story. `starter-tiny` and `tiny` run the same steps in minutes; their figures mean nothing.
`codegen-2b` and `codegen-6b` are the story on the team's own cards; nobody has run them here. docs/story.md
has the reasons for the numbers. The margins were chosen before any tuned model was judged.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

OWN = "{own}"
"""Stands for the folder that base.py writes, in sources and problem sets."""

VUE = ("npm:element-ui@2.15.14", "npm:vitepress@1.6.4", "npm:keen-ui@1.4.0", "npm:@slidev/client@52.20.1")
"""Vue to tune on. @slidev/client is held out by the hash of its name: it is the development split."""

UNSEEN_VUE = ("npm:buefy@3.1.0", "npm:@nuxt/ui@4.11.2", "npm:view-ui-plus@1.3.24")
OTHERS = (
    *("pypi:rich@15.0.0", "pypi:networkx@3.7", "pypi:click@8.5.1", "pypi:jinja2@3.1.6", "pypi:bottle@0.13.4"),
    *("npm:koa@3.2.1", "npm:commander@15.1.0", "npm:express@4.21.2", "npm:rxjs@7.8.2", "npm:zod@4.6.7"),
    *("npm:msw@2.6.0", "npm:react-native-screens@4.28.0", "npm:@capacitor/android@8.5.2"),
    *("npm:com.neuecc.unirx@7.1.0", "npm:node-addon-api@8.9.2", "npm:nan@2.30.0"),
)
"""Code to replay.

The development split has bottle (Python), express (JavaScript), msw (TypeScript), Capacitor (Java).
"""
UNSEEN_OTHERS = (
    *("pypi:httpx@0.28.1", "pypi:starlette@1.10.0", "npm:fastify@5.12.8", "npm:undici@8.12.4"),
    *("npm:react-native-gesture-handler@3.5.0", "npm:react-native-svg@15.15.5"),
)
UNSEEN_LANGUAGES = ("python", "javascript", "typescript", "java")
"""The languages of the holes in other code, on the development split and in the tables."""
LANGUAGES = (
    *("python", "javascript", "typescript", "java", "go", "cpp"),
    *("rust", "php", "ruby", "csharp", "bash"),
)
DRIFT_TEXTS = 8
"""Texts that the base writes in each language to measure drift, with another seed than the replayed ones."""

MARGINS = ("--pool-margin", "6", "--margin", "20", "--margin", "bash=25", "--margin", "python=10")
"""Margins in points for the built-in problems and HumanEval in Python; docs/story.md has the reasons."""
HUMAN_EVAL_LANGUAGES = ("csharp", "go", "java", "javascript", "php", "python", "ruby", "typescript")
WIDE_MARGINS = (
    *("--pool-margin", "4", "--margin", "20", "--margin", "bash=25", "--margin", "vue=18"),
    *(word for name in HUMAN_EVAL_LANGUAGES for word in ("--margin", f"{name}=10")),
)
"""Margins in points with HumanEval in mxeval's eight languages: 220 problems in each language."""


@dataclass(frozen=True)
class Recipe:
    """A candidate of the sweep: the careful recipe with `overrides`, on Vue with `replay_share` of other
    code.
    """

    name: str
    replay_share: float
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Size:
    """One size of the replay.

    `base` is a starter, `tiny` or a hub id. With `gguf` the tuned model is served as a GGUF. `training`
    overrides both recipes. `vue_holes`, `other_holes`, `dev_holes` and `own_words_count` are numbers per
    language. `promotion` is the table [promotion] of the story's own acepilot.toml.
    """

    name: str
    base: str
    what: str
    gguf: bool = True
    cards: int = 1
    vue: tuple[str, ...] = VUE
    unseen_vue: tuple[str, ...] = UNSEEN_VUE
    others: tuple[str, ...] = OTHERS
    unseen_others: tuple[str, ...] = UNSEEN_OTHERS
    own_words: tuple[str, ...] = LANGUAGES
    own_words_count: int = 24
    own_words_tokens: int = 256
    sequence_tokens: int = 512
    fim_rate: float = 0.5
    eager_config: str = "story-eager"
    careful_config: str = "story-careful"
    training: tuple[str, ...] = ()
    recipes: tuple[Recipe, ...] = (Recipe("a", 0.25, ("lora.r=16",)), Recipe("b", 0.5, ("lora.r=32",)))
    shares: tuple[float, ...] = (1.0, 0.6, 0.3)
    problems: tuple[str, ...] = ("builtin", "human-eval")
    languages: tuple[str, ...] = ()
    samples: int = 2
    temperature: float = 0.2
    max_tokens: int = 384
    vue_holes: int = 400
    other_languages: tuple[str, ...] = UNSEEN_LANGUAGES
    other_holes: int = 75
    dev_holes: int = 100
    hole_tokens: int = 192
    margins: tuple[str, ...] = MARGINS
    promotion: Mapping[str, int] = field(default_factory=dict[str, int])
    guesses_s: Mapping[str, float] = field(default_factory=dict[str, float])


STARTER = Size(
    name="starter",
    base="starter",
    what="Qwen2.5-Coder-0.5B-Instruct on two CPU cores: hours",
    guesses_s={
        "base/model": 90, "sources": 60, "own-words": 900, "corpora": 120, "base/table": 2700,
        "eager/train": 3600, "eager/table": 2000, "eager/drift": 120, "careful/train": 2400,
        "careful/share": 700, "careful/table": 2000, "gate": 30, "seen": 90,
    },
)  # fmt: skip

STARTER_TINY = replace(
    STARTER,
    name="starter-tiny",
    base="starter-tiny",
    what="SmolLM2-135M on two CPU cores: the same path in half an hour; it talks rather than codes",
    own_words=("python", "javascript"),
    own_words_count=2,
    own_words_tokens=64,
    training=("steps=6", "warmup_steps=1", "eval_every=3", "eval_rows=2", "save_every=3"),
    languages=("python", "vue"),
    samples=1,
    temperature=0.0,
    max_tokens=64,
    vue_holes=12,
    other_holes=4,
    dev_holes=6,
    hole_tokens=32,
    margins=("--pool-margin", "90", "--margin", "90"),
    promotion={"language_margin": 90, "pool_margin": 90, "problems": 1},
    guesses_s={
        "base/model": 30, "sources": 240, "own-words": 30, "corpora": 60, "base/table": 120,
        "eager/train": 90, "eager/table": 90, "careful/train": 90, "careful/share": 60,
        "careful/table": 90, "gate": 15, "seen": 30,
    },
)  # fmt: skip

TINY = replace(
    STARTER_TINY,
    name="tiny",
    base="tiny",
    what="a random CodeGen of 150,000 weights on this repository's own files: a minute, no network",
    gguf=False,
    vue=(f"path:{OWN}/vue-a", f"path:{OWN}/vue-b", f"path:{OWN}/vue-c"),
    unseen_vue=(f"path:{OWN}/vue-unseen",),
    others=(f"path:{OWN}/others-a", f"path:{OWN}/others-b"),
    unseen_others=(f"path:{OWN}/others-unseen",),
    own_words=("python",),
    own_words_tokens=16,
    sequence_tokens=128,
    fim_rate=0.0,
    training=(
        *("steps=2", "warmup_steps=0", "sequence_tokens=128", "precision=fp32", "threads=1"),
        *("eval_every=2", "eval_rows=1", "save_every=2", "report=none"),
        "export.gguf=null",
    ),
    recipes=(Recipe("a", 0.5, ("lora.r=4",)),),
    shares=(1.0,),
    problems=(f"{OWN}/problems.jsonl",),
    languages=("python",),
    max_tokens=8,
    vue_holes=3,
    other_languages=("python",),
    other_holes=3,
    dev_holes=3,
    hole_tokens=8,
    guesses_s={
        "base/model": 5, "sources": 5, "own-words": 6, "corpora": 12, "base/table": 12, "eager/train": 10,
        "eager/table": 10, "careful/train": 14, "careful/share": 8, "careful/table": 10, "gate": 4, "seen": 8,
    },
)  # fmt: skip

CODEGEN_2B = replace(
    STARTER,
    name="codegen-2b",
    base="Salesforce/codegen-2B-multi",
    what="CodeGen 2.7B on two V100 of 32 GB: the team's own attempt; not run here",
    gguf=False,
    cards=2,
    vue=("--recipe", "vue40"),
    unseen_vue=("npm:keen-ui@1.4.0", "npm:primevue@4.5.4", "npm:uiv@2.0.6"),
    own_words_count=200,
    own_words_tokens=512,
    sequence_tokens=2048,
    fim_rate=0.0,
    eager_config="story-codegen-2b-eager",
    careful_config="story-codegen-2b-careful",
    guesses_s={
        "base/model": 900, "sources": 900, "own-words": 1800, "corpora": 900, "base/table": 3600,
        "eager/train": 40000, "eager/table": 3600, "careful/train": 25000, "careful/share": 900,
        "careful/table": 3600, "gate": 30, "seen": 90,
    },
)  # fmt: skip

CODEGEN_6B = replace(
    CODEGEN_2B,
    name="codegen-6b",
    base="Salesforce/codegen-6B-multi",
    what="CodeGen 6B on four V100 of 32 GB, where the team went next; not run here",
    cards=4,
    eager_config="story-codegen-6b-eager",
    careful_config="story-codegen-6b-careful",
    guesses_s={name: 2 * guess_s for name, guess_s in CODEGEN_2B.guesses_s.items()},
)

SIZES = {size.name: size for size in (STARTER, STARTER_TINY, TINY, CODEGEN_2B, CODEGEN_6B)}
