"""The body of a webhook, and its signatures (contract 12.1, 12.2, and Standard Webhooks 1.0).

The official client verifies a parsed body by stringifying it again, so the body on the wire is
exactly what JavaScript makes of itself: ``JSON.stringify(JSON.parse(body)) === body``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import re
from typing import TYPE_CHECKING, Any, Final

from keystow.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystow.events.outbox import AuthEvent
    from keystow.records.connection import EndUser

_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_ARRAY_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,9}")
_LARGEST_ARRAY_INDEX: Final = 2**32 - 2
_EXACT_INTEGER: Final = 2**53
_LARGEST_POSITIONAL: Final = 21  # digits before JavaScript turns to exponents
_SMALLEST_POSITIONAL: Final = -6

USER_AGENT: Final = "keystow-webhooks/1"


def auth_event(event: AuthEvent) -> str:
    """Return the body of an auth event (contract 12.2)."""
    body: dict[str, Any] = {
        "type": "auth",
        "from": "nango",
        "environment": event.environment.name,
        "provider": event.provider or "unknown",
        "providerConfigKey": event.provider_config_key,
        "connectionId": event.connection_id,
        "authMode": event.auth_mode or "unknown",
        "operation": event.operation,
        "success": event.success,
    }
    if event.error is not None and not event.success:
        kind, description = event.error
        body["error"] = {"type": kind, "description": description}
    if event.end_user is not None and event.operation != "refresh":
        body["endUser"] = _end_user(event.end_user)
    failed_creation = event.operation == "creation" and not event.success
    if event.tags is not None and not failed_creation:
        body["tags"] = event.tags
    if event.pending is not None:
        body["pending"] = event.pending
    return stringify(body)


def _end_user(end_user: EndUser) -> dict[str, Any]:
    found: dict[str, Any] = {
        "endUserId": end_user.id,
        "endUserEmail": end_user.email,
        "tags": end_user.tags or {},
    }
    if end_user.organization_id is not None:
        found["organizationId"] = end_user.organization_id
    return found


def signed_headers(
    keys: Sequence[Secret[str]], event_id: str, timestamp: int, body: str
) -> dict[str, str]:
    """Return the headers of a delivery.

    Args:
        keys: the environment's signing key, then the one it replaced lately, if any: the standard
            signature holds one for each, the older headers one of the present key.
        event_id: id of the event, the same at every attempt.
        timestamp: seconds since the epoch at this attempt.
        body: what is sent.
    """
    key = keys[0]
    return {
        "content-type": "application/json",
        "user-agent": USER_AGENT,
        "x-nango-signature": plain_hash(key, body),
        "x-nango-hmac-sha256": hmac_hex(key, body),
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(
            standard_signature(each, event_id, timestamp, body) for each in keys
        ),
    }


def plain_hash(key: Secret[str], body: str) -> str:
    """Return the legacy signature, hex SHA-256 of key and body (contract 12.1).

    Whoever knows one can extend it to a longer body; kept for old receivers only.
    """
    return hashlib.sha256((key.reveal() + body).encode()).hexdigest()


def hmac_hex(key: Secret[str], body: str) -> str:
    """Return the hex HMAC-SHA256 of the body (contract 12.1)."""
    return hmac.new(key.reveal().encode(), body.encode(), hashlib.sha256).hexdigest()


def standard_signature(key: Secret[str], event_id: str, timestamp: int, body: str) -> str:
    """Return ``v1,`` and the base64 HMAC-SHA256 of ``id.timestamp.body`` (Standard Webhooks).

    The standard's secret is bytes: here, those of the signing key's text in UTF-8. Libraries that
    want the secret as text take :func:`standard_secret`.
    """
    signed = f"{event_id}.{timestamp}.{body}".encode()
    digest = hmac.new(key.reveal().encode(), signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def standard_secret(key: Secret[str]) -> Secret[str]:
    """Return the signing key as libraries of Standard Webhooks take it: ``whsec_<base64>``."""
    return Secret("whsec_" + base64.b64encode(key.reveal().encode()).decode())


def stringify(value: Any) -> str:
    """Return JSON with sorted keys, as JavaScript's ``JSON.stringify`` writes it.

    No spaces, nothing escaped that need not be; keys that are array indexes first, by number,
    then the others by UTF-16 code units; numbers as ECMA-262 (Number::toString) writes them.

    Raises:
        TypeError: for what JSON does not hold.
    """
    match value:
        case None:
            return "null"
        case True:
            return "true"
        case False:
            return "false"
        case str():
            return _string(value)
        case int() | float():
            return _number(value)
        case list() | tuple():
            return "[" + ",".join(stringify(each) for each in value) + "]"
        case dict():
            names = sorted(value, key=_order)
            return "{" + ",".join(f"{_string(n)}:{stringify(value[n])}" for n in names) + "}"
        case _:
            raise TypeError(f"no JSON for {type(value).__name__}")


def _order(name: str) -> tuple[int, int, bytes]:
    if _ARRAY_INDEX.fullmatch(name) and int(name) <= _LARGEST_ARRAY_INDEX:
        return 0, int(name), b""
    return 1, 0, name.encode("utf-16-be", "surrogatepass")


def _string(text: str) -> str:
    # Two halves that stand side by side are one character; a half that stands alone cannot be
    # UTF-8 and is escaped, as ECMA-262 (QuoteJSONString) does.
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    quoted = json.dumps(joined, ensure_ascii=False)
    return _LONE_SURROGATE.sub(lambda found: f"\\u{ord(found.group()):04x}", quoted)


def _number(value: float) -> str:
    if isinstance(value, int) and abs(value) <= _EXACT_INTEGER:
        return str(value)
    try:
        number = float(value)
    except OverflowError:
        return "null"
    if not math.isfinite(number):
        return "null"
    if number == 0:
        return "0"
    # Python's repr gives the same shortest digits as JavaScript, laid out in another way.
    mantissa, _, exponent = f"{abs(number)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    leading = len(whole + fraction) - len(digits)
    point = len(whole) - leading + int(exponent or 0)
    digits = digits.rstrip("0")
    return ("-" if number < 0 else "") + _laid_out(digits, point)


def _laid_out(digits: str, point: int) -> str:
    """Return digits with the decimal point after ``point`` of them (Number::toString, 6 to 10)."""
    if len(digits) <= point <= _LARGEST_POSITIONAL:
        return digits + "0" * (point - len(digits))
    if 0 < point <= _LARGEST_POSITIONAL:
        return f"{digits[:point]}.{digits[point:]}"
    if _SMALLEST_POSITIONAL < point <= 0:
        return "0." + "0" * -point + digits
    exponent = point - 1
    sign = "+" if exponent > 0 else "-"
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{tail}e{sign}{abs(exponent)}"
