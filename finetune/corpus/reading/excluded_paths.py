"""Build, step 1: exclude files by their path alone: vendored, built, generated, lock files, test data.

The folder names are those that GitHub's linguist calls vendored or generated and that hold code.
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


def exclusion_reason(path: str) -> str | None:
    """Return why the file at `path`, relative to its repository, is excluded; None when it is not.

    Single-file components in build folders are kept: compilers read them and never write them, and packages
    such as vitepress ship their sources in `dist`.
    """
    for reason, pattern in _REASONS:
        if pattern.search(path) and not (pattern is _BUILT and path.endswith(_COMPONENTS)):
            return reason
    return None
