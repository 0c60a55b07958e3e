"""What no library gives is marked as such, in the entry and in the docs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from keystow.catalog import loader

DOCS = Path(__file__).parents[3] / "docs/catalogue.md"
MARKS = ("provider", "general")


def table() -> list[tuple[str, list[str], str]]:
    """Return entry, fields and origin of every row."""
    _, _, section = DOCS.read_text(encoding="utf-8").partition("### Facts that no library gives")
    rows = []
    for line in section.splitlines():
        if not line.startswith("| `"):
            continue
        entries, fields, origin = line.split("|")[1:4]
        named = re.findall(r"`([^`]+)`", fields)
        rows += [(each, named, origin.strip()) for each in re.findall(r"`([^`]+)`", entries)]
    return rows


def own(id_: str) -> dict[str, Any]:
    provider = loader.built_in(id_)
    assert provider is not None
    return dict(provider.definition)


@pytest.mark.parametrize("mark", MARKS)
def test_the_docs_name_every_entry_with_facts_that_no_library_gives(mark: str) -> None:
    listed = {entry for entry, _fields, origin in table() if origin == mark}
    alike = {"confluence": "jira", "google-mail": "google"} | dict.fromkeys(
        ("google-calendar", "google-drive"), "google"
    )
    marked = {alike.get(id_, id_) for id_ in loader.built_in_ids() if mark in own(id_)["sources"]}
    assert listed == marked


def test_the_docs_name_fields_that_are_there() -> None:
    rows = table()
    assert len(rows) > 20
    for entry, fields, origin in rows:
        assert origin in MARKS
        assert fields, entry
        for field in fields:
            part: Any = own(entry)
            for step in field.split("."):
                part = part[step]
            assert part, (entry, field)


def test_a_life_of_a_refresh_token_or_a_way_to_try_a_key_is_never_unmarked() -> None:
    marked = {(entry, field) for entry, fields, _origin in table() for field in fields}
    for id_ in loader.built_in_ids():
        if id_ in {"confluence", "google-mail", "google-calendar", "google-drive"}:
            continue  # aliases
        for field in ("refresh_token_life_days", "device_authorization_url", "host_replacements"):
            if field in own(id_):
                assert (id_, field) in marked


def test_an_entry_is_corroborated_by_two_libraries_at_least() -> None:
    for id_ in loader.built_in_ids():
        libraries = set(own(id_)["sources"]) - set(MARKS)
        if own(id_)["corroborated"]:
            assert len(libraries) > 1, id_
