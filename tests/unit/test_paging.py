"""A cursor comes back as it was, nothing else is one, and lists end in bounded work."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from keystow import paging
from keystow.errors import ApiError
from keystow.store import Put, tables
from tests.support import make_context

NUMBERS: list[dict[str, Any]] = [{"number": number} for number in range(10)]


@pytest.mark.parametrize("parts", [("a",), ("a", "b#c"), ("é", '"', "x" * 1_000)])
def test_a_cursor_comes_back_as_it_was_and_fits_a_query(parts: tuple[str, ...]) -> None:
    text = paging.cursor(*parts)

    assert text.isascii()
    assert not set(text) & set("+/=&%")
    assert paging.read_cursor(text, len(parts)) == parts


def encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "text",
    [
        *("", "!", "W", "é", "%00", "null", "[" * 5_000),
        *map(encoded, [[], ["a"], ["a", "b", "c"], ["a", ""], ["a", 1], {"a": "b"}, "ab", None]),
        encoded(["a", "x" * 1_001]),
        encoded(["a", "\ud800"]),
        base64.b64encode(b"\xff\xfe").decode(),
        encoded([[]])[:-1] + "=",
    ],
)
def test_what_was_never_a_cursor_is_refused(text: str) -> None:
    with pytest.raises(ApiError) as caught:
        paging.read_cursor(text, 2)

    assert caught.value.code == "invalid_query_params"
    assert caught.value.issues[0].path == ("cursor",)


def test_without_a_cursor_a_list_begins_at_its_beginning() -> None:
    assert paging.read_cursor(None, 2) is None


@pytest.mark.parametrize(
    ("limit", "examine", "found", "last"),
    [
        (3, 100, [0, 2, 4], 4),
        (5, 100, [0, 2, 4, 6, 8], 8),
        (6, 100, [0, 2, 4, 6, 8], None),
        (100, 4, [0, 2], 3),
        (100, 10, [0, 2, 4, 6, 8], None),
    ],
)
def test_a_page_ends_at_its_limit_or_at_the_bound_of_its_work(
    limit: int, examine: int, found: list[int], last: int | None
) -> None:
    looked_at = []

    def even(item: dict[str, Any]) -> bool:
        looked_at.append(item["number"])
        return bool(item["number"] % 2 == 0)

    items, end = paging.matching(NUMBERS, even, limit=limit, examine=examine)

    assert [item["number"] for item in items] == found
    assert (end["number"] if end else None) == last
    assert len(looked_at) <= examine


def test_newest_first_over_many_pages_and_from_any_place() -> None:
    ctx: Any = make_context()
    for number in range(paging.PAGE + 10):
        key = tables.delivery(f"e{number:04d}", 0)
        ctx.store.put(Put(key, {"environment": "env1", "created": f"{number:04d}"}))

    def walk(after: dict[str, Any] | None) -> list[int]:
        rows = paging.newest(ctx.store, tables.EVENTS, "by_environment", "env1", after)
        return [int(row["created"]) for row in rows]

    everything = list(range(paging.PAGE + 9, -1, -1))
    after = {"created": "0100", "pk": "e0100", "sk": "delivery#0"}
    assert walk(None) == everything
    assert walk(after) == everything[everything.index(100) + 1 :]
