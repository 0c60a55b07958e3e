"""Reading a connection with a working credential: the call that everything else exists for.

One strongly consistent query brings the description and the sealed credential; the data key is in
memory; nothing is written but once a day. A credential with under a minute of life left is renewed
first, by exactly one of however many readers there are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from keystow.connections import views
from keystow.errors import ApiError
from keystow.log import logger
from keystow.records.connection import AuthError, Connection, StoredSecret
from keystow.refresh.due import is_valid, needs_refresh_before_read
from keystow.refresh.lease import CLOCK_SKEW_MS, is_held
from keystow.registry import integrations
from keystow.store import (
    All,
    Any_,
    Below,
    ConditionFailed,
    Equals,
    Missing,
    StoreUnavailable,
    Update,
    tables,
)
from keystow.vault import VaultError

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.records.integration import Integration
    from keystow.refresh.engine import Outcome

DAY_MS: Final = 86_400_000
WAIT_SECONDS: Final = 20.0
FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 1.0
FORCED_ONCE_IN_MS: Final = 10_000
ROUNDS: Final = 4


def find(
    ctx: Context, environment: str, provider_config_key: str, connection_id: str
) -> tuple[Integration, Connection, StoredSecret]:
    """Return a connection's integration, description and sealed credential.

    Raises:
        ApiError: 400 ``unknown_provider_config``, 404 ``not_found``.
    """
    integration = integrations.by_unique_key(ctx, environment, provider_config_key)
    found = integration and _load(ctx, integration, connection_id)
    if not found:
        # The remembered integration may have been deleted and made anew under the same key.
        integration = integrations.by_unique_key(ctx, environment, provider_config_key, fresh=True)
        if integration is None:
            raise ApiError("unknown_provider_config", "There is no integration of this key")
        found = _load(ctx, integration, connection_id)
    if not found:
        raise ApiError("not_found", "There is no such connection")
    assert integration is not None
    return integration, *found


def _load(
    ctx: Context, integration: Integration, connection_id: str
) -> tuple[Connection, StoredSecret] | None:
    pk = tables.connection_pk(integration.environment, integration.id, connection_id)
    page = ctx.store.query(tables.CONNECTIONS, pk, prefix=tables.CONNECTION)
    items = {item["sk"]: item for item in page.items}
    if tables.CONNECTION not in items or tables.CONNECTION_SECRET not in items:
        return None
    return (
        Connection.from_item(items[tables.CONNECTION]),
        StoredSecret.from_item(items[tables.CONNECTION_SECRET]),
    )


def read(
    ctx: Context,
    environment: str,
    provider_config_key: str,
    connection_id: str,
    *,
    force_refresh: bool = False,
    refresh_token: bool = False,
    with_credentials: bool = True,
) -> dict[str, Any]:
    """Return a connection with a credential that works now.

    Args:
        ctx: the container's context.
        environment: the caller's environment.
        provider_config_key: the integration's unique key.
        connection_id: which connection.
        force_refresh: the caller has seen the current token refused.
        refresh_token: show refresh tokens as well.
        with_credentials: False shows none, and renews none.

    Raises:
        ApiError: 400 ``unknown_provider_config``; 404 ``not_found``; 400 or 424
            ``invalid_credentials`` with the connection as payload; 503 ``refresh_in_progress``.
    """
    integration, connection, secret = find(ctx, environment, provider_config_key, connection_id)
    connection = _note_fetch(ctx, connection)
    if with_credentials:
        connection, secret = _fresh(ctx, integration, connection, secret, forced=force_refresh)
    try:
        sealed = secret.unseal(ctx.vault)
    except VaultError as error:
        logger.error("a credential does not open", extra={"connection": connection_id})
        raise ApiError(
            "invalid_credentials",
            "The stored credential cannot be opened; the account must be connected again",
            status=424,
        ) from error
    return views.full(
        connection,
        integration.unique_key,
        sealed,
        with_credentials=with_credentials,
        with_refresh_token=refresh_token,
    )


def _note_fetch(ctx: Context, connection: Connection) -> Connection:
    """Write when the connection was last read, at most once a day."""
    now = int(ctx.clock.now() * 1000)
    last = connection.last_fetched_at
    if last is not None and now - last < DAY_MS:
        return connection
    condition = All(
        (
            Equals("generation", connection.generation),
            Any_((Missing("last_fetched_at"), Below("last_fetched_at", now - DAY_MS + 1))),
        )
    )
    try:
        ctx.store.update(Update(connection.key, set={"last_fetched_at": now}, condition=condition))
    except (ConditionFailed, StoreUnavailable):
        return connection
    return replace(connection, last_fetched_at=now)


def _fresh(
    ctx: Context,
    integration: Integration,
    connection: Connection,
    secret: StoredSecret,
    *,
    forced: bool,
) -> tuple[Connection, StoredSecret]:
    """Return the connection with a credential that may be handed out."""
    deadline = ctx.clock.now() + WAIT_SECONDS
    refused = secret.version if forced else None
    for _round in range(ROUNDS):
        now = int(ctx.clock.now() * 1000)
        wanted = refused == secret.version and not _forced_lately(secret, now)
        if not secret.refreshable:
            return connection, secret
        if not wanted and not needs_refresh_before_read(secret.expires_at, now):
            _refuse_forced_failure(integration, connection, secret, refused=refused, now=now)
            return connection, secret
        if is_held(secret, now):
            if is_valid(secret.expires_at, now) and refused is None:
                return connection, secret
            secret = _wait(ctx, secret, deadline)
            connection, secret = _reload(ctx, integration, connection)
            continue
        if not wanted and _is_resting(secret, now):
            _serve_or_refuse(integration, connection, secret, now, 424, forced=forced)
            return connection, secret
        from keystow.refresh import engine

        outcome = engine.refresh(ctx, secret, forced=wanted)
        connection, secret = _after(ctx, integration, connection, outcome)
        if outcome.state == "refreshed":
            return connection, secret
        if outcome.state == "failed":
            _serve_or_refuse(integration, connection, secret, now, 400, forced=forced)
            return connection, secret
    now = int(ctx.clock.now() * 1000)
    if is_valid(secret.expires_at, now):
        return connection, secret
    raise _in_progress(secret, now)


def _is_resting(secret: StoredSecret, now: int) -> bool:
    """Return whether nothing should be tried now: a dead grant, or a failure of a moment ago."""
    failure = secret.failure
    return failure is not None and (failure.kind == "terminal" or failure.next_at > now)


def _forced_lately(secret: StoredSecret, now: int) -> bool:
    """Return whether a caller has forced an attempt within the last ten seconds."""
    return secret.forced_at is not None and now - secret.forced_at < FORCED_ONCE_IN_MS


def _refuse_forced_failure(
    integration: Integration,
    connection: Connection,
    secret: StoredSecret,
    *,
    refused: int | None,
    now: int,
) -> None:
    """Tell a caller who refused the current token that the attempt of seconds ago failed too."""
    if refused == secret.version and secret.failure is not None:
        _serve_or_refuse(integration, connection, secret, now, 424, forced=True)


def _after(
    ctx: Context, integration: Integration, connection: Connection, outcome: Outcome
) -> tuple[Connection, StoredSecret]:
    if outcome.state == "refreshed":
        assert outcome.secret is not None
        return replace(connection, auth_error=None), outcome.secret
    return _reload(ctx, integration, connection)


def _reload(
    ctx: Context, integration: Integration, connection: Connection
) -> tuple[Connection, StoredSecret]:
    found = _load(ctx, integration, connection.connection_id)
    if found is None:
        raise ApiError("not_found", "There is no such connection")
    return found


def _wait(ctx: Context, secret: StoredSecret, deadline: float) -> StoredSecret:
    """Wait for the refresher who holds the lease; polls the credential alone.

    Raises:
        ApiError: 503 ``refresh_in_progress`` when it takes too long.
    """
    pause = FIRST_PAUSE_SECONDS
    while True:
        now = ctx.clock.now()
        failed = secret.failure is not None and secret.failure.at >= (secret.sent_at or 0)
        if failed or now + pause > deadline:
            raise _in_progress(secret, int(now * 1000))
        ctx.clock.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)
        item = ctx.store.get(secret.key)
        if item is None:
            raise ApiError("not_found", "There is no such connection")
        found = StoredSecret.from_item(item)
        if not is_held(found, int(ctx.clock.now() * 1000)):
            return found
        if (found.generation, found.version) != (secret.generation, secret.version):
            return found
        secret = found


def _in_progress(secret: StoredSecret, now: int) -> ApiError:
    left = max(1, ((secret.lease_until or now) + CLOCK_SKEW_MS - now + 999) // 1000)
    return ApiError(
        "refresh_in_progress",
        "The credential is being renewed and the answer of the provider is still out",
        headers={"retry-after": str(min(left, 65))},
    )


def _serve_or_refuse(
    integration: Integration,
    connection: Connection,
    secret: StoredSecret,
    now: int,
    status: int,
    *,
    forced: bool,
) -> None:
    """Let a valid token pass for whoever did not refuse it; else tell what failed.

    Raises:
        ApiError: 400 or 424 ``invalid_credentials``, or 503 while the fate of a request is unknown.
    """
    if not forced and is_valid(secret.expires_at, now):
        return
    failure = secret.failure
    if failure is not None and failure.kind == "unknown_fate" and is_held(secret, now):
        raise _in_progress(secret, now)
    if failure is not None and connection.auth_error is None:
        connection = replace(connection, auth_error=AuthError(failure.log_id, failure.at))
    told = f" It said: {failure.description}" if failure and failure.description else ""
    raise ApiError(
        "invalid_credentials",
        f"The provider did not renew the credential.{told}",
        status=status,
        payload={
            "connection": views.full(
                connection,
                integration.unique_key,
                None,
                with_credentials=False,
                with_refresh_token=False,
            )
        },
    )
