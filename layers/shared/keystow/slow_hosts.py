"""A worker gives slow hosts a share of its time, and the rest of it to everybody else.

One container, one host that takes 20 s to answer and many that take none:

    batch 1   slow slow fast fast │20 s   the first time it costs what it costs; now it is known
    batch 2   slow fast fast fast │0 s    the container rests from slow hosts: put off, not asked
    ...                           │       for three times as long as they have taken
    batch 9   slow fast fast fast │20 s   asked again, at most so many at once

However many slow hosts there are, and whoever they belong to, together they hold up a worker for
about a quarter of its time. What is put off has not failed. What one container has learnt is not
written anywhere: another learns it with its first batch.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from keystow.clock import Clock

# An exchange that takes so long makes its host a slow one.
SLOW_SECONDS: Final = 5.0
# A container rests from slow hosts for so many times as long as the last one has taken.
REST: Final = 3
# Requests at one slow host at a time, in one container.
AT_ONCE: Final = 25
# A host that was slow is taken for slow for so long, unless it is quick meanwhile.
REMEMBERED_SECONDS: Final = 900
_MOST_REMEMBERED: Final = 5_000


class SlowHosts:
    """What one container knows of slow hosts; its methods may be called by many threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._slow_until: dict[tuple[str, str], float] = {}
        self._in_flight: dict[tuple[str, str], int] = {}
        self._rest_until = 0.0

    def admit(self, environment: str, host: str, at_once: int = AT_ONCE) -> bool:
        """Return whether a host may be asked now; if so, :meth:`ended` must follow.

        Args:
            environment: whose request; what one has seen of a host says nothing for another.
            host: with its port.
            at_once: requests at it at a time, once it is known to be slow.
        """
        name = environment, host
        now = self._clock.now()
        with self._lock:
            under_way = self._in_flight.get(name, 0)
            if self._slow_until.get(name, 0) > now and (
                now < self._rest_until or under_way >= at_once
            ):
                return False
            self._in_flight[name] = under_way + 1
            return True

    def ended(self, environment: str, host: str, seconds: float | None) -> None:
        """Take note of how long an exchange took; None: there was none, or it says nothing."""
        name = environment, host
        now = self._clock.now()
        with self._lock:
            under_way = self._in_flight.pop(name, 0) - 1
            if under_way > 0:
                self._in_flight[name] = under_way
            if seconds is None:
                return
            if seconds < SLOW_SECONDS:
                self._slow_until.pop(name, None)
                return
            if len(self._slow_until) >= _MOST_REMEMBERED:
                self._slow_until = {
                    each: until for each, until in self._slow_until.items() if until > now
                }
            if len(self._slow_until) < _MOST_REMEMBERED:
                self._slow_until[name] = now + REMEMBERED_SECONDS
            self._rest_until = max(self._rest_until, now + REST * seconds)
