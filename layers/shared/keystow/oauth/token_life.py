"""When a token ends, read from the many ways in which providers say so.

The order of what is believed: a fixed life of the entry, what the answer says, what the entry says
for answers that are silent, the ``exp`` of a token that is a JWT (RFC 7519 §4.1.4). What can be
asked of the provider (RFC 7662) is in ``introspection``.
"""

from __future__ import annotations

import base64
import math
import re
from typing import TYPE_CHECKING, Any, Final

from keystow.clock import parse_date
from keystow.egress.reading import json_of

if TYPE_CHECKING:
    from collections.abc import Sequence

_LONGEST_LIFE: Final = 100 * 366 * 86_400.0  # beyond a century a token does not expire
# A larger number of seconds is no life but a moment: 1e9 s are 31 years, or the year 2001.
_LONGEST_NUMBER: Final = 1e9
# From which number on a moment is in thousandths, millionths, billionths of seconds: as seconds the
# first is the year 5138, as milliseconds 1973.
_FINER: Final = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))
_LONGEST_TEXT: Final = 100
_MOST_PARTS: Final = 3  # header, claims and signature of a JWT (RFC 7515 §3.1)

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
_AMOUNT: Final = re.compile(
    r"([0-9]+(?:\.[0-9]+)?)\s*"
    r"(ms|millis(?:econds?)?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?)\.?",
    re.IGNORECASE,
)
# As Go writes a span: 1h30m0s.
_GO: Final = re.compile(r"(?=[0-9])(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+(?:\.[0-9]+)?)s)?")
_ISO_DURATION: Final = re.compile(
    r"P(?:([0-9.]+)Y)?(?:([0-9.]+)M)?(?:([0-9.]+)W)?(?:([0-9.]+)D)?"
    r"(?:T(?:([0-9.]+)H)?(?:([0-9.]+)M)?(?:([0-9.]+)S)?)?",
    re.IGNORECASE,
)
_ISO_SECONDS: Final = (31_536_000.0, 2_592_000.0, 604_800.0, 86_400.0, 3_600.0, 60.0, 1.0)
_CLOCK: Final = re.compile(
    r"(?:([0-9]{1,6})\.)?([0-9]{1,4}):([0-5][0-9]):([0-5][0-9](?:\.[0-9]+)?)"
)
_THOUSANDS: Final = re.compile(
    r"[0-9]{1,3}(?:([,' \u00a0\u202f])[0-9]{3})(?:\1[0-9]{3})*(?:\.[0-9]+)?"
)
_ASP_NET: Final = re.compile(r"\\?/Date\((-?[0-9]{1,17})(?:[+-][0-9]{4})?\)\\?/")
_DATE: Final = re.compile(
    r"([0-9]{4})[-/]([0-9]{2})[-/]([0-9]{2})[T ]\s*([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?)"
    r"\s*(Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2})?(?:\s+(?:UTC|GMT))?",
    re.IGNORECASE,
)
_NAMED_ZONE: Final = re.compile(r"\[[A-Za-z0-9_+/-]{1,40}\]$")
_ZONE: Final = re.compile(r"(?:Z|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?|[A-Z]{3,4})$", re.IGNORECASE)


def expiry(expires_at: Any, expires_in: Any, now: float) -> float | None:
    """Return when a token ends, in epoch seconds, or None when nothing sensible is said.

    Args:
        expires_at: a moment, see :func:`moment`; one that is over already, or further away than a
            century, counts as not said. A date that names no zone gives way to a readable
            `expires_in`, since nobody knows whose clock it is of.
        expires_in: a life from now, or a moment where a life belongs. Zero, negative, endless and
            unreadable values mean "not known": no server issues a token that is already over, and
            treating it so would refresh it in a storm.
        now: epoch seconds.
    """
    ends = _ahead(moment(expires_at), now)
    vague = isinstance(expires_at, str) and _number(expires_at) is None
    if ends is not None and not (vague and _ZONE.search(str(expires_at).strip()) is None):
        return ends
    return _end_of(expires_in, now) or ends


def moment(value: Any) -> float | None:
    """Return the epoch seconds of a date in any of the forms that token answers have (9.3).

    Args:
        value: ISO 8601 text, an HTTP date, or seconds since the epoch, or a finer unit, as number
            or text. A date without a zone is taken as UTC.

    Returns:
        None when it is none of them, or before 1970. Dates that name day and month by number in an
        order of their own (10/11/2031) are none: nobody knows which is which.
    """
    number = _number(value)
    if number is None and isinstance(value, str):
        return _date(value.strip())
    if number is None or number <= 0:
        return None
    return next((number / part for above, part in _FINER if number >= above), number)


def seconds_of(value: Any) -> float | None:
    """Return a span in seconds: a number, or text such as ``7200s``, ``PT2H`` or ``02:00:00``."""
    number = _number(value)
    if number is not None or not isinstance(value, str) or len(value) > _LONGEST_TEXT:
        return number
    text = value.strip()
    if _THOUSANDS.fullmatch(text):
        return _number(re.sub(r"[^0-9.]", "", text))
    if found := _AMOUNT.fullmatch(text):
        unit = found[2].lower()
        return float(found[1]) * _UNITS["ms" if unit.startswith(("ms", "milli")) else unit[0]]
    if (found := _ISO_DURATION.fullmatch(text)) and any(found.groups()):
        return _summed(found.groups(), _ISO_SECONDS)
    if found := _GO.fullmatch(text):
        return _summed(found.groups(), _ISO_SECONDS[-3:])
    if found := _CLOCK.fullmatch(text):
        days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
        return days * 86_400 + hours * 3_600 + minutes * 60 + seconds
    return None


def end_in_jwt(token: str, now: float) -> float | None:
    """Return when a token ends by its own ``exp``; None when it is no JWT, or does not say.

    The signature is not checked: what is read came straight from the token endpoint, and decides
    only when to ask for another token.
    """
    parts = token.split(".", _MOST_PARTS)
    if len(parts) != _MOST_PARTS:
        return None
    header, claims = (_decoded(part) for part in parts[:2])
    if not isinstance(header, dict) or "alg" not in header or not isinstance(claims, dict):
        return None
    return _ahead(moment(claims.get("exp")), now)


def _summed(parts: Sequence[str | None], units: Sequence[float]) -> float:
    pairs = zip(parts, units, strict=True)
    return sum((_number(part) or 0.0) * seconds for part, seconds in pairs if part)


def _decoded(part: str) -> Any:
    try:
        return json_of(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except ValueError:
        return None


def _end_of(expires_in: Any, now: float) -> float | None:
    if isinstance(expires_in, list) and len(expires_in) == 1:
        expires_in = expires_in[0]
    seconds = seconds_of(expires_in)
    if seconds is None or seconds > _LONGEST_NUMBER:
        return _ahead(moment(expires_in), now)
    return _ahead(now + seconds, now)


def _ahead(ends: float | None, now: float) -> float | None:
    return ends if ends is not None and 0 < ends - now <= _LONGEST_LIFE else None


def _date(text: str) -> float | None:
    if len(text) > _LONGEST_TEXT:
        return None
    if found := _ASP_NET.fullmatch(text):
        return max(0, int(found[1])) / 1000 or None
    # Go adds a clock of its own, Java the name of a zone.
    if found := _DATE.fullmatch(_NAMED_ZONE.sub("", text.partition(" m=")[0])):
        year, month, day, time, zone = found.groups()
        offset = "+00:00" if (zone or "Z").upper() in {"Z", "UTC", "GMT"} else zone
        text = f"{year}-{month}-{day}T{time}{offset}"
    ends = parse_date(text)
    return ends if ends is not None and ends > 0 else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
