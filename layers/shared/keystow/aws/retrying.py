"""What is asked again, how often and when: AWS's "standard" retries, as its SDKs do them.

Transient faults and throttling are tried again after a random time that grows, three times at most
after the first. Each repeat takes from a budget of the container, which successes fill up, so that
an outage is not answered with a storm (AWS SDKs reference, "Retry behavior").
"""

from __future__ import annotations

import random
import threading
from typing import Final

from keystow.aws.errors import AwsError, AwsRefused

MOST_ATTEMPTS: Final = 4
_LONGEST_SECONDS: Final = 20.0
# Of the system's randomness: containers that are restored from one snapshot shall differ.
LOTS: Final = random.SystemRandom()

_TRANSIENT: Final = {
    "PriorRequestNotComplete",
    "ReplicatedWriteConflictException",  # of DynamoDB's global tables
    "RequestTimeout",
    "RequestTimeoutException",
}
_TRANSIENT_STATUS: Final = {500, 502, 503, 504}
_THROTTLED: Final = {
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionInProgressException",
}
# Asking again changes nothing about these.
_LASTING: Final = {"CredentialsUnavailable", "AnswerTooLarge"}

_CAPACITY: Final = 500
_COST: Final = 5
_COST_OF_TIME_OUT: Final = 10
_TIME_OUTS: Final = {"ConnectTimedOut", "ReadTimedOut"}


def is_worth_repeating(error: AwsError) -> bool:
    """Return whether the same request may well succeed a moment later."""
    if isinstance(error, AwsRefused):
        return (
            error.code in _TRANSIENT
            or error.code in _THROTTLED
            or error.status in _TRANSIENT_STATUS
        )
    return error.code not in _LASTING


def pause_before(repeat: int) -> float:
    """Return how many seconds to wait before the ``repeat``-th repeat (1: the first)."""
    return LOTS.random() * min(2.0 ** (repeat - 1), _LONGEST_SECONDS)


class Budget:
    """How many repeats a client may still make; threads share it."""

    def __init__(self) -> None:
        self._left = _CAPACITY
        self._lock = threading.Lock()

    def take(self, error: AwsError) -> int:
        """Take what a repeat after an error costs; return it, 0 when there is not as much left."""
        cost = _COST_OF_TIME_OUT if error.code in _TIME_OUTS else _COST
        with self._lock:
            if cost > self._left:
                return 0
            self._left -= cost
            return cost

    def give(self, taken: int) -> None:
        """Give back what the last repeat of a call that succeeded took, or 1 where none was."""
        if self._left < _CAPACITY:
            with self._lock:
                self._left = min(_CAPACITY, self._left + (taken or 1))
