"""When a provider's answer is one after which another attempt makes sense, and after what pause."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from keystow.egress.client import Answer
from keystow.proxy.retrying import FIRST_PAUSE_SECONDS, is_passing, pause
from tests.support import CountingRandom

NOW = 1_767_225_600.0


def answer(status: int, **headers: str) -> Answer:
    return Answer(status, {name.replace("_", "-"): text for name, text in headers.items()}, b"")


@pytest.mark.parametrize(
    ("status", "entry", "also", "passes"),
    [
        *((status, {}, (), True) for status in (401, 429, 500, 502, 503, 504, 599)),
        *((status, {}, (), False) for status in (200, 204, 301, 304, 400, 403, 404, 409, 422)),
        (409, {}, (409,), True),
        (200, {}, (200,), False),
        (404, {"error_code": ["4xx"]}, (), True),
        (403, {"error_code": ["403", "5xx"]}, (), True),
        (500, {"error_code": ["403", "5xx"]}, (), True),
        (429, {"error_code": ["403"]}, (), False),
        (429, {"error_code": ["403"]}, (429,), True),
    ],
)
def test_a_status_passes_by_itself(
    status: int, entry: dict[str, Any], also: tuple[int, ...], passes: bool
) -> None:
    assert is_passing(answer(status), entry, also) is passes


def test_an_exhausted_budget_passes_whatever_the_status() -> None:
    entry = {"remaining": "X-Remaining", "error_code": ["5xx"]}
    assert is_passing(answer(403, x_remaining="0"), entry, ())
    assert not is_passing(answer(403, x_remaining="1"), entry, ())
    assert not is_passing(answer(200, x_remaining="0"), entry, ())


@pytest.mark.parametrize(
    ("headers", "entry", "seconds"),
    [
        ({"retry_after": "7"}, {}, 7),
        ({"retry_after": "Thu, 01 Jan 2026 00:00:09 GMT"}, {}, 9),
        ({"retry_after": "7", "x_reset": "3"}, {"after": ["X-Reset"]}, 3),
        ({"x_b": "4"}, {"after": ["x-a", "x-b"]}, 4),
        ({"x_reset": str(int(NOW) + 12)}, {"at": ["x-reset"]}, 12),
        ({"x_reset": str(int(NOW + 12) * 1000)}, {"at": ["x-reset"]}, 12),
        ({"x_reset": str(int(NOW) - 12)}, {"at": ["x-reset"]}, 0),
        ({"x_reset": "soon", "retry_after": "2"}, {"at": ["x-reset"]}, 2),
    ],
)
def test_the_provider_says_how_long_to_wait(
    headers: dict[str, str], entry: dict[str, Any], seconds: float
) -> None:
    assert pause(answer(429, **headers), entry, 1, NOW, CountingRandom()) == pytest.approx(seconds)


IN_BODY = {"path": "error.message", "value": "/Rate limit\\. +Retry after (.+)/"}


def told(message: Any, **headers: str) -> Answer:
    body = json.dumps({"error": {"message": message}}).encode()
    if headers.get("content_encoding"):
        body = gzip.compress(body)
    return Answer(429, answer(429, **headers).headers, body)


@pytest.mark.parametrize(
    ("message", "strategy", "seconds"),
    [
        ("Rate limit.  Retry after 2026-01-01T00:00:08.000Z", "at", 8),
        (f"Rate limit. Retry after {int(NOW) + 8}", "at", 8),
        ("So: Rate limit. Retry after 8", "after", 8),
        ("Rate limit. Retry after 2025-01-01T00:00:00Z", "at", 0),
        ("Rate limit. Retry after tomorrow", "at", 3),
        ("Rate limit. Retry after a while", "after", 3),
        ("Something else", "at", 3),
        (["Rate limit. Retry after 8"], "after", 3),
    ],
)
@pytest.mark.parametrize("coding", ["", "gzip"])
def test_the_text_of_an_error_may_say_so(
    message: Any, strategy: str, seconds: float, coding: str
) -> None:
    entry = {"in_body": {**IN_BODY, "strategy": strategy}}
    found = told(message, retry_after="3", content_encoding=coding)
    assert pause(found, entry, 1, NOW, CountingRandom()) == pytest.approx(seconds)


def test_a_body_that_is_none_says_nothing() -> None:
    entry = {"in_body": {**IN_BODY, "strategy": "at"}}
    found = Answer(429, {"retry-after": "3"}, b"<html>")
    assert pause(found, entry, 1, NOW, CountingRandom()) == 3


@pytest.mark.parametrize("reason", [answer(500), answer(429, retry_after="often"), None])
def test_without_a_word_the_pause_doubles_and_is_left_to_chance(reason: Answer | None) -> None:
    random = CountingRandom()
    for attempt in (1, 2, 3, 4):
        least = FIRST_PAUSE_SECONDS * 2 ** (attempt - 1)
        found = {pause(reason, {}, attempt, NOW, random) for _ in range(20)}
        assert least <= min(found) < max(found) <= least * 1.5
