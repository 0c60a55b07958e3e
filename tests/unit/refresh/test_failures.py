"""How long is waited after a failed refresh: enough, and never without end."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystow.oauth.errors import Kind, TokenError
from keystow.records.connection import Failure
from keystow.refresh.failures import (
    AFTER_LEASE_MS,
    CONFIGURATION_FIRST_MS,
    LONGEST_MS,
    MOST_PATIENCE_MS,
    TRANSIENT_FIRST_MS,
    failure_of,
    told_of,
)
from tests.support import CountingRandom

NOW = 1_767_225_600_000
KINDS: tuple[Kind, ...] = get_args(Kind)


class Fixed:
    """Randomness that always draws the lowest or the highest."""

    def __init__(self, byte: int) -> None:
        self._byte = byte

    def bytes(self, count: int) -> bytes:
        return bytes([self._byte]) * count


LOWEST, HIGHEST = Fixed(0), Fixed(255)


def wait(
    kind: Kind,
    *,
    attempts: int = 1,
    retry_after: float | None = None,
    random: Fixed | CountingRandom = HIGHEST,
    lease: int = 0,
) -> int:
    """Return how long is waited after so many failures, in milliseconds."""
    error = TokenError(kind, "code", "Words", retry_after=retry_after)
    failure = failure_of(
        error,
        previous=earlier(attempts - 1) if attempts > 1 else None,
        now=NOW,
        lease_until=NOW + lease,
        log_id="log",
        random=random,
    )
    assert failure.attempts == attempts
    return failure.next_at - NOW


def earlier(attempts: int, *, doubt: bool = False) -> Failure:
    return Failure("transient", "code", "Words", NOW, attempts, NOW, "log", doubt=doubt)


@given(
    st.sampled_from(KINDS),
    st.integers(1, 10_000),
    st.none() | st.floats(min_value=0, max_value=1e15),
    st.text(),
)
def test_nothing_makes_a_connection_wait_longer_than_a_day_or_not_at_all(
    kind: Kind, attempts: int, retry_after: float | None, seed: str
) -> None:
    waited = wait(
        kind, attempts=attempts, retry_after=retry_after, random=CountingRandom(repr(seed))
    )
    assert TRANSIENT_FIRST_MS / 2 <= waited <= MOST_PATIENCE_MS == 86_400_000


def test_a_provider_that_asks_for_a_month_is_asked_again_after_a_day() -> None:
    assert wait("throttled", retry_after=30 * 86_400) == MOST_PATIENCE_MS


def test_a_provider_gets_the_patience_that_it_asks_for_up_to_a_day() -> None:
    assert wait("throttled", retry_after=3_600) == 3_600_000
    assert wait("throttled", retry_after=20 * 3_600) == 20 * 3_600_000


def test_patience_that_is_shorter_than_the_backoff_does_not_shorten_it() -> None:
    assert wait("throttled", attempts=4, retry_after=1) == 8 * TRANSIENT_FIRST_MS


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        ("transient", TRANSIENT_FIRST_MS),
        ("throttled", TRANSIENT_FIRST_MS),
        ("unknown_fate", TRANSIENT_FIRST_MS),
        ("configuration", CONFIGURATION_FIRST_MS),
        ("refused", CONFIGURATION_FIRST_MS),
    ],
)
def test_waits_double_from_one_failure_to_the_next_up_to_six_hours(kind: Kind, first: int) -> None:
    waits = [wait(kind, attempts=number) for number in (1, 2, 3, 30)]
    floor = AFTER_LEASE_MS if kind == "unknown_fate" else 0
    assert waits == [max(floor, each) for each in (first, 2 * first, 4 * first, LONGEST_MS)]


def test_chance_takes_up_to_half_of_a_wait() -> None:
    assert wait("transient", attempts=3, random=LOWEST) == 2 * TRANSIENT_FIRST_MS


def test_a_dead_grant_counts_as_the_longest_wait() -> None:
    assert wait("terminal") == LONGEST_MS


def test_nobody_tries_before_the_lease_of_a_lost_answer_is_over() -> None:
    assert wait("unknown_fate", lease=60_000, random=LOWEST) == 60_000 + AFTER_LEASE_MS
    assert wait("unknown_fate", attempts=30, lease=60_000) == LONGEST_MS


@pytest.mark.parametrize("kind", [each for each in KINDS if each != "terminal"])
def test_only_of_a_dead_grant_is_said_that_a_lost_answer_may_have_ended_it(kind: Kind) -> None:
    doubted = earlier(1, doubt=True)
    assert "used up" in told_of(TokenError("terminal", "invalid_grant", "Words"), doubted)
    assert told_of(TokenError("terminal", "invalid_grant", "Words"), earlier(1)) == "Words"
    assert told_of(TokenError(kind, "code", "Words"), doubted) == "Words"


@pytest.mark.parametrize("kind", KINDS)
def test_a_destination_that_is_not_allowed_is_a_matter_of_configuration(kind: Kind) -> None:
    failure = failure_of(
        TokenError(kind, "code"), previous=None, now=NOW, lease_until=NOW, log_id="", random=HIGHEST
    )
    assert failure.kind == ("configuration" if kind == "refused" else kind)


def test_doubt_about_a_token_stays_until_it_is_replaced() -> None:
    def after(error: TokenError, previous: Failure | None) -> bool:
        return failure_of(
            error, previous=previous, now=NOW, lease_until=NOW, log_id="", random=HIGHEST
        ).doubt

    never_left = TokenError("transient", "connect", sent=False)
    assert after(TokenError("unknown_fate", "lost"), None)
    assert after(never_left, earlier(1, doubt=True))
    assert not after(never_left, earlier(1))
    assert not after(never_left, None)


def test_what_is_told_is_bounded() -> None:
    long = TokenError("terminal", "c" * 500, "d" * 500)
    kept = failure_of(
        long, previous=earlier(1, doubt=True), now=NOW, lease_until=NOW, log_id="", random=HIGHEST
    )
    assert len(kept.code) == 100
    assert len(kept.description) <= 300
    assert len(told_of(TokenError("transient", "c", "d" * 500), None)) == 300
