"""The older way of a browser: an environment's public key, and an HMAC of its backend (8.4).

    public_key, hmac, connection_id? ─▶ switched on? ─▶ HMAC right? ─▶ a session of this request's
                                                                      own, whose token nobody has

Without the HMAC anybody who reads the page's source could connect an account under any id, so an
environment takes public keys with it only. No pydantic here: what starts a popup imports this.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Any, Final

from keystow import ids
from keystow.activity import log as activity
from keystow.environments.keys import is_uuid
from keystow.errors import ApiError, invalid
from keystow.records.connection import Connection
from keystow.records.environment import Environment
from keystow.records.session import ConnectSession
from keystow.registry import integrations
from keystow.sessions import starting
from keystow.sessions.tokens import LIFE_SECONDS
from keystow.store import Put, tables
from keystow.store.operations import NEW

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystow.context import Context
    from keystow.secret import Secret

MOST_ID: Final = 255
MOST_SCOPES: Final = 2_000
# RFC 6749 appendix A.4, and what stands between scopes.
_SCOPES: Final = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]+")


def open_session(
    ctx: Context, public_key: Any, unique_key: str, query: Mapping[str, Any]
) -> ConnectSession:
    """Return a new session for one integration, as a browser with a public key may have it.

    Args:
        ctx: the container's context.
        public_key: of the query.
        unique_key: the integration's, of the path.
        query: parsed; ``hmac``, ``connection_id``, ``user_scope`` and
            ``params[oauth_scopes_override]`` are read.

    Raises:
        ApiError: 401 ``invalid_public_key``; 401 ``deprecated_authentication`` where public keys
            are not switched on; 400 ``missing_hmac``, ``invalid_hmac``, ``invalid_query_params``.
        VaultError, VaultUnavailable: as the vault does.
    """
    if not isinstance(public_key, str) or not is_uuid(public_key):
        raise ApiError("invalid_public_key", "Authentication failed: the public key is not a UUID")
    environment = _environment(ctx, public_key.lower())
    connection_id = _matching(query, "connection_id", ids.CONNECTION_ID, MOST_ID)
    _check_hmac(query.get("hmac"), environment.hmac_secret(ctx.vault), unique_key, connection_id)
    before = None
    integration = integrations.by_unique_key(ctx, environment.id, unique_key, fresh=True)
    if integration is not None and connection_id is not None:
        place = tables.connection(environment.id, integration.id, connection_id)
        item = ctx.store.get(place)
        before = None if item is None else Connection.from_item(item)
    now = ctx.clock.now()
    session = ConnectSession(
        token_hash=ctx.random.bytes(32).hex(),
        environment=environment.id,
        operation_id=ids.operation_id(now, ctx.random),
        created_at=int(now * 1000),
        expires_at=int((now + LIFE_SECONDS) * 1000),
        tags={} if before is None else before.tags,
        end_user=None if before is None else before.end_user,
        allowed_integrations=(unique_key,),
        defaults={unique_key: _asked(query)},
        reconnect=(
            None if before is None else (before.integration, before.connection_id, before.identity)
        ),
        connection_id=connection_id,
        by_public_key=True,
    )
    starting.store(ctx, session, Put(session.key, session.as_item(), NEW))
    activity.begin(
        ctx,
        environment.id,
        "auth",
        "create_connection",
        operation=session.operation_id,
        connection_id=connection_id,
        integration_key=unique_key,
    )
    return session


def digest(key: Secret[str], unique_key: str, connection_id: str | None) -> str:
    """Return the HMAC of an integration's key, and of the connection's id where there is one."""
    text = unique_key if connection_id is None else f"{unique_key}:{connection_id}"
    return hmac.new(key.reveal().encode(), text.encode(), hashlib.sha256).hexdigest()


def _environment(ctx: Context, public_key: str) -> Environment:
    found = None
    pointer = ctx.store.get(tables.public_key(public_key))
    if pointer is not None:
        item = ctx.store.get(tables.environment_settings(pointer["environment"]))
        found = None if item is None else Environment.from_item(item)
    if found is None or found.deleting or not (found.hmac_enabled and found.hmac_key):
        # The same whether there is such a key: nobody learns here which ones there are.
        raise ApiError(
            "deprecated_authentication",
            "Public keys are not accepted here; use a connect session token",
        )
    return found


def _check_hmac(given: Any, key: Secret[str], unique_key: str, connection_id: str | None) -> None:
    if given is None or given == "":
        raise ApiError("missing_hmac", "The query has no hmac")
    expected = digest(key, unique_key, connection_id)
    if not isinstance(given, str) or not hmac.compare_digest(given.encode(), expected.encode()):
        raise ApiError("invalid_hmac", "The hmac does not fit the integration and connection")


def _asked(query: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the browser asks of the provider in ways that only a session has otherwise."""
    found: dict[str, Any] = {}
    user_scope = _matching(query, "user_scope", _SCOPES, MOST_SCOPES)
    if user_scope is not None:
        found["user_scopes"] = user_scope
    params = query.get("params")
    if isinstance(params, dict) and "oauth_scopes_override" in params:
        scopes = _matching(params, "oauth_scopes_override", _SCOPES, MOST_SCOPES, "params")
        if scopes is not None:
            found["connection_config"] = {"oauth_scopes_override": scopes}
    return found


def _matching(
    values: Mapping[str, Any], name: str, pattern: re.Pattern[str], most: int, *place: str
) -> str | None:
    """Return a text of the query, or None when it is not there or empty. Raises 400."""
    value = values.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > most or not pattern.fullmatch(value):
        fault = f"does not have the form it should, with at most {most} characters"
        raise invalid("invalid_query_params", "invalid_format", fault, *place, name)
    return value
