"""Deleting a connection: here first, then at the provider where it listens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystow.activity import log as activity
from keystow.connections import pending
from keystow.connections.save import ATTEMPTS
from keystow.errors import ApiError
from keystow.log import logger
from keystow.modes import revocation
from keystow.records.connection import StoredSecret
from keystow.registry import integrations, providers
from keystow.store import All, ConditionFailed, Delete, Equals, tables
from keystow.store.operations import THERE
from keystow.store.store import pages
from keystow.vault import VaultError, VaultUnavailable

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.records.integration import Integration


def delete(ctx: Context, environment: str, provider_config_key: str, connection_id: str) -> None:
    """Delete a connection and revoke its credential at the provider, and what waits under its id.

    What the provider does is recorded in the activity log and never stops the deletion. A refresh
    that is under way finds the connection gone and cannot store anything.

    Raises:
        ApiError: 400 ``unknown_connection``.
    """
    integration = integrations.by_unique_key(ctx, environment, provider_config_key, fresh=True)
    if integration is None:
        raise ApiError("unknown_connection")
    secret = _remove(ctx, integration, connection_id)
    withdrawn = pending.withdraw(ctx, integration, connection_id)
    if secret is None and not withdrawn:
        raise ApiError("unknown_connection")
    if secret is not None:
        _revoke(ctx, integration, secret)


def _remove(ctx: Context, integration: Integration, connection_id: str) -> StoredSecret | None:
    pk = tables.connection_pk(integration.environment, integration.id, connection_id)
    for _attempt in range(ATTEMPTS):
        items = list(pages(ctx.store, tables.CONNECTIONS, pk))
        found = {item["sk"]: item for item in items}
        if tables.CONNECTION not in found:
            return None
        if tables.CONNECTION_SECRET not in found:
            ctx.store.delete(tables.connection(*tables.split_connection_pk(pk)))
            return None  # its integration is being removed, and this was what was left of it
        secret = StoredSecret.from_item(found[tables.CONNECTION_SECRET])
        # The version is part of the condition: what is revoked is what was stored at the end.
        unchanged = All(
            (Equals("generation", secret.generation), Equals("version", secret.version))
        )
        writes: list[Delete] = [
            Delete(tables.connection(*tables.split_connection_pk(pk)), THERE),
            Delete(secret.key, unchanged),
        ]
        try:
            ctx.store.transact(writes)
        except ConditionFailed:
            continue
        for sort_key in found:
            if sort_key.startswith("journal#"):
                entry = sort_key.partition("#")[2]
                ctx.store.delete(tables.journal(*tables.split_connection_pk(pk), entry))
        return secret
    raise ApiError("temporarily_unavailable", "The connection kept changing; try again")


def _revoke(ctx: Context, integration: Integration, secret: StoredSecret) -> None:
    provider = providers.find(ctx, secret.environment, integration.provider)
    if provider is None:
        return
    try:
        result = revocation.revoke(ctx, provider, integration, secret.unseal(ctx.vault))
    except (VaultError, VaultUnavailable) as error:
        logger.warning("not revoked", extra={"cause": type(error).__name__})
        return
    if result.outcome == "unsupported":
        return
    done = result.outcome == "done"
    activity.record(
        ctx,
        secret.environment,
        "events",
        "pre_connection_deletion",
        "success" if done else "failed",
        activity.Message(
            "info" if done else "warn",
            "The credential was revoked at the provider"
            if done
            else "The provider did not confirm that the credential is revoked",
            {"outcome": result.outcome, "detail": result.detail},
        ),
        connection_id=secret.connection_id,
        integration_key=integration.unique_key,
        provider=provider.id,
    )
