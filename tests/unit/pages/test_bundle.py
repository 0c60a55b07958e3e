"""Joining the modules of a page into one document: what stays as it is, what is refused."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import zlib

import pytest

from keystow.pages import bundle
from tests.node import node

TEMPLATE = """<!doctype html>
<html>
<script>{{first}}</script>
<style>{{style}}</style>
<main>text</main>
<script type="module">{{script}}</script>
</html>
"""


def made(**modules: str) -> bundle.Document:
    named = {f"{name}.js": text for name, text in modules.items()}
    return bundle.document(TEMPLATE, first="f();", style="a { b: c }", modules=named)


def joined(**modules: str) -> str:
    return bundle.joined({f"{name}.js": text for name, text in modules.items()})


def test_modules_run_in_the_order_in_which_a_browser_would_run_them(tmp_path):
    # Two of them import each other; what is called at once comes before who calls it.
    modules = {
        "main.js": (
            "import { b } from './b.js';\nimport { a } from './a.js';\n"
            "console.log(a(), b(), 'main');\n"
        ),
        "a.js": (
            "import { b } from './b.js';\nconsole.log('a');\n"
            "export function a() {\n  return `a of ${typeof b}`;\n}\n"
        ),
        "b.js": (
            "import {\n  a,\n} from './a.js';\nexport const late = () => a();\n"
            "console.log('b', typeof a);\nexport async function b() { return late(); }\n"
        ),
    }
    for name, text in modules.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "one.js").write_text(bundle.joined(modules))
    said = [
        subprocess.run([node(), tmp_path / name], capture_output=True, text=True, check=True).stdout
        for name in ("main.js", "one.js")
    ]
    assert said[0] == said[1]
    assert said[0].splitlines()[:2] == ["a", "b function"]


def test_lines_of_comment_and_space_around_lines_are_left_out_and_nothing_else():
    text = (
        "// About it.\n\n/** Of\n * a function. */\nexport function main() {\n"
        "  const url = 'https://a.example//b'; // stays\n\n  /* one line */\n"
        "  return `${url}/*`;\n}\n"
    )
    assert joined(main=text) == (
        "function main() {\nconst url = 'https://a.example//b'; // stays\nreturn `${url}/*`;\n}"
    )


@pytest.mark.parametrize(
    ("modules", "why"),
    [
        ({"main": "import { x } from './a.js';\n", "a": "const x = 1;\n"}, "a.js has no x"),
        ({"main": "import { x } from './b.js';\n"}, "no b.js"),
        ({"main": "const x = 1;\n", "b": "const y = 1;\n"}, "nothing imports b.js"),
        (
            {"main": "import { y } from './a.js';\nlet x;\n", "a": "export let y;\nclass x {}\n"},
            "a.js and main.js both have x",
        ),
        ({"main": "import { x as y } from './a.js';\n", "a": "export const x = 1;\n"}, "no x as y"),
        (
            {"main": "import x from './a.js';\n", "a": "export const x = 1;\n"},
            "cannot join import x",
        ),
        ({"main": "import './a.js';\n"}, "cannot join import './a.js'"),
        ({"main": "import { x } from './a.js'\n", "a": "export const x = 1;\n"}, "cannot join"),
        ({"main": "import { x } from 'https://a.example/a.js';\n"}, "cannot join import"),
        ({"main": "export default 1;\n"}, "cannot join export default"),
        ({"main": "export { x };\n"}, "cannot join export {"),
        ({"main": "export * from './a.js';\n"}, "cannot join export *"),
        ({"main": "const { a } = b;\n"}, "cannot join"),
        ({"main": "var a = 1;\n"}, "cannot join var"),
        ({"main": "f(import.meta.url);\n"}, "cannot join"),
        ({"main": "  await import('./a.js');\n"}, "cannot join"),
        ({"main": "f(`\n// text\n`);\n"}, "goes on"),
        ({"main": "f('a\\\nb');\n"}, "goes on"),
        ({"main": "/* a */ f();\n"}, "something follows"),
    ],
)
def test_what_would_not_mean_the_same_is_refused(modules, why):
    with pytest.raises(bundle.JoinError, match=re.escape(why)):
        joined(**modules)


@pytest.mark.parametrize("text", ["f('</script>');", "f('<!--');", "f('<SCRIPT ');", "f('\\0');\r"])
def test_what_would_end_the_script_is_refused(text):
    with pytest.raises(bundle.JoinError):
        made(main=f"f();{text} g();\n")


@pytest.mark.parametrize("template", ["<p>{{first}}{{style}}</p>", TEMPLATE * 2])
def test_each_part_has_one_place(template):
    with pytest.raises(bundle.JoinError, match="one place"):
        bundle.document(template, first="", style="", modules={"main.js": "f();\n"})


def test_a_policy_can_name_its_scripts_and_its_style_by_hash():
    page = made(main="const text = '{{style}} ü';\n")
    text = page.plain.decode()
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", text, re.DOTALL)
    assert scripts == ["f();", "const text = '{{style}} ü';"]
    wanted = [
        "'sha256-" + base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() + "'"
        for each in scripts
    ]
    assert list(page.script_sources) == wanted
    assert "<main>text</main>" in text


def test_the_same_sources_make_the_same_bytes_and_others_another_release():
    page = made(main="f();\n")
    assert page == made(main="f();\n")
    assert zlib.decompress(page.packed, 31) == page.plain
    assert page.release != made(main="g();\n").release
