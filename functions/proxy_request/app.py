"""ANY /proxy/{path}: a request to a provider's API with the credential of a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystow.http import auth, preflight
from keystow.http.handler import lambda_handler_for
from keystow.http.messages import Response
from keystow.http.proxy_call import call_of
from keystow.needs import EGRESS, STORE, VAULT, open_now
from keystow.proxy.call import Sees
from keystow.proxy.forwarding import forward

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.http.messages import Request

# What the usual first request needs.
NEEDS = (STORE, VAULT, EGRESS, "keystow.modes.oauth2")

SCOPE = "environment:proxy"
READ_CREDENTIALS = "environment:connections:read_credentials"
READ_APP_SECRETS = "environment:integrations:read_credentials"


def proxy(ctx: Context, request: Request) -> Response:
    """Pass a request on; what a browser asks beforehand is answered here."""
    if preflight.is_one(request):
        return preflight.answer(request)
    principal = auth.secret_key(ctx, request, SCOPE)
    sees = Sees(principal.may(READ_CREDENTIALS), principal.may(READ_APP_SECRETS))
    found = forward(ctx, principal.environment, sees, call_of(request))
    return Response(found.status, found.body, found.headers, found.cookies)


handler = lambda_handler_for({"ANY /proxy": proxy, "ANY /proxy/{path+}": proxy})

open_now(*NEEDS)
