"""Environments: create, find, change (contract 6.5, 8.5).

No pydantic here; bodies come checked from :mod:`keystow.environments.requests`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from keystow import ids
from keystow.activity import log
from keystow.activity.log import Message
from keystow.environments import issuing, keys
from keystow.environments.issuing import same
from keystow.errors import ApiError, Issue
from keystow.events import destinations, endpoints
from keystow.records.environment import (
    Environment,
    WebhookSettings,
    seal_hmac_key,
    seal_signing_key,
)
from keystow.secret import Secret
from keystow.store import (
    ConditionFailed,
    Delete,
    Equals,
    Key,
    Missing,
    Put,
    StoreUnavailable,
    TransactionConflict,
    Update,
    tables,
)
from keystow.store.operations import NEW, THERE, All
from keystow.store.store import pages
from keystow.value import Value, replace
from keystow.vault import VaultUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystow.context import Context
    from keystow.records.environment import ApiKey, ConnectUiSettings
    from keystow.store import Item, Operation

MAX_ENVIRONMENTS: Final = 100
PRODUCTION: Final = "prod"
# How long the key that a rotation replaced goes on signing beside the new one.
OVERLAP_MS: Final = 24 * 3600 * 1000
_ATTEMPTS: Final = 20


def find(ctx: Context, environment: str) -> Environment | None:
    """Return an environment by its immutable id, as it is now; None also while it is removed."""
    item = ctx.store.get(tables.environment_settings(environment))
    found = None if item is None else Environment.from_item(item)
    return None if found is None or found.deleting else found


def required(ctx: Context, environment: str) -> Environment:
    """Return an environment by its immutable id. Raises 404 ``not_found``."""
    found = find(ctx, environment)
    if found is None:
        raise ApiError("not_found", "There is no such environment")
    return found


def claims(ctx: Context) -> list[Item]:
    """Return the claims on environments' names: ``{environment, number, sk}``, oldest first."""
    found = list(pages(ctx.store, tables.REGISTRY, keys.ACCOUNT, prefix="environment#"))
    return sorted(found, key=lambda item: (item["number"], item["sk"]))


def by_reference(ctx: Context, reference: str | int) -> Environment:
    """Return an environment by its UUID or number, also one being removed. Raises 404."""
    if isinstance(reference, int):
        claim = ctx.store.get(number_claim(reference))
        named = [] if claim is None else [claim]
    else:
        named = [each for each in claims(ctx) if each.get("uuid", reference) == reference]
    for each in named:
        item = ctx.store.get(tables.environment_settings(each["environment"]))
        if item is not None and reference in {item["uuid"], item["number"]}:
            return Environment.from_item(item)
    raise ApiError("not_found", "There is no such environment")


def listed(ctx: Context, name: str | None = None) -> list[Environment]:
    """Return all environments, oldest first, or the one of a name; none that is being removed."""
    claimed = [
        c for c in claims(ctx) if name is None or c["sk"] == tables.environment_name(name).sk
    ]
    found = (find(ctx, claim["environment"]) for claim in claimed)
    return [environment for environment in found if environment is not None]


def number_claim(number: int) -> Key:
    """Return the key of the claim on a number: two environments must never answer to one."""
    return Key(tables.REGISTRY, keys.ACCOUNT, f"environment_number#{number}")


def new_environment(
    ctx: Context,
    name: str,
    *,
    is_production: bool,
    callback_url: str | None = None,
    signing_key: str | None = None,
    public_keys: PublicKeys | None = None,
) -> tuple[Environment, Secret[str], list[Operation]]:
    """Return a new environment, the text of its webhook signing key, and the writes to store it."""
    public_keys = public_keys or PublicKeys()
    now = ctx.clock.now()
    environment_id = ids.short_id(ctx.random)
    signing_key = signing_key or ids.uuid4(ctx.random)
    environment = Environment(
        id=environment_id,
        number=ids.numeric_id(now, ctx.random),
        name=name,
        uuid=ids.uuid4(ctx.random),
        public_key=ids.uuid4(ctx.random),
        signing_key=seal_signing_key(ctx.vault, environment_id, signing_key),
        created_at=int(now * 1000),
        is_production=is_production,
        callback_url=callback_url,
        webhooks=WebhookSettings(on_connection_deletion=True),
        hmac_enabled=bool(public_keys.enabled),
        hmac_key=(
            seal_hmac_key(ctx.vault, environment_id, public_keys.key.reveal())
            if public_keys.key
            else None
        ),
    )
    writes: list[Operation] = [
        Put(tables.environment_name(name), _claim(environment), NEW),
        Put(number_claim(environment.number), _claim(environment), NEW),
        Put(environment.key, environment.as_item(), NEW),
    ]
    if environment.hmac_enabled:
        writes.append(_pointer(environment))
    return environment, Secret(signing_key), writes


def _pointer(environment: Environment) -> Operation:
    return Put(tables.public_key(environment.public_key), {"environment": environment.id})


def _claim(environment: Environment) -> Item:
    return {
        "environment": environment.id,
        "number": environment.number,
        "uuid": environment.uuid,
    }


def create(
    ctx: Context,
    name: str,
    *,
    is_production: bool,
    callback_url: str | None = None,
    signing_key: str | None = None,
    public_keys: PublicKeys | None = None,
) -> Environment:
    """Create an environment. It has no API key yet: :mod:`~keystow.environments.issuing` makes one.

    Raises:
        ApiError: 409 ``conflict`` when the name is taken; 400 ``resource_capped``,
            ``invalid_body``.
    """
    if public_keys and public_keys.enabled and not public_keys.key:
        raise _no_hmac_key()
    if len(claims(ctx)) >= MAX_ENVIRONMENTS:
        raise ApiError("resource_capped", f"An account has at most {MAX_ENVIRONMENTS} environments")
    if ctx.store.get(tables.environment_name(name)) is not None:
        raise ApiError("conflict", "Environment already exists")
    for _ in range(_ATTEMPTS):
        environment, _, writes = new_environment(
            ctx,
            name,
            is_production=is_production,
            callback_url=callback_url,
            signing_key=signing_key,
            public_keys=public_keys,
        )
        try:
            ctx.store.transact(writes)
        except ConditionFailed as failure:
            if 0 in failure.failed:
                raise ApiError("conflict", "Environment already exists") from None
            continue  # the number was drawn before in this millisecond
        return environment
    raise TransactionConflict("no free number")


def write_webhooks(ctx: Context, environment: str, given: Mapping[str, Any]) -> WebhookSettings:
    """Replace the webhook settings; endpoints that were turned off are tried again. Raises 404.

    What is left out of ``given`` gets its default, but for ``on_connection_deletion``, which stays.
    """
    before = required(ctx, environment).webhooks
    wish = WebhookSettings(**{"on_connection_deletion": before.on_connection_deletion, **given})

    def kept(url: str | None, old: str | None) -> str | None:
        return url and destinations.stored(url, environment, ctx.vault, before=old)

    webhooks = replace(
        wish,
        primary_url=kept(wish.primary_url, before.primary_url),
        secondary_url=kept(wish.secondary_url, before.secondary_url),
    )
    change = Update(
        tables.environment_settings(environment),
        set={"webhooks": webhooks.as_json()},
        condition=All((THERE, Missing("deleting"))),
    )
    try:
        ctx.store.transact([change, endpoints.enabling(environment)])
    except ConditionFailed:
        raise ApiError("not_found", "There is no such environment") from None
    return webhooks


def write_connect_ui(ctx: Context, environment: str, wish: ConnectUiSettings) -> None:
    """Replace how the Connect UI looks. Raises 404."""
    change = Update(
        tables.environment_settings(environment),
        set={"connect_ui": wish.as_item()},
        condition=All((THERE, Missing("deleting"))),
    )
    try:
        ctx.store.update(change)
    except ConditionFailed:
        raise ApiError("not_found", "There is no such environment") from None


class PublicKeys(Value):
    """Whether browsers may come with the public key, and the key of their HMACs.

    What is None stays; a ``key`` "" removes it.
    """

    enabled: bool | None = None
    key: Secret[str] | None = None


class Change(Value):
    """What of an environment shall change; what is None stays.

    ``callback_url`` "" removes it.
    """

    name: str | None = None
    is_production: bool | None = None
    callback_url: str | None = None
    public_keys: PublicKeys = PublicKeys()


def change(ctx: Context, environment: Environment, wish: Change, by: ApiKey | None = None) -> None:
    """Rename an environment, or set its flag of production, its callback and its public keys.

    Raises:
        ApiError: 404; 409 ``conflict`` when the name is taken, or the environment was renamed at
            the same moment.
    """
    fields: Item = {}
    if wish.name is not None:
        fields["name"] = wish.name
    if wish.is_production is not None:
        fields["is_production"] = wish.is_production
    if wish.callback_url:
        fields["callback_url"] = wish.callback_url
    remove: tuple[str, ...] = ("callback_url",) if wish.callback_url == "" else ()
    as_read = All((THERE, Missing("deleting"), Equals("name", environment.name)))
    writes: list[Operation] = []
    hmac, gone, pointing = _public_keys(ctx, environment, wish.public_keys)
    fields |= hmac
    remove += gone
    if fields or remove:
        writes.append(Update(environment.key, set=fields, remove=remove, condition=as_read))
    if wish.name is not None and wish.name != environment.name:
        owned = Equals("environment", environment.id)
        writes.append(Put(tables.environment_name(wish.name), _claim(environment), NEW))
        writes.append(Delete(tables.environment_name(environment.name), owned))
    writes += pointing
    if not writes:
        return
    try:
        ctx.store.transact(writes)
    except ConditionFailed as failure:
        if 1 in failure.failed:
            raise ApiError("conflict", "Environment already exists") from None
        required(ctx, environment.id)
        raise ApiError("conflict", "The environment was changed at the same moment") from None
    if pointing:
        state = "taken" if hmac["hmac_enabled"] else "refused"
        key = " under another HMAC key" if "hmac_key" in hmac else ""
        told = Message("info", f"Public keys are {state}{key}", issuing.maker_of(by))
        log.record(ctx, environment.id, "environment", "change_public_keys", "success", told)


def _public_keys(
    ctx: Context, environment: Environment, wish: PublicKeys
) -> tuple[Item, tuple[str, ...], list[Operation]]:
    """Return what a wish sets and removes of an environment's row, and what it writes beside it.

    Raises:
        ApiError: 400 ``invalid_body``: switched on without a key.
    """
    if wish == PublicKeys():
        return {}, (), []
    removed = wish.key is not None and not wish.key.reveal()
    enabled = environment.hmac_enabled if wish.enabled is None else wish.enabled
    if enabled and (removed or (wish.key is None and environment.hmac_key is None)):
        raise _no_hmac_key()
    fields: Item = {"hmac_enabled": enabled}
    if wish.key:
        sealed = seal_hmac_key(ctx.vault, environment.id, wish.key.reveal())
        fields["hmac_key"] = sealed.as_item()
    off = Delete(tables.public_key(environment.public_key))
    return fields, ("hmac_key",) if removed else (), [_pointer(environment) if enabled else off]


def _no_hmac_key() -> ApiError:
    fault = "public keys are taken with an HMAC only, which needs a key"
    issue = Issue("custom", fault, ("hmac_key",))
    return ApiError("invalid_body", issues=[issue])


def rotate_signing_key(
    ctx: Context, environment: str, by: ApiKey | None, new_key: Secret[str] | None = None
) -> Secret[str]:
    """Replace the webhook signing key and return the new one: one that is given, or a random one.

    The replaced key signs beside the new one for a day (Standard Webhooks: two signatures while a
    secret rotates); one replaced before that no longer does.

    Raises:
        ApiError: 404; 409 ``multiple_webhook_signing_keys`` when another rotation won; 500
            ``rotation_failed`` when KMS or the table did not answer.
    """
    try:
        text = _rotated(ctx, environment, new_key or Secret(ids.uuid4(ctx.random)))
    except (StoreUnavailable, TransactionConflict, VaultUnavailable):
        raise ApiError("rotation_failed", "A service did not answer; rotate again") from None
    told = Message("info", "The webhook signing key was replaced", issuing.maker_of(by))
    log.record(ctx, environment, "environment", "rotate_webhook_signing_key", "success", told)
    return text


def _rotated(ctx: Context, environment: str, text: Secret[str]) -> Secret[str]:
    key = tables.environment_settings(environment)
    item = ctx.store.get(key)
    if item is None or item.get("deleting"):
        raise ApiError("not_found", "There is no such environment")
    change = Update(
        key,
        set={
            "signing_key": seal_signing_key(ctx.vault, environment, text.reveal()).as_item(),
            "previous_signing_key": item["signing_key"],
            "previous_signing_key_until": int(ctx.clock.now() * 1000) + OVERLAP_MS,
        },
        add={"signing_revision": 1},
        condition=All((Missing("deleting"), same(item, "signing_revision"))),
    )
    try:
        ctx.store.transact([change])
    except ConditionFailed:
        raise ApiError(
            "multiple_webhook_signing_keys", "The signing key was rotated at the same moment"
        ) from None
    return text
