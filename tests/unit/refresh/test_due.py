"""When a credential is due: early enough, never before it was given, and not all at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystow.refresh.due import (
    DAY_MS,
    due_at,
    is_valid,
    needs_refresh_before_read,
    next_check,
    next_due,
    read_margin,
)
from tests.support import CountingRandom

NOW = 1_767_225_600_000
MINUTE = 60_000
HOUR = 60 * MINUTE


class Fixed:
    """Randomness that always draws the lowest or the highest."""

    def __init__(self, byte: int) -> None:
        self._byte = byte

    def bytes(self, count: int) -> bytes:
        return bytes([self._byte]) * count


LATEST, EARLIEST = Fixed(0), Fixed(255)


@pytest.mark.parametrize(
    ("life", "wait"),
    [
        (10 * MINUTE, 7.5 * MINUTE),
        (HOUR, 45 * MINUTE),
        (HOUR + 1, 45 * MINUTE),
        (70 * MINUTE, 55 * MINUTE),
        (2 * HOUR, 1.6 * HOUR),
        (24 * HOUR, 19.2 * HOUR),
        (0, 0),
        (-5 * HOUR, 0),
    ],
)
def test_a_token_is_due_when_most_of_its_life_is_over(life: int, wait: float) -> None:
    assert due_at(NOW, NOW + life, LATEST) == pytest.approx(NOW + wait, abs=1)
    earliest = due_at(NOW, NOW + life, EARLIEST)
    assert earliest == pytest.approx(NOW + wait * 0.95, abs=1)


@given(st.integers(-DAY_MS, 400 * DAY_MS), st.integers(0, 7_200), st.text())
def test_a_token_is_never_due_before_it_was_given_nor_after_its_end(
    life: int, buffer: int, seed: str
) -> None:
    due = due_at(NOW, NOW + life, CountingRandom(repr(seed)), buffer)
    assert due is not None
    assert NOW <= due <= max(NOW, NOW + life)


def test_a_token_with_a_buffer_is_due_in_the_first_two_thirds_of_it() -> None:
    assert due_at(NOW, NOW + HOUR, EARLIEST, 300) == NOW + HOUR - 200_000
    assert due_at(NOW, NOW + HOUR, LATEST, 300) == NOW + HOUR - 100_000


def test_a_token_without_end_is_due_only_where_its_refresh_token_dies_unused() -> None:
    assert due_at(NOW, None, LATEST) is None
    assert next_due(NOW, None, None, LATEST) is None
    assert next_due(NOW, None, 30, LATEST) == NOW + 24 * DAY_MS
    assert next_due(NOW, NOW + HOUR, 30, LATEST) == NOW + 45 * MINUTE


def test_checks_come_once_a_day_and_spread() -> None:
    assert next_check(NOW, EARLIEST) == NOW + int(1.05 * DAY_MS)
    assert next_check(NOW, LATEST) == NOW + int(0.95 * DAY_MS)


@pytest.mark.parametrize(
    ("left", "life", "renewed", "margin", "needed"),
    [
        (MINUTE, HOUR, False, None, False),
        (MINUTE - 1, HOUR, False, None, True),
        (MINUTE - 1, HOUR, True, None, True),
        (40_000, 80_000, True, None, False),
        (39_999, 80_000, True, None, True),
        (40_000, 80_000, False, None, True),
        (30_000, HOUR, False, 30_000, False),
        (29_999, HOUR, False, 30_000, True),
        (-1, HOUR, False, None, True),
    ],
)
def test_a_reader_renews_a_token_in_its_last_minute_or_its_providers_margin(
    left: int, life: int, renewed: bool, margin: int | None, needed: bool
) -> None:
    end = NOW + left
    found = needs_refresh_before_read(end - life, end, NOW, renewed=renewed, margin=margin)
    assert found is needed


def test_a_token_without_end_is_valid_and_never_renewed_by_a_reader() -> None:
    assert is_valid(None, NOW)
    assert not needs_refresh_before_read(NOW, None, NOW, renewed=True)
    assert is_valid(NOW + 1, NOW)
    assert not is_valid(NOW, NOW)


def test_only_a_buffer_under_a_minute_is_a_margin_for_readers() -> None:
    assert [read_margin(seconds) for seconds in (0, 1, 59, 60, 300)] == [
        None,
        1_000,
        59_000,
        None,
        None,
    ]
