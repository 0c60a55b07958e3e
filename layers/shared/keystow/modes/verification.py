"""Trying a typed-in credential: once before it is stored (contract 11.1), and then once a day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from keystow.errors import ApiError
from keystow.modes import mode_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystow.catalog.loader import Provider
    from keystow.context import Context
    from keystow.records.connection import Sealed
    from keystow.records.integration import Integration

# For all endpoints together: the function that asks has 29 s.
DEADLINE_SECONDS = 12.0
_REFUSALS: Final = frozenset({401, 403})

Verdict = Literal["accepted", "refused", "unclear"]


@dataclass(frozen=True)
class Asked:
    """What a provider thinks of a credential.

    ``accepted``: an endpoint answered 2xx, or a status that the entry takes for it. ``refused``:
    every endpoint was asked, and each answered 401 or 403.
    ``unclear``: anything else, from which nothing follows.
    """

    verdict: Verdict
    status: int | None = None  # of the last answer
    retry_after: float | None = None  # seconds, where the last answer asked for them


def can_check(provider: Provider, credential_type: str) -> bool:
    """Return whether a stored credential of this type can be tried at this provider."""
    mode = mode_for(provider, credential_type)
    return mode is not None and mode.checkable and bool(provider.proxy.get("verification"))


def checked_host(provider: Provider, config: Mapping[str, Any]) -> str | None:
    """Return the host that is asked about a connection's credential, None when it is not known."""
    from keystow.catalog.errors import InterpolationError

    verification = provider.proxy.get("verification") or {}
    template = verification.get("base_url_override") or provider.proxy.get("base_url") or ""
    try:
        return urlsplit(provider.url(str(template), config)).netloc.lower() or None
    except (InterpolationError, ValueError):
        return None


def verify(ctx: Context, integration: Integration, provider: Provider, sealed: Sealed) -> bool:
    """Require that the provider takes a credential, where its entry tells how to ask.

    Returns:
        Whether it was asked; False: the entry tells no way, the credential is taken as it is.

    Raises:
        ApiError: 400 ``connection_test_failed`` when no endpoint answered 2xx.
    """
    if not provider.proxy.get("verification"):
        return False
    from keystow.catalog.errors import CatalogueError

    try:
        asked = ask(ctx, integration, provider, sealed, redirects=2)
    except CatalogueError as error:
        raise _refused("What was typed in does not fit this provider") from error
    if asked.verdict != "accepted":
        raise _refused("The provider did not accept these credentials; check them and try again")
    return True


def ask(
    ctx: Context, integration: Integration, provider: Provider, sealed: Sealed, *, redirects: int
) -> Asked:
    """Ask one endpoint of the entry after the other until one takes the credential.

    Args:
        ctx: the container's context.
        integration: under which the connection is, or will be.
        provider: the entry.
        sealed: the credential.
        redirects: how many to follow. Another host is sent no credential, so that what it answers
            tells nothing about one: 0 where a refusal has consequences.

    Raises:
        CatalogueError: credential or config do not make up the requests; nothing was sent.
    """
    from keystow.catalog.proxy_request import verification_requests
    from keystow.egress.errors import EgressError
    from keystow.modes.calling import caller_of
    from keystow.oauth.errors import retry_after

    requests = verification_requests(caller_of(ctx, integration, provider, sealed))
    until = ctx.clock.now() + DEADLINE_SECONDS
    taken = (provider.proxy.get("verification") or {}).get("accepted_statuses") or ()
    refusals = 0
    status = wait = None
    for request in requests:
        left = until - ctx.clock.now()
        if left <= 0:
            break
        try:
            answer = ctx.egress.send(
                request.method,
                request.url,
                headers=request.headers,
                body=request.body,
                deadline=left,
                redirects=redirects,
            )
        except EgressError:
            continue
        status, wait = answer.status, retry_after(answer.headers, ctx.clock.now())
        if 200 <= status < 300 or status in taken:  # noqa: PLR2004 - RFC 9110 section 15.3
            return Asked("accepted", status)
        refusals += status in _REFUSALS
    verdict: Verdict = "refused" if requests and refusals == len(requests) else "unclear"
    return Asked(verdict, status, wait)


def _refused(message: str) -> ApiError:
    return ApiError("connection_test_failed", message)
