"""Trying a typed-in credential once before it is stored (contract 11.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keystow.clock import iso
from keystow.errors import ApiError
from keystow.ids import uuid4

if TYPE_CHECKING:
    from keystow.catalog.loader import Provider
    from keystow.context import Context
    from keystow.records.connection import Sealed

# For all endpoints together: the function that asks has 29 s.
DEADLINE_SECONDS = 12.0


def verify(ctx: Context, provider: Provider, sealed: Sealed) -> bool:
    """Require that the provider takes a credential, where its entry tells how to ask.

    Returns:
        Whether it was asked; False: the entry tells no way, the credential is taken as it is.

    Raises:
        ApiError: 400 ``connection_test_failed`` when no endpoint answered 2xx.
    """
    if not provider.proxy.get("verification"):
        return False
    from keystow.catalog.errors import CatalogueError
    from keystow.catalog.proxy_request import verification_requests
    from keystow.egress.errors import EgressError

    credentials: dict[str, Any] = sealed.credentials.reveal()
    config = sealed.connection_config.reveal()
    now = iso(ctx.clock.now())
    try:
        requests = verification_requests(provider, credentials, config, now, uuid4(ctx.random))
    except CatalogueError as error:
        raise _refused("What was typed in does not fit this provider") from error
    until = ctx.clock.now() + DEADLINE_SECONDS
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
                redirects=2,
            )
        except EgressError:
            continue
        if 200 <= answer.status < 300:  # noqa: PLR2004 - RFC 9110 section 15.3
            return True
    raise _refused("The provider did not accept these credentials; check them and try again")


def _refused(message: str) -> ApiError:
    return ApiError("connection_test_failed", message)
