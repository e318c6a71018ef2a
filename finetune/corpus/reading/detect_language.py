"""Build, step 2: detect a file's language by its name, and by its first lines where a name has two meanings.

Classifiers that use only the content (magika, pygments' guess) fail on short files. Extensions rarely
mislead, and where one stands for two languages, one pattern separates them.
"""

import re

from acepilot.languages import LANGUAGES, Language, language_for

DATA = frozenset({"json", "jsonc", "xml", "plaintext"})
"""Languages that are left out: their files are mostly data or prose, such as locale tables and manifests."""

HTML_LIKE = frozenset({"html", "vue", "svelte"})

_SHEBANG = re.compile(r"#!\s*(?:/usr/bin/env\s+(?:-S\s+)?|\S*/)([a-z]+)")
_INTERPRETERS = {
    **{name: name for name in ("python", "bash", "ruby", "perl", "php", "lua")},
    "sh": "bash",
    "zsh": "bash",
    "node": "javascript",
    "deno": "typescript",
}
_HEAD_CHARS = 4_000  # the patterns are searched in the first characters only, for speed

# Extension -> patterns of another language with the same extension. None begins with `^\s*`: from each of
# many empty lines, that reads to the last one.
_AMBIGUOUS: dict[str, tuple[tuple[re.Pattern[str], str], ...]] = {
    ".h": (
        (re.compile(r"^[ \t]*(@interface|@protocol|@property|#import)\b", re.MULTILINE), "objc"),
        (re.compile(r"^[ \t]*(class|namespace|template\s*<|using)\b|\bstd::", re.MULTILINE), "cpp"),
    ),
    ".m": ((re.compile(r"^[ \t]*(function\b|%|end\s*$)", re.MULTILINE), "plaintext"),),  # MATLAB
    ".ts": ((re.compile(r"\A\s*<(\?xml|!DOCTYPE TS)"), "xml"),),  # Qt's translations
    ".js": ((re.compile(r"@flow\b"), "plaintext"),),  # neither JavaScript nor TypeScript
    ".pl": ((re.compile(r"^[ \t]*:-\s", re.MULTILINE), "plaintext"),),  # Prolog
    ".r": ((re.compile(r"^[ \t]*REBOL\b", re.MULTILINE), "plaintext"),),
}
_COMPONENT_BLOCK = re.compile(r"^[ \t]*<(template|script|style)\b", re.MULTILINE)


def language_of(path: str, text: str) -> Language:
    """Return the language, or `plaintext` for an unknown one."""
    head = text[:_HEAD_CHARS]
    named = language_for(path=path)
    if named.id == "plaintext":
        shebang = _SHEBANG.match(head)
        return LANGUAGES[_INTERPRETERS.get(shebang.group(1), "plaintext")] if shebang else named
    if named.id == "vue" and not _COMPONENT_BLOCK.search(text):
        return LANGUAGES["plaintext"]
    extension = path[path.rfind(".") :].lower()
    for pattern, other in _AMBIGUOUS.get(extension, ()):
        if pattern.search(head):
            return LANGUAGES[other]
    return named


def may_be_code(path: str) -> bool:
    """Return whether to open a file: its name has a code language, or no extension (it may be a script)."""
    name = path.rpartition("/")[2]
    known = language_for(path=path)
    return known.id not in DATA if known.id != "plaintext" else "." not in name
