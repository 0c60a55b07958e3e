"""The end user comes back from the provider: checked, exchanged, stored, told.

state known? ── this browser's cookie? ── unused, not expired? ── claimed once
│
session open? ── each parameter once? ── its callback? ── issuer? ── code → tokens
│
page + frame ── webhook ── one transaction ── post-connection
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from keystow import metrics, sockets
from keystow.activity import log as activity
from keystow.authorization import ahead, unasked
from keystow.authorization.answer import READ, names_of
from keystow.authorization.follow_up import post_connection
from keystow.authorization.refused import storing
from keystow.connections import pending
from keystow.connections.importing import environment_of
from keystow.connections.save import KEEP, Draft, Replaces, SessionEnded, failed_event, said
from keystow.errors import ApiError
from keystow.log import logger
from keystow.modes import callbacks, leaves, mode_of
from keystow.modes.base import Arrival
from keystow.modes.failure import AuthorizationFailed
from keystow.oauth import state as states
from keystow.records.attempt import Attempt
from keystow.records.connection import Sealed
from keystow.records.integration import Integration
from keystow.registry import integrations, providers
from keystow.secret import Secret
from keystow.sessions import outcomes, quotas
from keystow.store import (
    ConditionFailed,
    Exists,
    ItemTooLarge,
    Missing,
    StoreUnavailable,
    TransactionConflict,
    Update,
    tables,
)
from keystow.store.gates import EnvironmentClosed
from keystow.store.operations import All
from keystow.vault import Purpose, VaultError, VaultUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from keystow.authorization.answer import Answer
    from keystow.catalog.loader import Provider
    from keystow.context import Context
    from keystow.records.attempt import AttemptSecrets
    from keystow.records.environment import Environment

TOMBSTONE_SECONDS: Final = 300
ENDED: Final = "The session of this authorization was ended; start again in the app"
# The function has 50 s, of which the exchange may take 20.
FOLLOW_UP_SECONDS: Final = 20.0


# Of the data keys that an authorization needs: its own secrets, the client's, the connection's.
PURPOSES: Final = (Purpose.SESSION, Purpose.INTEGRATION, Purpose.CREDENTIAL)


@dataclass(frozen=True)
class Found:
    """What there is of an authorization's integration, provider and environment.

    ``environment`` returns it, or raises 401 ``unknown_account``.
    """

    integration: Integration | None
    provider: Provider | None
    environment: Callable[[], Environment]


@dataclass(frozen=True)
class Ended:
    """How an authorization ended, as the page shows it.

    Attributes:
        error_type: None when there is a connection.
        description: why there is none.
        provider_said: the provider's own words, plain, of an attempt of this browser only.
        from_elsewhere: whether it began at the provider, without an attempt.
    """

    error_type: str | None = None
    description: str = ""
    provider_said: Mapping[str, str] = field(default_factory=dict)
    from_elsewhere: bool = False
    pending: bool = False  # the connection waits for confirmation
    log_id: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether there is a connection."""
        return self.error_type is None


def finish(
    ctx: Context, answer: Answer, cookies: Mapping[str, str], *, place: str | None, secure: bool
) -> Ended:
    """End an authorization and tell the browser's WebSocket.

    Args:
        ctx: the container's context.
        answer: what the browser brought back.
        cookies: of the request.
        place: which integration's own callback it came to; None: the one that all share.
        secure: whether the callback is https, which decides the cookie's name.
    """
    if not answer.get("state") and "state" not in answer.repeated():
        unasked.note(ctx, place, answer)
        return Ended("state_err", unasked.REASON, from_elsewhere=True)
    try:
        attempt = _attempt(ctx, answer)
    except AuthorizationFailed as failure:
        return Ended(failure.error_type, failure.description)
    try:
        earlier = _check(ctx, attempt, cookies, secure=secure)
        if earlier is not None:
            return earlier
        connection_id = _conclude(ctx, attempt, answer, place)
    except AuthorizationFailed as failure:
        return _tell_failure(ctx, attempt, failure)
    except (StoreUnavailable, TransactionConflict, VaultUnavailable, ItemTooLarge) as error:
        logger.warning("authorization not stored", extra={"cause": type(error).__name__})
        told = AuthorizationFailed(
            "unknown_err", "The connection could not be stored just now; try again", event="unknown"
        )
        return _tell_failure(ctx, attempt, told)
    except SessionEnded:
        return _tell_failure(ctx, attempt, AuthorizationFailed("state_err", ENDED))
    except ApiError as error:
        told = AuthorizationFailed("unknown_err", error.message or error.code, event="unknown")
        return _tell_failure(ctx, attempt, told)
    except VaultError:
        metrics.count(metrics.SECRETS_UNOPENED)
        logger.error("a secret of an authorization does not open")
        told = AuthorizationFailed(
            "unknown_err", "What was kept for this authorization cannot be opened", event="unknown"
        )
        return _tell_failure(ctx, attempt, told)
    waits = attempt.session.confirm
    _push(ctx, attempt, sockets.success(attempt.unique_key, connection_id, pending=waits))
    return Ended(pending=waits)


def _attempt(ctx: Context, answer: Answer) -> Attempt:
    state = answer.get("state")
    if state is None:
        raise AuthorizationFailed("state_err", "The state came back more than once")
    item = ctx.store.get(tables.oauth_state(states.hash_of(state)))
    if item is None:
        raise AuthorizationFailed("state_err", "This authorization is not known, or is over")
    return Attempt.from_item(item)


def _check(
    ctx: Context, attempt: Attempt, cookies: Mapping[str, str], *, secure: bool
) -> Ended | None:
    """Require an open attempt of this browser; return how it ended when it is merely reloaded."""
    if not states.is_bound(cookies, attempt.state_hash, attempt.binding_hash, secure=secure):
        raise AuthorizationFailed(
            "state_cookie_err", "This authorization was not started in this browser", spent=False
        )
    now = int(ctx.clock.now() * 1000)
    if attempt.used_at is not None:
        if attempt.outcome is not None and now - attempt.used_at < TOMBSTONE_SECONDS * 1000:
            outcome = attempt.outcome
            return Ended(
                outcome["error_type"],
                outcome["description"],
                outcome.get("provider_said") or {},
                pending=bool(outcome.get("pending")),
                log_id=attempt.operation_id,
            )
        raise AuthorizationFailed(
            "state_err", "This authorization has been used already", spent=False
        )
    if attempt.expires_at <= now:
        raise AuthorizationFailed(
            "state_err", "This authorization took too long; start again", spent=False
        )
    return None


def _conclude(ctx: Context, attempt: Attempt, answer: Answer, place: str | None) -> str:
    of_integration = tables.integration(attempt.environment, attempt.integration)
    of_provider = providers.places(attempt.environment, attempt.provider)
    keys = (attempt.session.key, of_integration, *of_provider)
    rows = ahead.read(ctx, attempt.environment, PURPOSES, *keys)
    with ctx.vault.unwrapping_ahead(attempt.environment, rows.data_keys):
        secrets = attempt.secrets(ctx.vault)
        _claim(ctx, attempt)
        # Before anything is sent; the transaction that stores asks again.
        if rows.get(attempt.session.key) is None:
            raise AuthorizationFailed("state_err", ENDED)
        item = rows.get(of_integration)
        row = rows.get(of_provider[0]) if of_provider else None
        found = Found(
            None if item is None else Integration.from_item(item),
            providers.of_row(ctx, attempt.environment, attempt.provider, row),
            rows.environment,
        )
        # An exchange that is slow counts where the end user says whom it is with.
        exchanges = found.provider is not None and callbacks.must_be_own(found.provider)
        new = attempt.identity is None
        with quotas.connection(ctx, attempt.session, new=new, exchanges=exchanges) as unit:
            return _connect(ctx, attempt, secrets, answer, place, found, unit)


def _connect(
    ctx: Context,
    attempt: Attempt,
    secrets: AttemptSecrets,
    answer: Answer,
    place: str | None,
    found: Found,
    unit: quotas.Unit,
) -> str:
    integration, provider = found.integration, found.provider
    if integration is None:
        raise AuthorizationFailed("provider_config_err", "The integration was deleted meanwhile")
    if provider is None:
        raise AuthorizationFailed("unknown_config_key", "The provider's definition is missing")
    mode = mode_of(provider.auth_mode)
    if mode is None or not leaves(provider):
        raise AuthorizationFailed(
            "auth_mode_err", f"{provider.auth_mode} is not authorized in a popup"
        )
    query = _single(answer, provider)
    if place != attempt.callback:
        raise AuthorizationFailed(
            "callback_err",
            "The answer came to another callback than the one it was asked to",
            event="invalid_callback",
        )
    environment = found.environment()
    granted = mode.complete(
        ctx,
        Arrival(
            environment=environment,
            integration=integration,
            provider=provider,
            config=dict(secrets.connection_config.reveal()),
            client=secrets.client_override.reveal(),
            scopes=attempt.scopes,
            redirect_uri=attempt.redirect_uri,
            kept=secrets.kept.reveal(),
            query=query,
            provider_said=answer.provider_said(),
        ),
    )
    config = post_connection(
        ctx,
        integration,
        provider,
        attempt.connection_id,
        granted.sealed,
        until=ctx.clock.now() + FOLLOW_UP_SECONDS,
    )
    sealed = Sealed(granted.sealed.credentials, Secret(config))
    with storing(ctx, unit, integration, provider, attempt.connection_id, sealed):
        message = pending.store(
            ctx,
            Draft(
                environment=environment,
                integration=integration,
                provider=provider,
                connection_id=attempt.connection_id,
                sealed=sealed,
                metadata=KEEP,
                **said(attempt.session),
                by_session=True,
                replaces=attempt.identity or Replaces.NOTHING,
                operation=attempt.operation_id,
                session=outcomes.made(
                    ctx,
                    attempt.session,
                    attempt.unique_key,
                    attempt.connection_id,
                    pending=attempt.session.confirm,
                ),
            ),
            waits=attempt.session.confirm,
            given=secrets.connection_config.reveal(),
            details=granted.details,
        )
    _remember(ctx, attempt, Ended(pending=attempt.session.confirm))
    activity.finish(
        ctx,
        attempt.environment,
        attempt.operation_id,
        "success",
        message,
        *(activity.Message("warn", each) for each in granted.remarks),
        connection_id=attempt.connection_id,
    )
    return attempt.connection_id


def _claim(ctx: Context, attempt: Attempt) -> None:
    """Use the attempt up: whoever comes with the same state from now on is late."""
    now = ctx.clock.now()
    try:
        ctx.store.update(
            Update(
                attempt.key,
                set={"used_at": int(now * 1000), "ttl": int(now) + 3600},
                remove=("sealed",),
                condition=All((Exists("sealed"), Missing("used_at"))),
            )
        )
    except ConditionFailed:
        raise AuthorizationFailed(
            "state_err", "This authorization has been used already", spent=False
        ) from None


def _single(answer: Answer, provider: Provider) -> dict[str, str]:
    """Return the parameters, of which those that are read came once (RFC 6749 §3.1)."""
    repeated = answer.repeated(names_of(provider))
    if repeated:
        raise AuthorizationFailed(
            "callback_err",
            f"The answer holds {', '.join(repeated)[:200]} more than once",
            event="invalid_callback",
        )
    return answer.single()


def _remember(ctx: Context, attempt: Attempt, ended: Ended) -> None:
    """Keep the outcome for five minutes, so that a reloaded callback shows it again."""
    outcome = {
        "error_type": ended.error_type,
        "description": ended.description,
        "pending": ended.pending,
        "provider_said": dict(ended.provider_said),
    }
    try:
        ctx.store.update(Update(attempt.key, set={"outcome": outcome}, condition=Exists("used_at")))
    except ConditionFailed:
        return


def _tell_failure(ctx: Context, attempt: Attempt, failure: AuthorizationFailed) -> Ended:
    ended = Ended(failure.error_type, failure.description, failure.provider_said)
    _push(
        ctx,
        attempt,
        sockets.failure(
            failure.error_type, failure.description, attempt.unique_key, attempt.connection_id
        ),
    )
    if not failure.spent:
        return ended
    ended = replace(ended, log_id=attempt.operation_id)
    _remember(ctx, attempt, ended)
    outcomes.failed(
        ctx, attempt.session, attempt.unique_key, failure.error_type, failure.description
    )
    activity.finish(
        ctx,
        attempt.environment,
        attempt.operation_id,
        "failed",
        activity.Message("error", failure.description, {"type": failure.error_type}),
    )
    if failure.event is None:
        return ended
    try:
        environment = environment_of(ctx, attempt.environment)
    except EnvironmentClosed:
        return ended  # nobody is left to hear of it
    known = integrations.by_id(ctx, attempt.environment, attempt.integration) is not None
    failed_event(
        ctx,
        environment=environment,
        provider_config_key=attempt.unique_key,
        provider=providers.find(ctx, attempt.environment, attempt.provider) if known else None,
        connection_id=attempt.connection_id,
        error=(failure.event, failure.description),
        end_user=attempt.session.end_user,
        webhook_url_override=attempt.session.webhook_url_override,
        log_id=attempt.operation_id,
    )
    return ended


def _push(ctx: Context, attempt: Attempt, frame: dict[str, Any]) -> None:
    if attempt.socket is None:
        return
    try:
        ctx.sockets.push_to_client(attempt.socket, frame)
    except Exception as error:  # noqa: BLE001 - the page tells it too
        logger.warning("frame not sent", extra={"cause": type(error).__name__})


def handed_on(ctx: Context, answer: Answer) -> str:
    """Return the query of the GET that a callback in a form becomes: only what is read of it.

    Raises:
        TooLarge: that is too much for a browser's address.
    """
    names: Collection[str] = READ
    state = answer.get("state")
    item = ctx.store.get(tables.oauth_state(states.hash_of(state))) if state else None
    if item is not None:
        attempt = Attempt.from_item(item)
        provider = providers.find(ctx, attempt.environment, attempt.provider)
        names = READ if provider is None else names_of(provider)
    return answer.only(names)
