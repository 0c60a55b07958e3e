"""Time, handed in so that a test can stop it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final, Protocol

# The last millisecond that a year of four digits can say. Some servers say "never" with it, and
# with finer parts of a second, which a float rounds up into the next year.
LAST_MOMENT: Final = 253_402_300_799.999


class Clock(Protocol):
    """What the domain may know of time."""

    def now(self) -> float:
        """Return seconds since the epoch (UTC)."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait; only where a reader waits for somebody else's refresh."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        """Return seconds since the epoch (UTC)."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait for that many seconds."""
        time.sleep(seconds)


def iso(epoch: float) -> str:
    """Return epoch seconds as ``2026-01-01T00:00:00.000Z``, the form of dates in credentials.

    Args:
        epoch: between the years 1 and 9999; at most ``LAST_MOMENT``.
    """
    seconds, thousandths = divmod(int(epoch * 1000 + 0.5), 1000)
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{thousandths:03d}Z"


def iso_offset(epoch: float) -> str:
    """Return epoch seconds as ``2026-01-01T00:00:00.000+00:00``, the form of read connections."""
    return iso(epoch)[:-1] + "+00:00"


def parse_iso(text: str) -> float | None:
    """Return the epoch seconds of an ISO 8601 date, or None when the text is none.

    A date without an offset is taken as UTC. None is beyond ``LAST_MOMENT``, so that :func:`iso`
    can say each of them again.
    """
    try:
        moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00").replace("z", "+00:00"))
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        return min(moment.timestamp(), LAST_MOMENT)
    except (OverflowError, ValueError):
        return None


def parse_date(text: str) -> float | None:
    """Return the epoch seconds of an ISO 8601 date or of one as in HTTP and mail (RFC 5322).

    None when the text is neither. A date without an offset is taken as UTC.
    """
    moment = parse_iso(text)
    if moment is not None:
        return moment
    from email.utils import parsedate_to_datetime  # the hot path has ISO dates only

    try:
        found = parsedate_to_datetime(text)
        return min((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp(), LAST_MOMENT)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
