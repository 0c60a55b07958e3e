"""Who is calling: API keys, connect sessions, public keys (contract 1.4, 1.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystow.environments import keys
from keystow.errors import ApiError
from keystow.value import Value

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.http.messages import Request
    from keystow.records.environment import ApiKey
    from keystow.records.session import ConnectSession

SESSION_SCOPES = ("environment:integrations:list",)


class Principal(Value):
    """Who calls: an environment's (or the account's) key, or a connect session."""

    owner: str
    scopes: tuple[str, ...]
    session: ConnectSession | None = None
    key: ApiKey | None = None

    @property
    def environment(self) -> str:
        """The environment's id. Raises 403 ``forbidden`` for a key of the account."""
        if self.owner == "account":
            raise ApiError("forbidden", "API key is not authorized for an environment")
        return self.owner

    def may(self, scope: str) -> bool:
        """Return whether it holds a scope."""
        return keys.grants(self.scopes, scope)

    def require(self, scope: str) -> None:
        """Raise 403 ``forbidden`` unless it holds a scope."""
        if not self.may(scope):
            raise ApiError("forbidden", f"Insufficient scope. Required: {scope}")


def secret_key(ctx: Context, request: Request, *any_of: str) -> Principal:
    """Return the principal of an API key that holds one of the scopes.

    A bare key without ``Bearer`` is accepted, as clients have been seen to send it.

    Raises:
        ApiError: 401 as in contract 1.4; 403 ``forbidden`` without a needed scope.
    """
    header = _authorization(request)
    text = header.split("Bearer ")[-1]
    return _of_key(ctx, text, any_of)


def account_key(ctx: Context, request: Request, scope: str) -> tuple[Principal, ApiKey]:
    """Return the principal of a key of the account that holds a scope, and the key.

    No environment's key passes, whatever it holds; and a key that was revoked ends here at once,
    since what the account's keys make would outlive it. Raises as :func:`secret_key`.
    """
    header = _authorization(request)
    principal = _of_key(ctx, header.split("Bearer ")[-1], (scope,), fresh=True)
    if principal.owner != keys.ACCOUNT or principal.key is None:
        raise ApiError("forbidden", "Only a key of the account may do this")
    return principal, principal.key


def session_or_secret_key(ctx: Context, request: Request, *any_of: str) -> Principal:
    """Return the principal of a connect session's token or of an API key. Raises as both do."""
    from keystow.sessions import tokens  # most functions see no session: start-up time

    header = _authorization(request)
    text = header.split("Bearer ")[-1]
    if text.startswith(tokens.PREFIX):
        session = tokens.find(ctx, text)
        return Principal(session.environment, SESSION_SCOPES, session)
    return _of_key(ctx, text, any_of)


def session_token(ctx: Context, request: Request, *, grace: float = 0) -> ConnectSession:
    """Return the connect session of the Authorization header, ended up to ``grace`` seconds ago.

    Raises 401.
    """
    from keystow.sessions import tokens  # most functions see no session: start-up time

    header = _authorization(request)
    return tokens.find(ctx, header.split("Bearer ")[-1], grace=grace)


def session_in_query(ctx: Context, request: Request, unique_key: str) -> ConnectSession:
    """Return the connect session of the query string (browser-facing routes).

    An environment may take public keys of the older protocol, each with an HMAC of its backend: of
    such a request a session is made (:mod:`keystow.sessions.public_keys`).

    Args:
        ctx: the container's context.
        request: what came.
        unique_key: of the integration that is to be connected.

    Raises:
        ApiError: 401; with a public key also 400.
    """
    from keystow.sessions import tokens  # most functions see no session: start-up time

    token = request.query.get("connect_session_token")
    if token is not None:
        return tokens.find(ctx, token if isinstance(token, str) else "")
    public_key = request.query.get("public_key")
    if public_key is None:
        raise ApiError(
            "missing_public_key", "Authentication failed: the query has no connect_session_token"
        )
    from keystow.sessions import public_keys

    return public_keys.open_session(ctx, public_key, unique_key, request.query)


def _authorization(request: Request) -> str:
    header = request.headers.get("authorization")
    if not header:
        raise ApiError(
            "missing_auth_header", "Authentication failed: there is no Authorization header"
        )
    return header


def _of_key(ctx: Context, text: str, any_of: tuple[str, ...], *, fresh: bool = False) -> Principal:
    if not keys.is_key(text):
        raise ApiError(
            "invalid_secret_key_format",
            "Authentication failed: this is no API key; perhaps a character is missing or wrong",
        )
    key = keys.find(ctx, text, fresh=fresh)
    if key is None:
        raise ApiError(
            "unknown_account", "Authentication failed: the API key is not known, or has ended"
        )
    if any_of and not any(keys.grants(key.scopes, scope) for scope in any_of):
        wanted = f": {any_of[0]}" if len(any_of) == 1 else f" one of: {' or '.join(any_of)}"
        raise ApiError("forbidden", f"Insufficient scope. Required{wanted}")
    return Principal(key.owner, key.scopes, key=key)
