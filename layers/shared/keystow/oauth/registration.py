"""Becoming known to an authorization server without an operator's doing (RFC 7591)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from keystow.egress.errors import EgressError
from keystow.oauth.errors import TokenError, from_answer, from_egress
from keystow.oauth.token_answer import decoded
from keystow.secret import Secret
from keystow.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystow.egress.client import Egress

_LONGEST: Final = 4_096


class Registered(Value):
    """A client that was registered.

    Attributes:
        client_id: how it is called.
        secret: empty for a public client.
        method: how it proves itself at the token endpoint: ``none``, ``client_secret_post`` or
            ``client_secret_basic``.
        ends_at: epoch seconds when the secret ends; None: it does not.
    """

    client_id: str
    secret: Secret[str]
    method: str
    ends_at: float | None


def register(
    egress: Egress,
    url: str,
    *,
    redirect_uri: str,
    client_name: str,
    method: str,
    params: Mapping[str, Any],
    deadline: float,
    now: float,
) -> Registered:
    """Register a client (section 3.1).

    Args:
        egress: the way out.
        url: the registration endpoint.
        redirect_uri: the only one.
        client_name: shown to people when they are asked to agree.
        method: wanted for the token endpoint; ``none`` for a public client.
        params: further metadata (section 2), such as ``scope``.
        deadline: seconds.
        now: epoch seconds.

    Raises:
        TokenError: it was refused, or the answer cannot be used.
    """
    body = {
        "client_name": client_name,
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        **params,
        "redirect_uris": [redirect_uri],
        "token_endpoint_auth_method": method,
    }
    headers = {
        "Accept": "application/json",
        "Content-Type": "application/json",
        "User-Agent": "Keystow",
    }
    try:
        answer = egress.send(
            "POST", url, headers=headers, body=json.dumps(body).encode(), deadline=deadline
        )
    except EgressError as error:
        raise from_egress(error) from None
    found = decoded(answer)
    client_id = found.get("client_id") if found else None
    if found is None or not 200 <= answer.status < 300:  # noqa: PLR2004 - RFC 9110 section 15.3
        raise from_answer(answer, found, secrets=(), now=now)
    if not isinstance(client_id, str) or not 0 < len(client_id) <= _LONGEST:
        raise TokenError("unusable", "no_client_id", "The answer names no client")
    secret = found.get("client_secret")
    text = secret if isinstance(secret, str) and len(secret) <= _LONGEST else ""
    given = found.get("token_endpoint_auth_method")
    granted = given if isinstance(given, str) else ("client_secret_basic" if text else "none")
    ends = found.get("client_secret_expires_at")
    known = isinstance(ends, int | float) and not isinstance(ends, bool) and ends > 0
    return Registered(
        client_id,
        Secret("" if granted == "none" else text),
        granted if text else "none",
        float(ends) if known and isinstance(ends, int | float) else None,
    )
