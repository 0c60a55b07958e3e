"""Requests to a provider's API with a connection's credential: who asks, and how it is signed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from keystow.catalog.proxy_request import Caller
from keystow.clock import iso
from keystow.ids import uuid4
from keystow.modes import mode_for

if TYPE_CHECKING:
    from keystow.catalog.loader import Provider
    from keystow.context import Context
    from keystow.records.connection import Sealed
    from keystow.records.integration import Integration


def caller_of(ctx: Context, integration: Integration, provider: Provider, sealed: Sealed) -> Caller:
    """Return on whose behalf requests are built, with one instant and one random value.

    Args:
        ctx: the container's context.
        integration: under which the connection is, or will be.
        provider: its provider.
        sealed: credential and config.
    """
    credentials = sealed.credentials.reveal()
    mode = mode_for(provider, str(credentials.get("type") or "NONE"))
    return Caller(
        provider,
        credentials,
        sealed.connection_config.reveal(),
        iso(ctx.clock.now()),
        uuid4(ctx.random),
        {"client_id": integration.client_id or ""},
        mode.authorization(provider, credentials) if mode else "",
        partial(mode.signed, ctx, provider, integration, sealed) if mode else None,
    )
