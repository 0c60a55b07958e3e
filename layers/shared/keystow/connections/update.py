"""Changing what is not secret of a connection: end user, tags, webhook override, metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from keystow.connections.end_users import check_webhook_url, end_user_of, generated_tags
from keystow.errors import ApiError
from keystow.events import destinations, traces
from keystow.records.connection import (
    Connection,
    end_user_partition,
    metadata_attribute,
    person_of,
)
from keystow.registry import integrations
from keystow.store import (
    All,
    ConditionFailed,
    Equals,
    Exists,
    Missing,
    TransactionConflict,
    Update,
    tables,
)
from keystow.store.operations import THERE

if TYPE_CHECKING:
    from keystow.connections.requests import PatchBody
    from keystow.context import Context
    from keystow.store import Condition, Item, Key, Operation

ATTEMPTS: Final = 12
# One update expression may be 4 KB long; larger patches replace the map whole, guarded by revision.
ENTRIES_AT_ONCE: Final = 80


def patch(
    ctx: Context,
    environment: str,
    provider_config_key: str,
    connection_id: str,
    body: PatchBody,
) -> None:
    """Change end user, tags and webhook override.

    Tags are replaced by those that the end user makes together with those given.

    Raises:
        ApiError: 400 ``unknown_provider_config``, ``invalid_body``; 404 ``not_found``.
    """
    check_webhook_url(body.webhook_url_override, loopback_allowed=ctx.settings.loopback_allowed)
    integration = integrations.by_unique_key(ctx, environment, provider_config_key, fresh=True)
    if integration is None:
        raise ApiError("unknown_provider_config", "There is no integration of this key")
    place = tables.connection(environment, integration.id, connection_id)
    for _attempt in range(ATTEMPTS):
        item = ctx.store.get(place)
        if item is None:
            break
        try:
            change, *former = _patched(ctx, Connection.from_item(item), body)
            if former:
                ctx.store.transact([change, *former])
            else:
                ctx.store.update(change)
        except (ConditionFailed, TransactionConflict):
            continue  # gone, or somebody else has changed whose it is: look
        return
    else:
        raise ApiError("temporarily_unavailable", "The connection kept changing; try again")
    raise ApiError("not_found", "There is no such connection")


def _patched(ctx: Context, before: Connection, body: PatchBody) -> list[Update]:
    """Return the writes of a patch; they hold while the connection is still the same person's."""
    environment = before.environment
    changes: dict[str, Any] = {"updated_at": int(ctx.clock.now() * 1000)}
    remove: list[str] = []
    former: list[Update] = []
    end_user = end_user_of(body.end_user)
    if end_user is not None:
        changes["end_user_details"] = end_user.as_item()
    if end_user is not None or body.tags is not None:
        tags = changes["tags"] = {**generated_tags(end_user), **(body.tags or {})}
        person = person_of(end_user or before.end_user, tags)
        former = traces.of_former(before, person, ctx.clock.now())
        if person is not None:
            changes["end_user"] = end_user_partition(environment, person)
        elif before.person is not None:
            remove.append("end_user")
    if body.webhook_url_override == "":
        remove.append("webhook_url_override")
    elif body.webhook_url_override is not None:
        changes["webhook_url_override"] = destinations.stored(
            body.webhook_url_override,
            environment,
            ctx.vault,
            before=before.webhook_url_override,
        )
    same: Condition = Equals("identity", before.identity)
    if before.person is None:
        same = All((same, Missing("end_user")))
    else:
        same = All((same, Equals("end_user", end_user_partition(environment, before.person))))
    return [Update(before.key, set=changes, remove=tuple(remove), condition=same), *former]


def set_metadata(
    ctx: Context,
    environment: str,
    provider_config_key: str,
    connection_ids: list[str],
    metadata: dict[str, Any],
) -> None:
    """Replace the metadata of one or several connections: of all, or of none.

    Raises:
        ApiError: 404 ``unknown_connection``.
    """
    places = _places(ctx, environment, provider_config_key, connection_ids)
    now = int(ctx.clock.now() * 1000)
    whole = metadata_attribute(metadata)
    writes = [
        Update(
            place,
            set={"metadata": whole, "updated_at": now},
            add={"metadata_revision": 1},
            condition=THERE,
        )
        for place in places
    ]
    _write(ctx, writes, provider_config_key, connection_ids)


def merge_metadata(
    ctx: Context,
    environment: str,
    provider_config_key: str,
    connection_ids: list[str],
    metadata: dict[str, Any],
) -> None:
    """Set single metadata entries of one or several connections: of all, or of none.

    Each entry is written by itself: writers of different keys do not lose each other's.

    Raises:
        ApiError: 404 ``unknown_connection``.
    """
    places = _places(ctx, environment, provider_config_key, connection_ids)
    known: dict[Key, Item | None] = {}
    for _attempt in range(ATTEMPTS):
        writes = [_merge(ctx, place, metadata, known) for place in places]
        try:
            if len(writes) == 1:
                ctx.store.update(writes[0])
            else:
                ctx.store.transact(writes)
        except ConditionFailed:
            # Gone, or its metadata came into being or changed meanwhile: look.
            known = {place: ctx.store.get(place) for place in places}
            if any(item is None for item in known.values()):
                raise _unknown(provider_config_key, connection_ids) from None
            continue
        except TransactionConflict:
            continue
        return
    raise ApiError("temporarily_unavailable", "The connection kept changing; try again")


def _merge(
    ctx: Context, place: Key, metadata: dict[str, Any], known: dict[Key, Item | None]
) -> Update:
    now = int(ctx.clock.now() * 1000)
    item = known.get(place)
    entries = metadata_attribute(metadata)
    if item is None:
        if len(entries) <= ENTRIES_AT_ONCE:
            return Update(
                place,
                set={"updated_at": now},
                set_entries={("metadata", name): text for name, text in entries.items()},
                add={"metadata_revision": 1},
                condition=All((THERE, Exists("metadata"))),
            )
        item = ctx.store.get(place) or {}
    if "metadata" in item and len(entries) <= ENTRIES_AT_ONCE:
        return _merge(ctx, place, metadata, {})
    revision = item.get("metadata_revision")
    unchanged: Condition = (
        Missing("metadata_revision") if revision is None else Equals("metadata_revision", revision)
    )
    return Update(
        place,
        set={"metadata": {**(item.get("metadata") or {}), **entries}, "updated_at": now},
        add={"metadata_revision": 1},
        condition=All((THERE, unchanged)),
    )


def _places(
    ctx: Context, environment: str, provider_config_key: str, connection_ids: list[str]
) -> list[Key]:
    integration = integrations.by_unique_key(ctx, environment, provider_config_key, fresh=True)
    if integration is None:
        raise _unknown(provider_config_key, connection_ids)
    unique = dict.fromkeys(connection_ids)
    return [tables.connection(environment, integration.id, each) for each in unique]


def _write(
    ctx: Context,
    writes: list[Update],
    provider_config_key: str,
    connection_ids: list[str],
) -> None:
    try:
        if len(writes) == 1:
            ctx.store.update(writes[0])
        else:
            operations: list[Operation] = list(writes)
            ctx.store.transact(operations)
    except ConditionFailed:
        raise _unknown(provider_config_key, connection_ids) from None


def _unknown(provider_config_key: str, connection_ids: list[str]) -> ApiError:
    several = " Nothing was changed." if len(connection_ids) > 1 else ""
    which = ", ".join(connection_ids[:5])
    return ApiError(
        "unknown_connection",
        f"No connection {which} of the integration {provider_config_key} was found.{several}",
        status=404,
    )
