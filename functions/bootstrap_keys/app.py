"""The first keys: who may invoke this in IAM gets them, once. No route leads here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keystow import context
from keystow.environments import bootstrap
from keystow.needs import STORE, VAULT, open_now

if TYPE_CHECKING:
    from collections.abc import Mapping

# What the usual first request needs.
NEEDS = (STORE, VAULT)


def handler(event: Mapping[str, Any] | None, _lambda_context: Any) -> dict[str, Any]:
    """Answer the keys, or that they were answered before.

    ``{"rotate": true}`` replaces the account's key instead.

    Nothing is logged: the answer holds keys.
    """
    ctx = context.current()
    if event and event.get("rotate") is True:
        return bootstrap.rotate_account_key(ctx)
    return bootstrap.bootstrap(ctx)


open_now(*NEEDS)
