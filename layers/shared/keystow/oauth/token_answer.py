"""RFC 6749 §5.1: reads what a token endpoint answered, in the many shapes that it comes in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from keystow.clock import iso, parse_date
from keystow.secret import Secret

if TYPE_CHECKING:
    from keystow.egress.client import Answer

_LONGEST_LIFE: Final = 100 * 366 * 86_400.0  # beyond a century a token does not expire
_MILLISECONDS_FROM: Final = 1e11  # as seconds that is the year 5138, as milliseconds 1973


@dataclass(frozen=True)
class TokenSet:
    """What a grant brought.

    Attributes:
        access_token: never empty.
        refresh_token: None when the answer has none (RFC 6749 §6: the caller keeps the old one).
        expires_at: epoch seconds; None when nothing is known about it.
        raw: the answer as received, with an ISO ``expires_at`` where only ``expires_in`` was given.
        granted_scopes: None when the answer does not say (§5.1: then all that was asked for).
        token_type: as received, ``bearer`` when absent.
    """

    access_token: Secret[str]
    refresh_token: Secret[str] | None
    expires_at: float | None
    raw: Secret[dict[str, Any]]
    granted_scopes: tuple[str, ...] | None
    token_type: str


def decoded(answer: Answer) -> dict[str, Any] | None:
    """Return the answer's fields, of JSON or of a form; None when it is neither.

    A form is recognized by its fields, whatever the content type says; an HTML page is never one.
    """
    try:
        payload = answer.json()
    except ValueError:
        pass
    else:
        return payload if isinstance(payload, dict) else None
    try:
        form = answer.form()
    except ValueError:
        return None
    return dict(form) if {"access_token", "error"} & form.keys() else None


def token_set(
    definition: Mapping[str, Any], payload: dict[str, Any], now: float
) -> TokenSet | None:
    """Return the tokens of an answer to a code exchange or a refresh, None when it holds none.

    Args:
        definition: the provider's entry.
        payload: the decoded answer.
        now: epoch seconds just before the request, so that a token is never thought to live longer
            than it does.
    """
    paths = _paths(definition)
    source = _within(payload, paths.get("root"))
    found = at(source, paths.get("access_token", "access_token"))
    alternate = definition.get("alternate_access_token_response_path")
    if not _is_token(found) and isinstance(alternate, str):
        found = at(payload, alternate)
        if isinstance(found, Mapping):
            source, found = found, found.get("access_token")
    if not _is_token(found):
        return None
    refresh = at(source, paths.get("refresh_token", "refresh_token"))
    expires_at = expiry(
        at(source, paths.get("expires_at", "expires_at")),
        at(source, paths.get("expires_in", "expires_in")),
        now,
    )
    default = definition.get("default_expires_in")
    if expires_at is None and isinstance(default, int) and default > 0:
        expires_at = now + default
    return _made(
        definition,
        payload,
        source=source,
        access_token=found,
        refresh_token=refresh,
        expires_at=expires_at,
    )


def client_credentials_token_set(
    definition: Mapping[str, Any], payload: dict[str, Any], now: float, default_life: float
) -> TokenSet | None:
    """Return the token of an answer to a client credentials request (contract 9.7).

    Args:
        definition: the provider's entry.
        payload: the decoded answer.
        now: as :func:`token_set`.
        default_life: seconds to assume when the answer does not say.
    """
    places = ("access_token", "data.token", "jwt")
    found = next((t for path in places if _is_token(t := at(payload, path))), None)
    if found is None:
        return None
    lives = payload.get("expires_in")
    if definition.get("expires_in_unit") == "milliseconds" and (n := _number(lives)) is not None:
        lives = n / 1000
    expires_at = expiry(payload.get("expires_at"), lives, now)
    if expires_at is None:
        expires_at = now + default_life
    return _made(
        definition,
        payload,
        source=payload,
        access_token=found,
        refresh_token=payload.get("refresh_token"),
        expires_at=expires_at,
    )


def expiry(expires_at: Any, expires_in: Any, now: float) -> float | None:
    """Return when a token ends, in epoch seconds, or None when nothing sensible is said.

    Args:
        expires_at: ISO 8601 text, an HTTP date, or epoch seconds or milliseconds as number or
            text; one that is over already counts as not said.
        expires_in: seconds from now, as number or text. Zero, negative, endless and unreadable
            values mean "not known": no server issues a token that is already over, and treating
            it so would refresh it in a storm.
        now: epoch seconds.
    """
    ends = moment(expires_at)
    if ends is not None and ends > now:
        return ends if ends - now <= _LONGEST_LIFE else None
    seconds = _number(expires_in)
    if seconds is None or not 0 < seconds <= _LONGEST_LIFE:
        return None
    return now + seconds


def moment(value: Any) -> float | None:
    """Return the epoch seconds of a date in any of the forms that token answers have (9.3).

    Args:
        value: ISO 8601 text, an HTTP date, or epoch seconds or milliseconds as number or text.

    Returns:
        None when it is none of them, or before 1970.
    """
    number = _number(value)
    if number is not None:
        if number <= 0:
            return None
        return number / 1000 if number >= _MILLISECONDS_FROM else number
    found = parse_date(value) if isinstance(value, str) else None
    return found if found is not None and found > 0 else None


def at(source: Any, path: str) -> Any:
    """Return the value at a dotted path; None where it leads nowhere. Digits index lists."""
    if isinstance(source, Mapping) and path in source:
        return source[path]
    value = source
    for step in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def scopes_of(text: Any, separator: str) -> tuple[str, ...] | None:
    """Return the granted scopes, of a list or of text with any of the usual separators."""
    if isinstance(text, list):
        return tuple(s for s in text if isinstance(s, str) and s)
    if not isinstance(text, str):
        return None
    parts = text.split()
    for other in dict.fromkeys((separator.strip(), ",")):
        if other and len(parts) <= 1:
            parts = [part.strip() for part in text.split(other)]
    return tuple(part for part in parts if part)


def _made(
    definition: Mapping[str, Any],
    payload: dict[str, Any],
    *,
    source: Mapping[str, Any],
    access_token: str,
    refresh_token: Any,
    expires_at: float | None,
) -> TokenSet:
    raw = dict(payload)
    if expires_at is not None and "expires_at" not in raw and "expires_in" in raw:
        raw["expires_at"] = iso(expires_at)
    kind = source.get("token_type")
    said = source.get("scope", source.get("scopes"))
    return TokenSet(
        access_token=Secret(access_token),
        refresh_token=Secret(refresh_token) if _is_token(refresh_token) else None,
        expires_at=expires_at,
        raw=Secret(raw),
        granted_scopes=scopes_of(said, str(definition.get("scope_separator") or " ")),
        token_type=kind if isinstance(kind, str) and kind else "bearer",
    )


def _paths(definition: Mapping[str, Any]) -> dict[str, str]:
    """Return where the entry says that the parts of its token answers stand."""
    paths: dict[str, str] = {}
    for request in ("token_exchange", "token_refresh"):
        departures = definition.get(request)
        response = departures.get("response") if isinstance(departures, Mapping) else None
        if isinstance(response, Mapping):
            paths.update({k: v for k, v in response.items() if isinstance(v, str)})
    return paths


def _within(payload: dict[str, Any], root: str | None) -> Mapping[str, Any]:
    inner = at(payload, root) if root else payload
    return inner if isinstance(inner, Mapping) else payload


def _is_token(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
