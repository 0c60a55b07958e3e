"""What of regular expressions an entry may use to find when to try again."""

from __future__ import annotations

import time

import pytest

from keystow.catalog.loader import built_in
from keystow.catalog.retry_text import check, found_in


@pytest.mark.parametrize(
    "value",
    [
        "/(.+)/",
        "/Retry after (.+)/",
        "/User-rate limit exceeded\\. +Retry after (.+)/",
        "/in (.+) seconds\\!/",
    ],
)
def test_text_around_one_group_is_taken(value: str) -> None:
    assert check(value) == value


@pytest.mark.parametrize(
    "value",
    [
        *("", "(.+)", "/text/", "/(.*)/", "/(.+)(.+)/", "/(a+)+(.+)/", "/(a|b)(.+)/", "/a*(.+)/"),
        *("/a+(.+)/", "/[a-z](.+)/", "/^a(.+)/", "/a.(.+)/", "/\\d(.+)/", "/a{9}(.+)/", "/a/(.+)/"),
        "/" + "a" * 201 + "(.+)/",
    ],
)
def test_anything_else_is_refused_and_finds_nothing(value: str) -> None:
    with pytest.raises(ValueError, match="form"):
        check(value)
    assert found_in("aaaa text 9", value) is None


def test_what_stands_there_is_found_soon_whatever_the_text() -> None:
    assert found_in("in 5 seconds!", "/in (.+) seconds\\!/") == "5"
    assert found_in("in 5 minutes", "/in (.+) seconds/") is None
    assert found_in("in " * 100_000 + " x", "/in +(.+) y/") is None
    began = time.process_time()
    for value in ("/ + + +(.+)x/", "/ +(.+)x/", "/" + " +" * 100 + "(.+)x/"):
        assert found_in(" " * 2_000, value) is None
    assert time.process_time() - began < 5  # it was hours


def test_the_built_in_entry_that_uses_it_is_understood() -> None:
    gmail = built_in("google")
    assert gmail is not None
    where = gmail.proxy["retry"]["in_body"]
    text = "User-rate limit exceeded.  Retry after 2026-01-01T00:00:00Z"
    assert found_in(text, where["value"]) == "2026-01-01T00:00:00Z"
