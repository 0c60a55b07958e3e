"""Making a connection, or authorizing an existing one anew: one transaction, all or nothing.

The description, the sealed credential and the event are written together; what is authorized anew
keeps its id, identity and age, and gets a new generation, so that whatever was still on its way for
the old one can no longer be stored.

    reconnect begins ──▶ identity a ──────────────────────▶ stored only where identity is a
    deleted, made anew under the same id ──▶ identity b ──▶ another connection: refused
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from keystow import ids
from keystow.errors import ApiError
from keystow.events import outbox, traces
from keystow.modes import mode_for
from keystow.modes.base import expiry_of
from keystow.modes.verification import can_check, checked_host
from keystow.records.connection import (
    LARGEST_SEALED,
    NO_ENVELOPE,
    Connection,
    EndUser,
    Sealed,
    StoredSecret,
)
from keystow.refresh.due import next_check, next_due, read_margin, shard_of
from keystow.store import All, ConditionFailed, Delete, Equals, Put, gates, tables
from keystow.store.operations import NEW

if TYPE_CHECKING:
    from keystow.catalog.loader import Provider
    from keystow.context import Context
    from keystow.records.environment import Environment
    from keystow.records.integration import Integration
    from keystow.records.session import ConnectSession
    from keystow.store import Condition, Operation

ATTEMPTS: Final = 12
PAUSE_SECONDS: Final = 0.05


Existing: TypeAlias = "tuple[Connection, StoredSecret | None]"


class Keep(Enum):
    """Stands for: as it was before."""

    KEEP = "keep"


KEEP: Final = Keep.KEEP


class SessionEnded(ApiError):  # noqa: N818 - an outcome, not a fault
    """401 ``unknown_connect_session_token``: the session was ended; nothing was stored."""

    def __init__(self) -> None:
        super().__init__("unknown_connect_session_token", "The session was ended meanwhile")


class Replaces(Enum):
    """What a draft may replace, where it is no certain connection."""

    ANYTHING = "anything"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Draft:
    """What a connection shall be. :data:`KEEP` leaves what an existing connection has.

    ``replaces`` is the identity of the connection that is authorized anew: no other one is
    overwritten, and none is made. ``session`` is written with it to the row of the connect session
    it is made in: it is stored only while that is there. ``authorized_at``, in milliseconds, is
    from when on a new connection exists for whoever takes what was there at a moment.
    """

    environment: Environment
    integration: Integration
    provider: Provider
    connection_id: str
    sealed: Sealed
    metadata: dict[str, Any] | Keep | None = KEEP
    tags: dict[str, str] | Keep = KEEP
    end_user: EndUser | Keep | None = KEEP
    webhook_url_override: str | Keep | None = KEEP
    fetched: bool = True
    by_session: bool = False  # of a connect session, whose end user the event names
    replaces: str | Replaces = Replaces.ANYTHING
    operation: str | None = None  # of the activity log, which names the end user
    session: Operation | None = None
    authorized_at: int | None = None  # None: now


def said(session: ConnectSession) -> dict[str, Any]:
    """Return the fields of a draft that a connect session says.

    One by a public key says nothing: it took over what its connection had when it began, which a
    backend may have changed meanwhile.
    """
    if session.by_public_key:
        return {}
    return {
        "tags": session.tags,
        "end_user": session.end_user,
        "webhook_url_override": session.webhook_url_override,
    }


@dataclass(frozen=True)
class Saved:
    """What was made."""

    connection: Connection
    secret: StoredSecret
    operation: str  # creation | override


def save(ctx: Context, draft: Draft, instead_of: Delete | None = None) -> Saved:
    """Store a connection.

    Args:
        ctx: store, vault and queues.
        draft: what it shall be.
        instead_of: what is removed in the same transaction, under its condition.

    Raises:
        ApiError: 404 ``not_found`` when ``instead_of`` is not there any more; 400
            ``invalid_connection`` when the connection of a reconnect is gone, or another one
            stands in its place; also when the integration was deleted. 401 ``unknown_account``
            when the environment is being deleted; :class:`SessionEnded`.
        StoreUnavailable, VaultUnavailable, ItemTooLarge: nothing was stored.
    """
    # Mostly its id was just drawn, and nothing is there; if something is, the conditions tell.
    expects_nothing = draft.replaces is Replaces.NOTHING and instead_of is None
    for attempt in range(ATTEMPTS):
        existing = None if expects_nothing and not attempt else _existing(ctx, draft)
        _require_replaceable(draft, existing)
        made = _made(ctx, draft, existing)
        planned = outbox.plan(ctx, _event(draft, made))
        removed = [] if instead_of is None else [instead_of]
        same_connection, same_secret = _unchanged(existing)
        writes: list[Operation] = [
            Put(made.connection.key, made.connection.as_item(), same_connection),
            Put(made.secret.key, made.secret.as_item(), same_secret),
            *removed,
            *(planned.writes if planned else ()),
        ]
        if existing is not None:
            writes += traces.of_former(existing[0], made.connection.person, ctx.clock.now())
        if draft.operation is not None:
            pk, identity = made.connection.key.pk, made.connection.identity
            writes.append(traces.of_operation(pk, identity, draft.operation, ctx.clock.now()))
        open_session = still_open(draft)
        writes += open_session
        try:
            gates.transact(
                ctx.store,
                writes,
                environment=draft.integration.environment,
                integration=draft.integration.id,
                spread=draft.connection_id,
                token=ids.uuid4(ctx.random),
            )
        except ConditionFailed as failed:
            if instead_of is not None and writes.index(instead_of) in failed.failed:
                raise ApiError("not_found", "Nothing waits under this id any more") from None
            if open_session and writes.index(open_session[0]) in failed.failed:
                raise SessionEnded from None
            # Made, changed or deleted by somebody else in this moment: look again, not in step.
            ctx.clock.sleep(PAUSE_SECONDS * attempt * ctx.random.bytes(1)[0] / 255)
            continue
        outbox.dispatch(ctx, planned)
        return made
    raise ApiError("temporarily_unavailable", "The connection kept changing; try again")


def still_open(draft: Draft) -> list[Operation]:
    """Return what fails, in the transaction that stores a draft, when its session was ended."""
    return [] if draft.session is None else [draft.session]


def _require_replaceable(draft: Draft, existing: Existing | None) -> None:
    """Require that what is there is what the draft replaces.

    What was looked at here holds in the transaction: each write is conditional on it
    (:func:`_unchanged`).

    Raises:
        ApiError: 400 ``invalid_connection``.
    """
    identity = existing[0].identity if existing else None
    match draft.replaces:
        case Replaces.ANYTHING:
            return
        case Replaces.NOTHING:
            if identity is not None:
                raise ApiError("invalid_connection", "Another connection has this id meanwhile")
        case expected if identity is None:
            raise ApiError("invalid_connection", "The connection was deleted meanwhile")
        case expected if identity != expected:
            raise ApiError(
                "invalid_connection",
                "The connection was deleted meanwhile; another one has its id now",
            )


def _unchanged(existing: Existing | None) -> tuple[Condition, Condition]:
    """Return the conditions under which description and secret may be written.

    A generation belongs to one identity; the identity stands here too, since all depends on it.
    """
    if existing is None:
        return NEW, NEW
    connection, secret = existing
    same = All(
        (Equals("identity", connection.identity), Equals("generation", connection.generation))
    )
    return same, NEW if secret is None else Equals("generation", secret.generation)


def _existing(ctx: Context, draft: Draft) -> Existing | None:
    integration = draft.integration
    pk = tables.connection_pk(integration.environment, integration.id, draft.connection_id)
    page = ctx.store.query(tables.CONNECTIONS, pk, prefix=tables.CONNECTION)
    items = {item["sk"]: item for item in page.items}
    if tables.CONNECTION not in items:
        return None
    # While an integration is removed, a description may stand for a moment without its secret.
    secret = items.get(tables.CONNECTION_SECRET)
    return (
        Connection.from_item(items[tables.CONNECTION]),
        None if secret is None else StoredSecret.from_item(secret),
    )


def _made(ctx: Context, draft: Draft, existing: Existing | None) -> Saved:
    seconds = ctx.clock.now()
    now = int(seconds * 1000)
    generation = ids.short_id(ctx.random)
    before = existing[0] if existing else None
    since = now if draft.authorized_at is None else draft.authorized_at
    connection = Connection(
        environment=draft.integration.environment,
        integration=draft.integration.id,
        connection_id=draft.connection_id,
        identity=before.identity if before else ids.short_id(ctx.random),
        id=before.id if before else ids.numeric_id(seconds, ctx.random),
        provider=draft.provider.id,
        generation=generation,
        created_at=before.created_at if before else since,
        updated_at=now,
        tags=_kept(draft.tags, before.tags if before else {}),
        metadata=_kept(draft.metadata, before.metadata if before else None),
        end_user=_kept(draft.end_user, before.end_user if before else None),
        webhook_url_override=_kept(
            draft.webhook_url_override, before.webhook_url_override if before else None
        ),
    )
    fence = existing[1].fence + 1 if existing and existing[1] else 0
    secret = sealed_secret(ctx, draft, generation, now, fence)
    return Saved(connection, secret, "override" if existing else "creation")


def _kept(wanted: Any, before: Any) -> Any:
    return before if wanted is KEEP else wanted


def sealed_secret(
    ctx: Context, draft: Draft, generation: str, now: int, fence: int
) -> StoredSecret:
    """Return the sealed credential of a draft, with its place in the due index."""
    credentials = draft.sealed.credentials.reveal()
    kind = credentials.get("type", "NONE")
    mode = mode_for(draft.provider, kind)
    refreshable = mode is not None and mode.refreshable(credentials)
    expires_at = expiry_of(credentials)
    due = host = None
    buffer = 0
    config = draft.sealed.connection_config.reveal()
    checked = not refreshable and can_check(draft.provider, kind)
    if refreshable:
        buffer = draft.provider.token_expiration_buffer
        due = next_due(now, expires_at, draft.provider.refresh_token_life_days, ctx.random, buffer)
        host = mode.token_host(draft.provider, config) if mode else None
    elif checked:
        due = next_check(now, ctx.random)
        host = checked_host(draft.provider, config)
    secret = StoredSecret(
        environment=draft.integration.environment,
        integration=draft.integration.id,
        connection_id=draft.connection_id,
        generation=generation,
        version=1,
        envelope=NO_ENVELOPE,
        credential_type=kind,
        refreshable=refreshable,
        provider=draft.provider.id,
        issued_at=now,
        expires_at=expires_at,
        fence=fence,
        write_id=ids.short_id(ctx.random),
        due_shard=shard_of(draft.connection_id) if refreshable or checked else None,
        due_at=due,
        host=host,
        margin=read_margin(buffer),
        fetched_at=now if draft.fetched else None,
    )
    return secret.resealed(ctx.vault, draft.sealed.within(LARGEST_SEALED))


def event_of_pending(
    draft: Draft, operation: outbox.OperationName, pending: dict[str, str]
) -> outbox.AuthEvent:
    """Return the event of a draft that waits for confirmation; ``pending`` says of which kind."""
    integration = draft.integration
    pk = tables.connection_pk(integration.environment, integration.id, draft.connection_id)
    return outbox.AuthEvent(
        environment=draft.environment,
        provider=draft.provider.id,
        auth_mode=draft.provider.auth_mode,
        provider_config_key=draft.integration.unique_key,
        connection_id=draft.connection_id,
        operation=operation,
        success=True,
        end_user=_kept(draft.end_user, None),
        tags=_kept(draft.tags, {}),
        webhook_url_override=_kept(draft.webhook_url_override, None),
        pending=pending,
        of=(pk, traces.pending(pending["id"])),
    )


def _event(draft: Draft, made: Saved) -> outbox.AuthEvent:
    return outbox.AuthEvent(
        environment=draft.environment,
        provider=draft.provider.id,
        auth_mode=draft.provider.auth_mode,
        provider_config_key=draft.integration.unique_key,
        connection_id=draft.connection_id,
        operation="override" if made.operation == "override" else "creation",
        success=True,
        error=None,
        end_user=made.connection.end_user if draft.by_session else None,
        tags=made.connection.tags,
        webhook_url_override=made.connection.webhook_url_override,
        log_id=None,
        of=(made.connection.key.pk, made.connection.identity),
    )


def failed_event(
    ctx: Context,
    *,
    environment: Environment,
    provider_config_key: str,
    provider: Provider | None,
    connection_id: str,
    error: tuple[str, str],
    end_user: EndUser | None = None,
    webhook_url_override: str | None = None,
    log_id: str | None = None,
) -> None:
    """Tell the SaaS that an authorization ended without a connection."""
    planned = outbox.plan(
        ctx,
        outbox.AuthEvent(
            environment=environment,
            provider=provider.id if provider else "",
            auth_mode=provider.auth_mode if provider else "",
            provider_config_key=provider_config_key,
            connection_id=connection_id,
            operation="creation",
            success=False,
            error=error,
            end_user=end_user,
            tags=None,
            webhook_url_override=webhook_url_override,
            log_id=log_id,
        ),
    )
    if planned is None:
        return
    writes = list(planned.writes)
    if end_user is not None:  # no connection leads to it
        told = {"event": planned.event_id}
        now = ctx.clock.now()
        writes.append(traces.of_person(environment.id, end_user.id, planned.event_id, told, now))
    with suppress(gates.EnvironmentClosed):
        gates.transact(ctx.store, writes, environment=environment.id, spread=planned.event_id)
        outbox.dispatch(ctx, planned)
