"""Keys and passwords are tried once a day at providers whose entry tells how.

They cannot be renewed; what is found out is whether their owner must be asked for another. Only a
clear refusal says so, and only the second in a row is told: the first may be a provider's own
trouble, and is looked into within minutes. Lease, fence and commit are those of a refresh: a check
never overwrites what was authorized, deleted or found out meanwhile.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from keystow import ids, metrics
from keystow.activity import log as activity
from keystow.catalog.errors import CatalogueError
from keystow.catalog.loader import unfit_inputs
from keystow.log import logger
from keystow.modes.verification import Asked, ask, can_check
from keystow.oauth.errors import TokenError
from keystow.refresh import commit, lease
from keystow.refresh.due import next_check
from keystow.refresh.engine import TooLate
from keystow.refresh.failures import LONGEST_MS, failure_of
from keystow.registry import integrations, providers
from keystow.store import ConditionFailed, Equals, Update, tables
from keystow.value import replace

if TYPE_CHECKING:
    from keystow.catalog.loader import Provider
    from keystow.context import Context
    from keystow.records.connection import Sealed, StoredSecret
    from keystow.records.integration import Integration


def check(ctx: Context, secret: StoredSecret, *, until: float = float("inf")) -> None:
    """Try a credential and note what came of it.

    Args:
        ctx: the container's context.
        secret: the credential as just read.
        until: epoch seconds after which nothing is sent any more.

    Raises:
        StoreUnavailable, TransactionConflict, VaultUnavailable, TooLate: before anything was sent;
            nothing has changed.
        VaultError: the credential does not open.
    """
    integration = integrations.by_id(ctx, secret.environment, secret.integration)
    provider = None
    if integration is not None:
        provider = providers.find(ctx, secret.environment, integration.provider)
    if integration is None or provider is None or not can_check(provider, secret.credential_type):
        _never_again(ctx, secret)
        return
    sealed = secret.unseal(ctx.vault)
    if ctx.clock.now() >= until:
        raise TooLate
    claimed = lease.claim(ctx, secret, forced=False)
    if not isinstance(claimed, lease.Claimed):
        return  # somebody else is at it, or it has changed
    mine = claimed.secret
    after = _judged(ctx, mine, integration, provider, _ask(ctx, integration, provider, sealed))
    commit.store_failure(ctx, mine, after, provider, integration)


def _never_again(ctx: Context, secret: StoredSecret) -> None:
    """Take a connection out of the due index: its entry does not tell any more how to ask.

    What was found out is forgotten: nothing could ever show that it has changed. No event tells
    that, since it is not known whether the credential works.
    """
    gone = ("due_at", "due_shard", "host", "failure")
    writes = [Update(secret.key, remove=gone, condition=lease.still_mine(secret))]
    if secret.failure is not None:
        writes.append(
            Update(
                tables.connection(secret.environment, secret.integration, secret.connection_id),
                set={"updated_at": int(ctx.clock.now() * 1000)},
                remove=("auth_error",),
                condition=Equals("generation", secret.generation),
            )
        )
    with suppress(ConditionFailed):
        ctx.store.transact(writes)


def _ask(ctx: Context, integration: Integration, provider: Provider, sealed: Sealed) -> Asked:
    """Ask the provider; whatever goes wrong on our side says nothing about the credential."""
    if unfit_inputs(provider, sealed.connection_config.reveal()):
        return Asked("unclear")  # they may stand in the host that the credential is sent to
    try:
        return ask(ctx, integration, provider, sealed, redirects=0)
    except CatalogueError:
        return Asked("unclear")
    except Exception as error:  # noqa: BLE001 - a fault of ours; the lease must not stay behind
        metrics.count(metrics.FAULTS)
        logger.error("check fault", extra={"cause": type(error).__name__})
        return Asked("unclear")


def _judged(
    ctx: Context, mine: StoredSecret, integration: Integration, provider: Provider, asked: Asked
) -> StoredSecret:
    """Return what to store: when to ask again, and the failure if the credential was refused."""
    now = int(ctx.clock.now() * 1000)
    failure, due = mine.failure, next_check(now, ctx.random)
    match asked.verdict:
        case "accepted":
            failure = None
        case "refused":
            error = TokenError(
                "configuration",
                "credential_refused",
                "The provider does not accept the credential any more",
                status=asked.status,
            )
            failure = failure_of(
                error,
                previous=mine.failure,
                now=now,
                lease_until=now,
                log_id=_record(ctx, mine, integration, provider, error),
                random=ctx.random,
            )
            due = failure.next_at
        case "unclear":
            if failure is not None:  # still not known to work: sooner than in a day
                due = now + max(LONGEST_MS, int((asked.retry_after or 0) * 1000))
    return replace(
        mine,
        failure=failure,
        due_at=due,
        lease_until=None,
        write_id=ids.short_id(ctx.random),
    )


def _record(
    ctx: Context,
    mine: StoredSecret,
    integration: Integration,
    provider: Provider,
    error: TokenError,
) -> str:
    return activity.record(
        ctx,
        mine.environment,
        "auth",
        "connection_test",
        "failed",
        activity.Message(
            "error",
            error.description,
            {"kind": error.kind, "code": error.code, "status": error.status},
        ),
        connection_id=mine.connection_id,
        integration_key=integration.unique_key,
        provider=provider.id,
    )
