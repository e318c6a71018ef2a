"""Choosing between one line and a block by the text around the cursor, which is at ‸."""

import pytest

from acepilot.languages import LANGUAGES
from acepilot.postprocess.context import locate
from acepilot.postprocess.mode import choose_mode


@pytest.mark.parametrize(
    ("language", "document", "mode"),
    [
        ("python", "", "block"),
        ("python", "x = 1\n‸\ny = 2\n", "block"),
        ("python", "def f():\n    ‸", "block"),
        ("python", "def f():‸\n", "block"),
        ("python", "# The sum of all.\n‸\n", "block"),
        ("python", 'def f():\n    """Sums."""\n    ‸\n', "block"),
        ("python", "x = ‸\n", "line"),
        ("python", "# The sum ‸\n", "line"),
        ("python", "print(‸)\n", "line"),
        ("python", "print(‸\n", "block"),
        ("python", "x = ‸ + 1\n", "line"),
        ("python", "    ‸return 1\n", "line"),
        ("typescript", "if (a) {‸}\n", "block"),
        ("typescript", "const f = () =>‸\n", "block"),
        ("typescript", "const a: ‸\n", "line"),
        ("typescript", "const a = 1;‸\n", "block"),
        ("typescript", "import a from '‸'\n", "line"),
        ("typescript", "const url = 'http:‸'\n", "line"),
        ("typescript", "call(() => {\n  ‸\n})\n", "block"),
        ("ruby", "items.each do |item|‸\n", "block"),
        ("ruby", "x = items.‸\n", "line"),
        ("html", "<ul>‸\n</ul>\n", "block"),
        ("html", "<b>‸</b>\n", "line"),
        ("vue", '<template>\n  <li :key="‸">\n</template>\n', "line"),
        ("vue", '<script setup lang="ts">\nconst a = ‸\n</script>\n', "line"),
        ("vue", '<script setup lang="ts">\nfunction f() {‸\n</script>\n', "block"),
        ("json", '{\n  "a": ‸\n}\n', "line"),
        ("json", '{\n  "a": {‸}\n}\n', "block"),
        ("markdown", "Some words ‸\n", "line"),
    ],
)
def test_choose_mode(language: str, document: str, mode: str) -> None:
    prefix, _, suffix = document.partition("‸")
    assert choose_mode(locate(prefix, suffix, LANGUAGES[language])) == mode
