"""Build, step 1: files that their path alone rules out: vendored, built, generated, locks, test data.

The folder names follow what GitHub's linguist calls vendored and generated, shortened to what holds code.
"""

import re

_VENDORED = re.compile(
    r"(^|/)(node_modules|bower_components|jspm_packages|vendors?|third[-_]?party|external|deps|\.yarn|\.pnpm"
    r"|site-packages|Pods|Carthage)/"
)
_BUILT = re.compile(
    r"(^|/)(dist|build|out|lib-min|umd|\.next|\.nuxt|\.output|\.vitepress/cache|target|bin|obj|__pycache__"
    r"|coverage|public/assets)/"
)
_TEST_DATA = re.compile(
    r"(^|/)(__snapshots__|__fixtures__|fixtures?|test[-_]?data|testdata|cassettes|snapshots|golden|mocks?/data)/"
    r"|\.snap$"
)
_TOOLING = re.compile(r"(^|/)(\.git|\.idea|\.vscode|\.husky|\.github|\.changeset)/")
_GENERATED = re.compile(
    r"\.min\.\w+$|[-.]min\.(js|css)$|\.bundle\.\w+$|\.map$|\.pb\.go$|_pb2(_grpc)?\.py$|\.g\.dart$|\.designer\.cs$"
    r"|(^|/)(auto-imports|components)\.d\.ts$|\.gen\.\w+$|\.generated\.\w+$|(^|/)CHANGELOG[^/]*$"
)
_LOCK = re.compile(
    r"(^|/)(package-lock\.json|npm-shrinkwrap\.json|yarn\.lock|pnpm-lock\.yaml|bun\.lockb?|composer\.lock"
    r"|Gemfile\.lock|Pipfile\.lock|poetry\.lock|uv\.lock|Cargo\.lock|go\.sum)$"
)
_BOILERPLATE = re.compile(r"(^|/)(LICEN[CS]E|COPYING|NOTICE|CODE_OF_CONDUCT|SECURITY)[^/]*$", re.IGNORECASE)
_COMPONENTS = (".vue", ".svelte")
_REASONS = (
    ("vendored", _VENDORED),
    ("build output", _BUILT),
    ("test data", _TEST_DATA),
    ("tooling", _TOOLING),
    ("generated", _GENERATED),
    ("lock file", _LOCK),
    ("legal boilerplate", _BOILERPLATE),
)


def ruled_out(path: str) -> str | None:
    """Why the file at `path`, inside its repository, is not wanted; None when it is.

    Build output holds for all but single-file components: a compiler reads those and never writes them, and
    packages such as vitepress ship their sources in `dist`.
    """
    for reason, pattern in _REASONS:
        if pattern.search(path) and not (pattern is _BUILT and path.endswith(_COMPONENTS)):
            return reason
    return None
