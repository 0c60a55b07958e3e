"""Pages hold together: links lead somewhere, examples are real files, commands exist."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.node import node
from tests.unit.docs.reading import BLOCK, ROOT, pages, text

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
EXAMPLES = sorted((ROOT / "docs/examples").iterdir())
PAGES = pages()


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def without_code(page: str) -> str:
    return re.sub(r"`[^`\n]*`", "", BLOCK.sub("", page))


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", BLOCK.sub("", page), re.MULTILINE):
        kept = re.sub(r"[^\w\- ]", "", heading.lower())
        found.add(kept.strip().replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_files_and_headings_that_exist(page):
    for link in LINK.findall(without_code(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target.read_text(encoding="utf-8")), f"no heading {link}"


def test_every_page_can_be_found_from_the_readme():
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md" or not page.exists():
            continue
        seen.add(page)
        links = LINK.findall(without_code(page.read_text(encoding="utf-8")))
        files = [link.partition("#")[0] for link in links if not re.match(r"[a-z]+:", link)]
        waiting += [(page.parent / file).resolve() for file in files]
    assert set(PAGES) <= seen


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_readme_shows_an_example_as_it_is(example):
    shown = [code for _, code in BLOCK.findall(text("README.md"))]
    assert example.read_text(encoding="utf-8") in shown


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_well_formed(example):
    checks = {".mjs": [node(), "--check"], ".sh": ["bash", "-n"]}
    done = subprocess.run(
        [*checks[example.suffix], str(example)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_commands_of_a_page_are_verbs_of_the_makefile(page):
    verbs = set(re.findall(r"^([a-z-]+):.*##", text("Makefile"), re.MULTILINE))
    content = page.read_text(encoding="utf-8")
    code = [*re.findall(r"`(make [^`\n]+)`", content)]
    code += [line for _, block in BLOCK.findall(content) for line in block.splitlines()]
    for line in code:
        for verb in re.findall(r"(?:^|&& |= ?\S+ )make ([a-z-]+)", line):
            assert verb in verbs, f"make {verb}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_blocks_of_code_are_closed_and_json_is_json(page):
    content = page.read_text(encoding="utf-8")
    fences = re.findall(r"^ *```", content, re.MULTILINE)
    assert len(fences) % 2 == 0
    for language, block in BLOCK.findall(content):
        if language == "json":
            whole = block.replace("…", "null").strip()
            json.loads(whole if whole[0] in "{[" else f"{{{whole}}}")  # or members of an object


def test_the_version_is_told_alike_everywhere():
    version = re.search(r'^version = "([^"]+)"$', text("pyproject.toml"), re.MULTILINE)
    assert version
    assert re.search(rf"^## \[?{re.escape(version[1])}\]?", text("CHANGELOG.md"), re.MULTILINE)


def test_the_licence_is_apache_2():
    licence = text("LICENSE")
    assert "Apache License" in licence.split("\n\n")[0] + licence[:200]
    assert "Copyright 2026 The Keystow authors" in licence
    assert 'license = "Apache-2.0"' in text("pyproject.toml")
