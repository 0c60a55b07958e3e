"""The endpoints to which a browser posts credentials that its user typed in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keystow.authorization.typed import (
    ApiKeyBody,
    AuthMode,
    BasicBody,
    client_credentials_of,
    submit,
)
from keystow.http import auth, parameters
from keystow.http.handler import lambda_handler_for
from keystow.http.messages import Response
from keystow.needs import EGRESS, QUEUES, STORE, VAULT, open_now
from keystow.secret import Secret
from keystow.validation import body_of

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.http.messages import Request

# What the usual first request needs.
NEEDS = (STORE, VAULT, QUEUES, EGRESS, "keystow.modes.api_key")


def api_key(ctx: Context, request: Request) -> Response:
    """Connect with an API key."""
    session = auth.session_in_query(ctx, request)
    body = body_of(request, ApiKeyBody)
    found: Secret[dict[str, Any]] = Secret({"type": "API_KEY", "apiKey": body.apiKey})
    return _submitted(ctx, request, session, "API_KEY", found)


def basic(ctx: Context, request: Request) -> Response:
    """Connect with a user name and a password."""
    session = auth.session_in_query(ctx, request)
    body = body_of(request, BasicBody)
    found: Secret[dict[str, Any]] = Secret({"type": "BASIC", **body.model_dump()})
    return _submitted(ctx, request, session, "BASIC", found)


def client_credentials(ctx: Context, request: Request) -> Response:
    """Connect with an OAuth client of the account's own."""
    session = auth.session_in_query(ctx, request)
    found = client_credentials_of(request.json_object())
    return _submitted(ctx, request, session, "OAUTH2_CC", found)


def unauthenticated(ctx: Context, request: Request) -> Response:
    """Connect with no credential."""
    session = auth.session_in_query(ctx, request)
    request.refuse_body()
    return _submitted(ctx, request, session, "NONE", Secret({"type": "NONE"}))


def _submitted(
    ctx: Context,
    request: Request,
    session: Any,
    mode: AuthMode,
    credentials: Secret[dict[str, Any]],
) -> Response:
    unique_key = parameters.unique_key(request, "providerConfigKey")
    return Response(200, submit(ctx, session, unique_key, mode, credentials, request.query))


handler = lambda_handler_for(
    {
        "POST /api-auth/api-key/{providerConfigKey}": api_key,
        "POST /api-auth/basic/{providerConfigKey}": basic,
        "POST /oauth2/auth/{providerConfigKey}": client_credentials,
        "POST /auth/unauthenticated/{providerConfigKey}": unauthenticated,
    }
)

open_now(*NEEDS)
