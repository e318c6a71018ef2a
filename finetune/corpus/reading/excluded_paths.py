"""Build, step 1: exclude files by their path alone: vendored, built, generated, lock files, test data.

The folder names are those that GitHub's linguist calls vendored or generated and that hold code.
"""

import re

_COMPONENTS = (".vue", ".svelte")
_BUILD_OUTPUT = "build output"
_REASONS = {
    "vendored": re.compile(
        r"(^|/)(node_modules|bower_components|jspm_packages|vendors?|third[-_]?party|external|deps|\.yarn"
        r"|\.pnpm|site-packages|Pods|Carthage)/"
    ),
    _BUILD_OUTPUT: re.compile(
        r"(^|/)(dist|build|out|lib-min|umd|\.next|\.nuxt|\.output|\.vitepress/cache|target|bin|obj"
        r"|__pycache__|coverage|public/assets)/"
    ),
    "test data": re.compile(
        r"(^|/)(__snapshots__|__fixtures__|fixtures?|test[-_]?data|testdata|cassettes|snapshots|golden"
        r"|mocks?/data)/|\.snap$"
    ),
    "tooling": re.compile(r"(^|/)(\.git|\.idea|\.vscode|\.husky|\.github|\.changeset)/"),
    "generated": re.compile(
        r"\.min\.\w+$|[-.]min\.(js|css)$|\.bundle\.\w+$|\.map$|\.pb\.go$|_pb2(_grpc)?\.py$|\.g\.dart$"
        r"|\.designer\.cs$|(^|/)(auto-imports|components)\.d\.ts$|\.gen\.\w+$|\.generated\.\w+$"
        r"|(^|/)CHANGELOG[^/]*$"
    ),
    "lock file": re.compile(
        r"(^|/)(package-lock\.json|npm-shrinkwrap\.json|yarn\.lock|pnpm-lock\.yaml|bun\.lockb?|composer\.lock"
        r"|Gemfile\.lock|Pipfile\.lock|poetry\.lock|uv\.lock|Cargo\.lock|go\.sum)$"
    ),
    "legal boilerplate": re.compile(
        r"(^|/)(LICEN[CS]E|COPYING|NOTICE|CODE_OF_CONDUCT|SECURITY)[^/]*$", re.IGNORECASE
    ),
}


def exclusion_reason(path: str) -> str | None:
    """Return why the file at `path`, relative to its repository, is excluded; None when it is not.

    Single-file components in build folders are kept: compilers read them and never write them, and packages
    such as vitepress ship their sources in `dist`.
    """
    for reason, pattern in _REASONS.items():
        if pattern.search(path) and not (reason == _BUILD_OUTPUT and path.endswith(_COMPONENTS)):
            return reason
    return None
