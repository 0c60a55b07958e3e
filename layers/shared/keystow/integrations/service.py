"""What may be done with integrations: create, read, change, remove (contract 6.1, 6.2).

A unique key is claimed by an item of its own, written in the same transaction as the integration,
so that of any number of parallel creations one succeeds. Everything else refers to an integration
by its immutable id, so that a rename moves the claim and nothing more.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

from keystow import ids
from keystow.catalog import loader
from keystow.errors import ApiError, Issue
from keystow.integrations import fixed, removal, views
from keystow.integrations.configuration import merged_custom
from keystow.modes import callbacks, leaves, takes
from keystow.records.connection import integration_partition
from keystow.records.integration import AppSecrets, Integration
from keystow.registry import integrations, providers
from keystow.secret import Secret
from keystow.store import (
    ConditionFailed,
    Delete,
    Equals,
    Put,
    TransactionConflict,
    Update,
    gates,
    tables,
)
from keystow.store.operations import NEW, THERE, All
from keystow.value import replace

if TYPE_CHECKING:
    from keystow.catalog.loader import Provider
    from keystow.context import Context
    from keystow.integrations.requests import (
        CreateIntegration,
        Credentials,
        OAuth2Client,
        UpdateIntegration,
    )
    from keystow.records.environment import Environment
    from keystow.store import Operation

BRANDING: Final = ("oauth_client_name", "oauth_client_uri", "oauth_client_logo_uri")
CLIENT_MODES: Final = frozenset({"OAUTH1", "OAUTH2", "TBA"})
NEEDS_CREDENTIALS: Final = frozenset({"OAUTH1", "OAUTH2", "APP", "CUSTOM"})
_ATTEMPTS: Final = 50


def create(ctx: Context, environment: str, body: CreateIntegration) -> Integration:
    """Create an integration and return it.

    Raises:
        ApiError: 400 ``invalid_body``: unknown provider, unique key taken, credentials or
            configuration that do not fit the provider.
    """
    provider = providers.find(ctx, environment, body.provider)
    if provider is None:
        issue = Issue("invalid_string", "There is no such provider", ("provider",))
        raise ApiError("invalid_body", issues=[issue])
    claim = tables.integration_name(environment, body.unique_key)
    if ctx.store.get(claim) is not None:
        raise _taken()
    needs_client = provider.auth_mode in NEEDS_CREDENTIALS and not provider.client_per_connection
    if body.credentials is None and needs_client:
        raise ApiError("invalid_body", "Missing credentials")
    own = body.own_callback is not None and _own_callback(provider, wanted=body.own_callback)
    now = int(ctx.clock.now() * 1000)
    made = Integration(
        environment=environment,
        id=ids.short_id(ctx.random),
        unique_key=body.unique_key,
        provider=provider.id,
        created_at=now,
        updated_at=now,
        display_name=body.display_name,
        forward_webhooks=body.forward_webhooks,
        own_callback=own,
        scopes=",".join(provider.default_scopes) or None,
    )
    secrets = AppSecrets()
    if body.credentials is not None:
        made, secrets = _with_credentials(made, secrets, provider, body.credentials)
    custom = merged_custom(provider, {}, body.integration_config, body.custom)
    made, secrets = _with_custom(made, secrets, {**secrets.custom.reveal(), **custom})
    if _has_secrets(secrets):
        made = made.with_secrets(ctx.vault, secrets)
    made = _with_fixed(ctx, made, provider, body)
    writes: list[Operation] = [
        Put(claim, {"integration": made.id}, NEW),
        Put(made.key, made.as_item(), NEW),
    ]
    uses = _use_of(environment, provider.id, 1)
    try:
        gates.transact(ctx.store, [*writes, *uses], environment=environment, spread=body.unique_key)
    except ConditionFailed as failure:
        if 0 in failure.failed:
            raise _taken() from None
        if uses and len(writes) in failure.failed:  # the provider was removed meanwhile
            issue = Issue("invalid_string", "There is no such provider", ("provider",))
            raise ApiError("invalid_body", issues=[issue]) from None
        raise
    return made


def update(ctx: Context, environment: str, unique_key: str, body: UpdateIntegration) -> Integration:
    """Change what the body names, and return the integration.

    Each attempt builds on the revision it read and is written only if that is still the stored
    one; otherwise it starts over, so that changes made at the same moment all stay.

    Raises:
        ApiError: 404 ``not_found``; 400 ``invalid_body`` as :func:`create`, or when the new unique
            key is taken, or when a rename is asked for while there are connections.
    """
    for _ in range(_ATTEMPTS):
        stored = required(ctx, environment, unique_key)
        changed = _changed(ctx, stored, body)
        unchanged = All((THERE, Equals("revision", stored.revision)))
        writes: list[Operation] = [Put(changed.key, changed.as_item(), unchanged)]
        if changed.unique_key != stored.unique_key:
            _require_no_connections(ctx, stored)
            new_claim = tables.integration_name(environment, changed.unique_key)
            old_claim = tables.integration_name(environment, stored.unique_key)
            owned = Equals("integration", stored.id)
            writes += [Put(new_claim, {"integration": stored.id}, NEW), Delete(old_claim, owned)]
        try:
            gates.transact(ctx.store, writes, environment=environment, spread=stored.id)
        except ConditionFailed as failure:
            if 1 in failure.failed and 0 not in failure.failed:
                raise ApiError(
                    "invalid_body", "This unique key is already used by another integration"
                ) from None
            continue
        finally:
            integrations.forget(ctx, environment, stored.unique_key)
            integrations.forget(ctx, environment, changed.unique_key)
        return changed
    raise TransactionConflict("too many changes of one integration at a time")


def delete(ctx: Context, environment: str, unique_key: str) -> None:
    """Remove an integration, and with it its connections.

    From its first call on no connection of it can be reached. Their rows are removed too, a bounded
    number in one call (:mod:`keystow.integrations.removal`).
    Providers are not told: delete connections one by one first, where tokens must be revoked.

    Raises:
        ApiError: 404 ``not_found``; 503 ``temporarily_unavailable`` when rows are left: nobody
            reaches them, and the same call goes on.
    """
    stored = integrations.by_unique_key(ctx, environment, unique_key, fresh=True)
    if stored is not None:
        _remove(ctx, environment, stored)
    elif not removal.is_unfinished(ctx, environment, unique_key):
        raise _unknown(unique_key)
    if not removal.purge(ctx, environment, unique_key):
        raise ApiError(
            "temporarily_unavailable",
            "The integration is gone; repeat the request to remove the connections that are left",
            headers={"retry-after": "1"},
        )


def _remove(ctx: Context, environment: str, stored: Integration) -> None:
    owned = Equals("integration", stored.id)
    gone: list[Operation] = [
        Delete(stored.key, THERE),
        Delete(tables.integration_name(environment, stored.unique_key), owned),
    ]
    counted = _use_of(environment, stored.provider, -1)
    shut = True
    try:
        while True:
            mark = removal.mark(ctx, environment, stored, shut=shut)
            try:
                ctx.store.transact([*gone, *counted, *mark])
            except ConditionFailed as failure:
                if not counted or set(failure.failed) != {len(gone)}:
                    # Renamed or removed at the same moment.
                    raise _unknown(stored.unique_key) from None
                counted = []  # its provider is gone; there is nothing to count down
            except TransactionConflict:
                if not shut:
                    raise
                shut = False  # too many are writing for all at once
            else:
                return
    finally:
        integrations.forget(ctx, environment, stored.unique_key)


def required(ctx: Context, environment: str, unique_key: str) -> Integration:
    """Return the integration of a unique key, as it is now. Raises 404 ``not_found``."""
    found = integrations.by_unique_key(ctx, environment, unique_key, fresh=True)
    if found is None:
        raise _unknown(unique_key)
    return found


def public(
    ctx: Context,
    integration: Integration,
    provider: Provider | None,
    base_url: str,
    *,
    credentials: bool = False,
    webhook: bool = False,
    environment: Environment | None = None,
) -> dict[str, Any]:
    """Return the public shape of an integration (contract 6.1).

    Args:
        ctx: opens the secrets, when asked for.
        integration: what to show.
        provider: its provider; None when a custom one has vanished.
        base_url: the canonical URL, without trailing slash.
        credentials: show the client's credentials as well; the caller has checked the scope.
        webhook: show where the provider may send its own webhooks.
        environment: shows the owner's side: which redirect URI to register; needed for
            ``webhook``. None: as a connect session sees it.
    """
    shown = views.for_session(integration, provider, base_url)
    if environment is not None:
        uses = provider is not None and leaves(provider)
        shown["own_callback"] = bool(provider and callbacks.is_own(integration, provider))
        shown["callback_url"] = (
            callbacks.redirect_uri(environment, integration, provider, base_url)
            if uses and provider is not None
            else None
        )
    if webhook and environment is not None:
        shown["webhook_url"] = views.webhook_url(integration, provider, environment, base_url)
    if credentials:
        mode = provider.auth_mode if provider is not None else ""
        shown["credentials"] = _shown_credentials(ctx, integration, mode)
    return shown


def _changed(ctx: Context, stored: Integration, body: UpdateIntegration) -> Integration:
    now = int(ctx.clock.now() * 1000)
    changed = replace(stored, updated_at=now, revision=stored.revision + 1)
    if body.unique_key is not None:
        changed = replace(changed, unique_key=body.unique_key)
    if body.display_name is not None:
        changed = replace(changed, display_name=body.display_name)
    if body.forward_webhooks is not None:
        changed = replace(changed, forward_webhooks=body.forward_webhooks)
    configured = body.integration_config is not None or body.custom is not None
    if body.credentials is None and not configured and body.own_callback is None:
        return changed
    provider = providers.find(ctx, stored.environment, stored.provider)
    if provider is None:
        raise ApiError("invalid_body", "The provider of this integration no longer exists")
    if body.own_callback is not None:
        changed = replace(changed, own_callback=_own_callback(provider, wanted=body.own_callback))
        if body.credentials is None and not configured:
            return changed
    secrets = stored.secrets(ctx.vault)
    if body.credentials is not None:
        changed, secrets = _with_credentials(changed, secrets, provider, body.credentials)
    if body.integration_config is not None or body.custom is not None:
        held = secrets.custom.reveal()
        custom = merged_custom(provider, held, body.integration_config, body.custom)
        changed, secrets = _with_custom(changed, secrets, custom)
        changed = _with_fixed(ctx, changed, provider, body)
    return changed.with_secrets(ctx.vault, secrets)


def _own_callback(provider: Provider, *, wanted: bool) -> bool:
    """Return what is wished, where it can be honoured. Raises 400 ``invalid_body``."""
    fault = ""
    if wanted and not leaves(provider):
        fault = f"{provider.auth_mode} is not authorized by way of a callback"
    elif not wanted and leaves(provider) and callbacks.must_be_own(provider):
        fault = "each connection of this provider chooses its host: its callback must be its own"
    if fault:
        raise ApiError("invalid_body", issues=[Issue("custom", fault, ("own_callback",))])
    return wanted


def _with_credentials(
    integration: Integration, secrets: AppSecrets, provider: Provider, given: Credentials
) -> tuple[Integration, AppSecrets]:
    """Map credentials to what is stored (contract 6.2, "Storage mapping")."""
    # An app at an MCP server is an OAuth client like others.
    if given.type != provider.auth_mode and not (
        given.type == "OAUTH2" and takes(provider.auth_mode, "OAUTH2")
    ):
        raise ApiError(
            "invalid_body",
            f"Credentials of type {given.type} do not fit a provider of mode {provider.auth_mode}",
        )
    if given.type == "APP":
        changed = replace(integration, client_id=given.app_id, app_link=given.app_link)
        return changed, replace(secrets, client_secret=Secret(_base64(given.private_key)))
    if given.type == "OAUTH2" and not given.client_secret:
        _check_public_client(integration, provider, given)
    changed = replace(integration, client_id=given.client_id)
    secrets = replace(secrets, client_secret=Secret(given.client_secret))
    if given.type == "CUSTOM":
        custom = {
            **secrets.custom.reveal(),
            "app_id": given.app_id,
            "private_key": _base64(given.private_key),
        }
        return _with_custom(replace(changed, app_link=given.app_link), secrets, custom)
    if given.scopes is not None:
        changed = replace(changed, scopes=given.scopes)
    if given.webhook_secret is not None:
        secrets = replace(secrets, webhook_secret=Secret(given.webhook_secret or None))
    return changed, secrets


def _check_public_client(integration: Integration, provider: Provider, given: OAuth2Client) -> None:
    """Refuse a client without secret where that would undo a protection (RFC 9700 §2.1.1)."""
    path = ("credentials", "client_secret")
    if provider.disable_pkce:
        text = "this provider does not take PKCE, without which a client needs a secret"
        raise ApiError("invalid_body", issues=[Issue("too_small", text, path)])
    if integration.client_id is not None and "client_secret" not in given.model_fields_set:
        text = 'expected a text; "" turns this into a public client'
        raise ApiError("invalid_body", issues=[Issue("invalid_type", text, path)])


def _with_custom(
    integration: Integration, secrets: AppSecrets, custom: dict[str, Any]
) -> tuple[Integration, AppSecrets]:
    # The label of an input is no secret, and lists show it: it need not be opened for them.
    label = custom.get("keyLabel") or None
    # So is what a client's metadata document shows to everybody.
    branding = {name: custom[name] for name in BRANDING if custom.get(name)}
    changed = replace(integration, key_label=label, branding=branding or None)
    return changed, replace(secrets, custom=Secret(custom))


def _with_fixed(
    ctx: Context,
    integration: Integration,
    provider: Provider,
    body: CreateIntegration | UpdateIntegration,
) -> Integration:
    given = {"integration_config": body.integration_config, "custom": body.custom}
    named = [name for values in given.values() for name in values or {}]
    if not any(provider.can_be_fixed(name) for name in named):
        return integration
    held = integration.fixed_inputs(ctx.vault).reveal()
    return integration.with_fixed(ctx.vault, Secret(fixed.changed(provider, held, given)))


def _has_secrets(secrets: AppSecrets) -> bool:
    return bool(secrets.client_secret or secrets.webhook_secret or secrets.custom)


def _shown_credentials(ctx: Context, integration: Integration, mode: str) -> dict[str, Any] | None:
    if integration.client_id is None or mode not in {*CLIENT_MODES, "APP", "CUSTOM"}:
        return None
    secrets = integration.secrets(ctx.vault)
    if mode in CLIENT_MODES:
        return {
            "type": mode,
            "client_id": integration.client_id,
            "client_secret": secrets.client_secret.reveal(),
            "scopes": integration.scopes or None,
            "webhook_secret": secrets.webhook_secret.reveal() or None,
        }
    if mode == "APP":
        return {
            "type": mode,
            "app_id": integration.client_id,
            "private_key": _from_base64(secrets.client_secret.reveal()),
            "app_link": integration.app_link,
        }
    custom = secrets.custom.reveal()
    return {
        "type": mode,
        "client_id": integration.client_id,
        "client_secret": secrets.client_secret.reveal(),
        "app_id": custom.get("app_id"),
        "app_link": integration.app_link,
        "private_key": _from_base64(custom.get("private_key") or ""),
    }


def _require_no_connections(ctx: Context, integration: Integration) -> None:
    # The index follows the table within about a second: a connection made just now may be missed.
    # It then goes on working under the new name, since nothing stored holds the old one.
    partition = integration_partition(integration.environment, integration.id)
    found = ctx.store.query(tables.CONNECTIONS, partition, index="by_integration", limit=1)
    if found.items:
        raise ApiError("invalid_body", "An integration with connections can't be renamed")


def _use_of(environment: str, provider_id: str, change: int) -> list[Operation]:
    """Return the write that counts an integration of a custom provider, in or out.

    A custom provider can thus never be removed in the moment in which it is taken into use.
    """
    if loader.built_in(provider_id) is not None:
        return []
    key = tables.custom_provider(environment, provider_id)
    return [Update(key, add={"users": change, "revision": 1}, condition=THERE)]


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _from_base64(text: str) -> str:
    return base64.b64decode(text).decode()


def _taken() -> ApiError:
    issue = Issue("invalid_string", "Unique key already exists", ("uniqueKey",))
    return ApiError("invalid_body", issues=[issue])


def _unknown(unique_key: str) -> ApiError:
    return ApiError("not_found", f'There is no integration "{unique_key}"')
