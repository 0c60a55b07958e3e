"""What modes read of the older, flat body of an import (contract 5.5)."""

from __future__ import annotations

import re
from typing import Any, Final, TypeAlias

from keystow.clock import LAST_MOMENT, iso
from keystow.errors import ApiError

Flat: TypeAlias = "dict[str, Any]"

_FAR_SECONDS: Final = 100 * 365 * 86_400
_DIGITS: Final = re.compile(r"[0-9]{1,15}")


def need(flat: Flat, name: str, code: str) -> None:
    """Require a value. Raises 400 with the code."""
    if not flat.get(name):
        raise ApiError(code, f"{name} is missing")


def some(flat: Flat, *names: str) -> dict[str, Any]:
    """Return those of the values that are there."""
    return {name: flat[name] for name in names if flat.get(name) is not None}


def expiry(flat: Flat, now: float) -> dict[str, Any]:
    """Return ``expires_at`` of a body that tells an end; nothing when it tells none.

    Args:
        flat: the body.
        now: epoch seconds.

    Raises:
        ApiError: 400 ``invalid_expires_at``.
    """
    from keystow.oauth.token_life import moment

    if flat.get("expires_at") is not None:
        ends = moment(flat["expires_at"])
        if ends is None or ends > LAST_MOMENT:
            raise ApiError(
                "invalid_expires_at",
                "expires_at must be an ISO 8601 date, or seconds or milliseconds since 1970",
            )
        return {"expires_at": iso(ends)}
    seconds = flat.get("expires_in")
    if seconds is None:
        return {}
    # Other digits of Unicode are no number for int(), and neither are thousands of them.
    if isinstance(seconds, str) and _DIGITS.fullmatch(seconds):
        seconds = int(seconds)
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise ApiError("invalid_expires_at", "expires_in must be a number of seconds")
    if not 0 <= seconds <= _FAR_SECONDS:
        raise ApiError("invalid_expires_at", "expires_in is out of range")
    return {"expires_at": iso(now + seconds)}
