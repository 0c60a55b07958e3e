"""Clients that were registered without an operator's doing, each kept for a day (RFC 7591).

    authorization ──▶ a row of this integration, server and callback? ──▶ the client in it
                          └─ none, or near its end ──▶ register ──▶ the row

So thousands of people who connect in a day are one client to the server. The connection itself
keeps the client that its tokens were issued to: a refresh needs no row. A server that does not know
the client any more says ``invalid_client``: then the row is dropped, and the next attempt registers
anew.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from keystow.ids import sha256_hex
from keystow.secret import Secret
from keystow.store import Put, tables
from keystow.vault import Envelope, Purpose, VaultError

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.records.integration import Integration
    from keystow.store import Key

KEPT_SECONDS: Final = 24 * 3600
# A secret that ends sooner is not handed to somebody who may take half an hour to agree.
LEAST_SECONDS: Final = 3_600


def name_of(registration_url: str, token_url: str, redirect_uri: str) -> str:
    """Return the name of a client.

    The endpoint that its secret goes to is part of it: a stranger's metadata may name the
    registration endpoint of an honest server beside a token endpoint of the stranger's own.
    """
    return sha256_hex(json.dumps([registration_url, token_url, redirect_uri]))


def find(ctx: Context, integration: Integration, name: str) -> dict[str, str] | None:
    """Return ``client_id``, ``client_secret`` and ``auth_method`` of a client that is kept."""
    item = ctx.store.get(_key(integration, name))
    if item is None or item["ends_at"] <= ctx.clock.now():
        return None
    binding = ("registered", integration.id, name)
    envelope = Envelope.from_item(item["sealed"])
    try:
        plain = ctx.vault.open(Purpose.SESSION, integration.environment, binding, envelope)
    except VaultError:
        return None  # its data key was destroyed: another client is had for the asking
    found: dict[str, str] = json.loads(plain)
    return found


def keep(
    ctx: Context,
    integration: Integration,
    name: str,
    client: Secret[dict[str, str]],
    secret_ends_at: float | None,
) -> None:
    """Keep a client for others of this integration.

    Args:
        ctx: the container's context.
        integration: whose.
        name: as :func:`name_of` returns it.
        client: ``client_id``, ``client_secret`` and ``auth_method``.
        secret_ends_at: epoch seconds; None: it does not end.
    """
    now = ctx.clock.now()
    ends_at = now + KEPT_SECONDS
    if secret_ends_at is not None:
        ends_at = min(ends_at, secret_ends_at - LEAST_SECONDS)
    if ends_at <= now:
        return
    binding = ("registered", integration.id, name)
    plain = json.dumps(client.reveal()).encode()
    envelope = ctx.vault.seal(Purpose.SESSION, integration.environment, binding, plain)
    item: dict[str, Any] = {
        "ends_at": int(ends_at),
        "ttl": int(ends_at) + 3600,
        "sealed": envelope.as_item(),
    }
    ctx.store.put(Put(_key(integration, name), item))


def drop(ctx: Context, integration: Integration, name: str) -> None:
    """Forget a client that its server does not know any more."""
    ctx.store.delete(_key(integration, name))


def _key(integration: Integration, name: str) -> Key:
    return tables.registered_client(integration.environment, integration.id, name)
