"""Reads the project's documentation as data: tables, sections, code blocks, links."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

from local import template as templates

ROOT = Path(__file__).resolve().parents[3]
TEMPLATE = templates.load(ROOT / "template.yaml")
CODE = re.compile(r"`([^`\n]+)`")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def text(name: str) -> str:
    """The text of a file of the project."""
    return (ROOT / name).read_text(encoding="utf-8")


def pages() -> list[Path]:
    """Every page of the documentation."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def sections(page: str, level: int) -> dict[str, str]:
    """Heading → the text below it, until the next heading of this level or above."""
    found: dict[str, str] = {}
    heading = None
    fenced = False
    for line in page.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        marks = len(line) - len(line.lstrip("#"))
        if not fenced and 1 <= marks <= level and line[marks : marks + 1] == " ":
            heading = line[marks + 1 :].strip() if marks == level else None
            if heading is not None:
                assert heading not in found, f"{heading!r} stands twice"
                found[heading] = ""
        elif heading is not None:
            found[heading] += line + "\n"
    return found


def rows(page: str) -> list[list[str]]:
    """The cells of every row of every table, without headings and rules."""
    found: list[list[str]] = []
    lines = [*page.splitlines(), ""]
    for place, line in enumerate(lines[:-1]):
        if not line.startswith("|") or re.fullmatch(r"[|:\- ]+", line):
            continue
        if re.fullmatch(r"\|[|:\- ]+", lines[place + 1]):
            continue  # a heading
        cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
        found.append([cell.strip() for cell in cells])
    return found


def names(cell: str) -> list[str]:
    """What stands in backticks."""
    return CODE.findall(cell)


def constant(place: str) -> Any:
    """The value that ``module:NAME``, ``file.py:NAME`` or ``template.yaml:A.B`` names."""
    where, _, name = place.partition(":")
    if where == "template.yaml":
        value: Any = TEMPLATE
        for step in name.split("."):
            value = value[int(step)] if isinstance(value, list) else value[step]
        return value
    if where.endswith(".py"):
        spec = importlib.util.spec_from_file_location("documented", ROOT / where)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(where)
    return getattr(module, name)
