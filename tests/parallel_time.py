"""Time for what runs side by side: each job has its own, and a round takes as long as its longest.

Nothing waits: who takes 20 s says so, and the clock is moved when the round is over.
"""

from __future__ import annotations

import threading

from keystow.slow_hosts import AT_ONCE, SlowHosts
from tests.support import START, StoppedClock


class ParallelClock(StoppedClock):
    """A clock on which jobs of one round take their time at once."""

    def __init__(self, now: float = START) -> None:
        super().__init__(now)
        self._mine = threading.local()
        self._longest = 0.0

    def now(self) -> float:
        return self._now + getattr(self._mine, "spent", 0.0)

    def job_begins(self) -> None:
        """Begin at the time of the round, whatever this thread did before."""
        self._mine.spent = 0.0

    def takes(self, seconds: float) -> None:
        """Let this job have taken so long."""
        self._mine.spent = getattr(self._mine, "spent", 0.0) + seconds
        with self._lock:
            self._longest = max(self._longest, self._mine.spent)

    def round_over(self) -> float:
        """Move on to the end of the longest job and return how long it took."""
        took, self._longest = self._longest, 0.0
        self._mine.spent = 0.0
        self.advance(took)
        return took


class JobHosts(SlowHosts):
    """Asks for leave, and so tells the clock that a job begins."""

    def __init__(self, clock: ParallelClock) -> None:
        super().__init__(clock)
        self._parallel = clock

    def admit(self, environment: str, host: str, at_once: int = AT_ONCE) -> bool:
        self._parallel.job_begins()
        return super().admit(environment, host, at_once)
