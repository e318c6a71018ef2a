"""Run a Vue component and its test. The Vue problems are not rendered: problems/builtin.py loads them."""

from eval_humaneval.languages.base import LanguageAdapter, Limits, Tool
from eval_humaneval.runtime import DIST

VUE = LanguageAdapter(
    label="Vue",
    source_name="main.vue",
    compile=("node", "vue-compile.cjs", "main.vue", "component.js", "test.js"),
    run=("node", "vue.cjs", "component.js", "test.js"),
    tools=(Tool("node", "apt-get install nodejs"),),
    verdict='console.log("{0}" + "{1}")',
    # Node reserves far more than it uses: Node 20 needs 768 MB, Node 24 needs 1.5 GB.
    limits=Limits(address_space_mb=4096),
    files={name: DIST / name for name in ("vue-compile.cjs", "vue.cjs")},
    render=None,
)
