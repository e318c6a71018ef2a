"""The blocks of Vue single-file components."""

import pytest

from finetune.corpus.cleaning.vue_blocks import Block, blocks_of
from tests.finetune.handmade import COUNTER


def form(block: Block) -> str:
    return " ".join(filter(None, (block.type, "setup" if block.setup else "", block.lang)))


def test_blocks_keep_their_form_and_span() -> None:
    script, template, style = blocks_of(COUNTER)
    assert [form(block) for block in (script, template, style)] == [
        "script setup ts",
        "template html",
        "style scss",
    ]
    assert (script.setup, template.setup, style.scoped) == (True, False, True)
    assert COUNTER[script.start : script.end].strip().startswith("import { computed")
    assert COUNTER[script.start : script.end].strip().endswith("count.value * 2)")
    assert COUNTER[template.start : template.end].strip().endswith("</button>")
    assert COUNTER[style.start : style.end].lstrip().startswith(".counter {")


@pytest.mark.parametrize(
    ("component", "forms"),
    [
        ("<script>\nexport default {}\n</script>\n", ["script js"]),
        ("<script lang='tsx'>\nexport default {}\n</script>\n", ["script tsx"]),
        ("<script>\nlet a\n</script>\n<script setup>\nlet b\n</script>\n", ["script js", "script setup js"]),
        ('<template lang="pug">\ndiv\n</template>\n', ["template pug"]),
        ("<template><p/></template>\n<i18n>\n{}\n</i18n>\n", ["template html", "custom"]),
        ("", []),
    ],
)
def test_every_form_has_its_name(component: str, forms: list[str]) -> None:
    assert [form(block) for block in blocks_of(component)] == forms


def test_a_template_inside_a_template_is_not_a_block() -> None:
    assert len(blocks_of("<template><a><template #x><b/></template></a></template>")) == 1


def test_spans_are_characters_not_bytes() -> None:
    component = "<template>\n  <p>größer 🙂</p>\n</template>\n<script>\nconst ä = '🙂'\n</script>\n"
    template, script = blocks_of(component)
    assert component[template.start : template.end].strip() == "<p>größer 🙂</p>"
    assert component[script.start : script.end] == "\nconst ä = '🙂'\n"
