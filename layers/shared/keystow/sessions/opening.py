"""All that a page needs to begin with a connect session, in one answer.

A browser would otherwise ask three functions one after another, each of which may have to start
first, before its person sees what to connect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from keystow.integrations import views
from keystow.modes import form_of
from keystow.registry import integrations, providers
from keystow.sessions import outcomes, service

if TYPE_CHECKING:
    from keystow.catalog.loader import Provider
    from keystow.context import Context
    from keystow.records.session import ConnectSession

FORMS: Final = 10
"""Definitions of so many providers are sent along; a page asks for another when it is chosen."""


def describe(ctx: Context, session: ConnectSession, base_url: str) -> dict[str, Any]:
    """Return a session as :func:`keystow.sessions.service.describe`, and beside it what is next.

    ``integrations`` are those of ``GET /integrations``, ``providers`` the definitions of the ones
    that can be connected, by key, as ``GET /providers/{provider}`` answers them, and ``status`` is
    that of ``GET /connect/session/status``.

    Args:
        ctx: the store.
        session: whose.
        base_url: the canonical URL, without trailing slash.
    """
    environment = session.environment
    known: dict[str, Provider | None] = {}
    shown = []
    forms: dict[str, dict[str, Any]] = {}
    for each in integrations.list_all(ctx, environment):
        if not service.applies_to(session, each.unique_key):
            continue
        if each.provider not in known:
            known[each.provider] = providers.find(ctx, environment, each.provider)
        provider = known[each.provider]
        view = views.for_session(each, provider, base_url)
        shown.append(view)
        if provider is not None and view.get("connectable", True) and len(forms) < FORMS:
            forms[provider.id] = form_of(provider, base_url)
    described: dict[str, Any] = service.describe(ctx, session)["data"]
    more = {"integrations": shown, "providers": forms, "status": outcomes.describe(session)["data"]}
    return {"data": {**described, **more}}
