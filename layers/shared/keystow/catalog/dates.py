"""Formats an instant by the tokens of day.js (`YYYY-MM-DD`, `X`, `[literal]` …), always in UTC.

Names of days and months are English whatever the locale of the machine, as signatures need them.
"""

import calendar
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_TOKEN = re.compile(
    r"\[([^\]]*)\]|YYYY|YY|MMMM|MMM|MM|M|DD|D|dddd|ddd|dd|d|HH|H|hh|h|A|a|mm|m|ss|s|SSS|ZZ|Z|X|x"
)
_NOON = 12


def _weekday(when: datetime) -> int:
    return when.isoweekday() % 7  # Sunday is 0, as in JavaScript


def _epoch_ms(when: datetime) -> int:
    return (when - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


_FORMATS: dict[str, Callable[[datetime], str]] = {
    "YYYY": lambda t: f"{t.year:04d}",
    "YY": lambda t: f"{t.year % 100:02d}",
    "MMMM": lambda t: _MONTHS[t.month - 1],
    "MMM": lambda t: _MONTHS[t.month - 1][:3],
    "MM": lambda t: f"{t.month:02d}",
    "M": lambda t: str(t.month),
    "DD": lambda t: f"{t.day:02d}",
    "D": lambda t: str(t.day),
    "dddd": lambda t: _DAYS[_weekday(t)],
    "ddd": lambda t: _DAYS[_weekday(t)][:3],
    "dd": lambda t: _DAYS[_weekday(t)][:2],
    "d": lambda t: str(_weekday(t)),
    "HH": lambda t: f"{t.hour:02d}",
    "H": lambda t: str(t.hour),
    "hh": lambda t: f"{t.hour % _NOON or _NOON:02d}",
    "h": lambda t: str(t.hour % _NOON or _NOON),
    "A": lambda t: "AM" if t.hour < _NOON else "PM",
    "a": lambda t: "am" if t.hour < _NOON else "pm",
    "mm": lambda t: f"{t.minute:02d}",
    "m": lambda t: str(t.minute),
    "ss": lambda t: f"{t.second:02d}",
    "s": lambda t: str(t.second),
    "SSS": lambda t: f"{t.microsecond // 1000:03d}",
    "ZZ": lambda _: "+0000",
    "Z": lambda _: "+00:00",
    "X": lambda t: str(_epoch_ms(t) // 1000),
    "x": lambda t: str(_epoch_ms(t)),
}


def parse_iso(text: str) -> datetime | None:
    """Reads an ISO 8601 instant (`2026-01-01T00:00:00.000Z`); None when it is not one."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def to_iso(when: datetime) -> str:
    """Writes an instant as JavaScript's `toISOString` does, with milliseconds and `Z`."""
    return f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03d}Z"


def format_instant(when: datetime, pattern: str) -> str:
    """Formats `when` (UTC) by day.js tokens; text in `[brackets]` and unknown letters stay."""

    def one(match: re.Match[str]) -> str:
        literal = match.group(1)
        return literal if literal is not None else _FORMATS[match.group(0)](when)

    return _TOKEN.sub(one, pattern)


def shift(when: datetime, amount: int, unit: str) -> datetime | None:
    """Moves an instant by `amount` units; None when the unit or the resulting year is unknown.

    Months and years keep the day of the month and stop at the month's last one (31 January plus
    one month is 28 or 29 February), as day.js does.
    """
    unit = unit.rstrip("s")
    try:
        if unit in ("month", "year"):
            months = when.year * 12 + when.month - 1 + amount * (12 if unit == "year" else 1)
            year, month = divmod(months, 12)
            day = min(when.day, calendar.monthrange(year, month + 1)[1])
            return when.replace(year=year, month=month + 1, day=day)
        if unit in ("millisecond", "second", "minute", "hour", "day", "week"):
            return when + timedelta(**{f"{unit}s": amount})
    except (OverflowError, ValueError, calendar.IllegalMonthError):
        return None
    return None
