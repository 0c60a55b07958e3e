"""When a request to a provider's API is sent again, and after what pause (contract 7, 14.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from keystow.catalog.interpolate import value_of
from keystow.catalog.retry_text import found_in
from keystow.clock import parse_iso
from keystow.egress.errors import EgressFailed
from keystow.egress.reading import json_of
from keystow.egress.receiving import unpacked
from keystow.oauth.errors import retry_after

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from keystow.egress.client import Answer
    from keystow.ids import Randomness

FIRST_PAUSE_SECONDS: Final = 0.5
_MILLISECONDS_FROM: Final = 100_000_000_000  # no epoch in seconds is as large before the year 5138
_MOST: Final = 0xFFFF
_MOST_BYTES: Final = 1_000_000  # of a body that is looked into


def is_passing(answer: Answer, entry: Mapping[str, Any], also: Collection[int]) -> bool:
    """Return whether an answer is one after which another attempt makes sense.

    Args:
        answer: of the provider.
        entry: ``proxy.retry`` of its entry.
        also: statuses that the caller adds.
    """
    status = answer.status
    if status < 400:  # noqa: PLR2004 - RFC 9110 section 15
        return False
    remaining = entry.get("remaining")
    if status in also or (remaining and answer.headers.get(remaining.lower(), "").strip() == "0"):
        return True
    codes = entry.get("error_code")
    if codes:
        return f"{status}" in codes or f"{status // 100}xx" in codes
    return status >= 500 or status in {401, 429}  # noqa: PLR2004


def pause(
    answer: Answer | None,
    entry: Mapping[str, Any],
    attempt: int,
    now: float,
    random: Randomness,
) -> float:
    """Return the seconds to wait before another attempt.

    What the provider says counts, in the entry's headers or ``Retry-After``; else the pause doubles
    with each attempt, and is up to a half longer by chance.

    Args:
        answer: of the provider; None when none came.
        entry: ``proxy.retry`` of its entry.
        attempt: how many were made, from 1.
        now: epoch seconds.
        random: for what is left to chance.
    """
    told = None if answer is None else _told(answer, entry, now)
    if told is not None:
        return told
    chance = int.from_bytes(random.bytes(2)) / _MOST / 2
    return float(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1) * (1 + chance))


def _told(answer: Answer, entry: Mapping[str, Any], now: float) -> float | None:
    for name in entry.get("at") or ():
        moment = _number(answer.headers.get(name.lower(), ""))
        if moment is not None:
            return max(0.0, _seconds(moment) - now)
    for name in entry.get("after") or ():
        # As Retry-After: seconds, or a date.
        seconds_left = retry_after({"retry-after": answer.headers.get(name.lower(), "")}, now)
        if seconds_left is not None:
            return seconds_left
    in_body = entry.get("in_body")
    told = _told_in(answer, in_body, now) if in_body else None
    return retry_after(answer.headers, now) if told is None else told


def _told_in(answer: Answer, where: Mapping[str, Any], now: float) -> float | None:
    """Return the seconds to wait that the body's text names, as a date or a number."""
    try:
        body = unpacked(answer.body, answer.headers.get("content-encoding", ""), _MOST_BYTES)
        text = value_of(json_of(body, answer.headers.get("content-type", "")), where["path"])
    except (ValueError, EgressFailed):
        return None
    said = found_in(text, where["value"]) if isinstance(text, str) else None
    if said is None:
        return None
    number = _number(said)
    if where["strategy"] == "after":
        return number
    moment = parse_iso(said) if number is None else _seconds(number)
    return None if moment is None else max(0.0, moment - now)


def _seconds(moment: float) -> float:
    return moment / 1000 if moment >= _MILLISECONDS_FROM else moment


def _number(text: str) -> float | None:
    text = text.strip()
    return float(text) if text.replace(".", "", 1).isdecimal() and text.isascii() else None
