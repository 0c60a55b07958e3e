"""The table of docs/security/rfc9700.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
TABLE = ROOT / "docs" / "security" / "rfc9700.md"


def existing_tests() -> set[str]:
    sources = (path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    return {name for text in sources for name in re.findall(r"^def (test_\w+)", text, re.MULTILINE)}


def test_every_test_that_the_table_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", TABLE.read_text()))
    assert len(named) > 30
    assert named - existing_tests() == set()


def test_every_row_names_a_test_or_the_handlers() -> None:
    rows = [line for line in TABLE.read_text().splitlines() if re.match(r"\| \d", line)]
    assert len(rows) > 30
    for row in rows:
        last = row.rstrip("| ").rpartition("|")[2]
        assert "`test_" in last or last.strip() == "handlers", row
