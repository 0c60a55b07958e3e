"""When a delivery is tried again: ten attempts over 75 hours, as Standard Webhooks asks for."""

from __future__ import annotations

import math
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from keystow.ids import Randomness

_MINUTE: Final = 60
_HOUR: Final = 3600

# Between one attempt and the next, in seconds.
DELAYS: Final = (
    5,
    5 * _MINUTE,
    30 * _MINUTE,
    2 * _HOUR,
    5 * _HOUR,
    10 * _HOUR,
    14 * _HOUR,
    20 * _HOUR,
    24 * _HOUR,
)
ATTEMPTS: Final = len(DELAYS) + 1
JITTER: Final = 0.1
LONGEST_RETRY_AFTER: Final = 24 * _HOUR


def delay_after(attempt: int, random: Randomness, asked: float | None = None) -> int:
    """Return whole seconds from a failed attempt to the next.

    Args:
        attempt: the one that failed, from 1 to ``ATTEMPTS - 1``.
        random: spreads receivers' load: a tenth earlier or later.
        asked: seconds that the receiver asked for; it is never tried earlier, but for the bound
            of 24 hours.
    """
    drawn = int.from_bytes(random.bytes(2)) / 0xFFFF
    delay = DELAYS[attempt - 1] * (1 - JITTER + 2 * JITTER * drawn)
    if asked is not None:
        asked = min(asked, LONGEST_RETRY_AFTER)
        if asked > delay:
            delay = asked * (1 + JITTER * drawn)
    return max(1, math.ceil(delay))


def retry_after(header: str | None, now: float) -> float | None:
    """Return the seconds of a Retry-After header (RFC 9110, section 10.2.3), or None."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None
