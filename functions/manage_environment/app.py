"""Environments, their API keys and webhook settings (contract 6.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystow.clock import iso
from keystow.environments import keys, removal, service
from keystow.environments.requests import (
    CreateApiKey,
    CreateEnvironment,
    DeleteApiKey,
    WebhookSettingsBody,
    require_destinations,
)
from keystow.errors import ApiError, Issue
from keystow.http import auth
from keystow.http.handler import lambda_handler_for
from keystow.http.messages import Response
from keystow.records.environment import WebhookSettings
from keystow.validation import body_of

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.http.messages import Request


def read_webhooks(ctx: Context, request: Request) -> Response:
    """Answer where events go, and which."""
    principal = auth.secret_key(ctx, request, "environment:webhook_settings:read")
    request.refuse_query()
    environment = service.required(ctx, principal.environment)
    return Response(body={"data": environment.webhooks.as_json()})


def write_webhooks(ctx: Context, request: Request) -> Response:
    """Replace where events go, and which."""
    principal = auth.secret_key(ctx, request, "environment:webhook_settings:update")
    request.refuse_query()
    body = body_of(request, WebhookSettingsBody)
    require_destinations(
        {"primary_url": body.primary_url, "secondary_url": body.secondary_url},
        loopback_allowed=ctx.settings.loopback_allowed,
        webhooks=True,
    )
    webhooks = WebhookSettings(**body.model_dump())
    written = service.write_webhooks(ctx, principal.environment, webhooks)
    return Response(body={"data": written.as_json()})


def list_variables(ctx: Context, request: Request) -> Response:
    """Answer the environment's variables: a bare list."""
    principal = auth.secret_key(ctx, request, "environment:variables:read")
    request.refuse_query()
    return Response(body=service.variables(ctx, principal.environment))


def create_environment(ctx: Context, request: Request) -> Response:
    """Create an environment."""
    principal = _account(ctx, request, "account:environments:create")
    request.refuse_query()
    body = body_of(request, CreateEnvironment)
    require_destinations(
        {"callback_url": body.callback_url}, loopback_allowed=ctx.settings.loopback_allowed
    )
    named_production = body.name == service.PRODUCTION
    if named_production and "is_production" in body.model_fields_set and not body.is_production:
        raise ApiError("invalid_is_prod_flag", "The environment named prod is a production one")
    if body.is_production and not principal.may("account:environments:set_production"):
        raise ApiError(
            "forbidden", "Insufficient scope. Required: account:environments:set_production"
        )
    made = service.create(
        ctx,
        body.name,
        is_production=body.is_production or named_production,
        callback_url=body.callback_url,
    )
    return Response(body={"data": {"id": made.number, "name": made.name}})


def delete_environment(ctx: Context, request: Request) -> Response:
    """Shred an environment."""
    _account(ctx, request, "account:environments:delete")
    request.refuse_query()
    text = request.path_params.get("environmentId", "")
    if not (text.isascii() and text.isdigit() and len(text) < 20):  # noqa: PLR2004 - 64 bits
        issue = Issue("invalid_type", "expected the environment's number", ("environmentId",))
        raise ApiError("invalid_uri_params", issues=[issue])
    removal.shred(ctx, service.by_number(ctx, int(text)))
    return Response(204)


def create_key(ctx: Context, request: Request) -> Response:
    """Create an API key; the only answer that holds its text."""
    _account(ctx, request, "account:environments:api_keys:create")
    request.refuse_query()
    body = body_of(request, CreateApiKey)
    environment = service.by_number(ctx, body.environment_id)
    scopes = tuple(dict.fromkeys(body.scopes or keys.ENVIRONMENT_SCOPES))
    key, text = service.create_key(ctx, environment.id, body.display_name, scopes)
    data = {
        "id": key.number,
        "display_name": key.display_name,
        "scopes": list(key.scopes),
        "secret": text.reveal(),
        "created_at": iso(key.created_at / 1000),
    }
    return Response(body={"data": data})


def delete_key(ctx: Context, request: Request) -> Response:
    """End an API key."""
    _account(ctx, request, "account:environments:api_keys:delete")
    request.refuse_query()
    body = body_of(request, DeleteApiKey)
    environment = service.by_number(ctx, body.environment_id)
    service.delete_key(ctx, environment.id, body.key_id)
    return Response(204)


def rotate_signing_key(ctx: Context, request: Request) -> Response:
    """Replace the key that webhooks are signed with."""
    principal = auth.secret_key(ctx, request, "environment:webhook_signing_key:rotate")
    request.refuse_query()
    request.refuse_body()
    text = service.rotate_signing_key(ctx, principal.environment)
    return Response(body={"data": {"webhook_signing_key": text.reveal()}})


def _account(ctx: Context, request: Request, scope: str) -> auth.Principal:
    """Return the principal of an account's key; no environment's key passes, whatever it holds."""
    principal = auth.secret_key(ctx, request, scope)
    if principal.owner != keys.ACCOUNT:
        raise ApiError("forbidden", "Only a key of the account may do this")
    return principal


handler = lambda_handler_for(
    {
        "GET /environment/webhook-settings": read_webhooks,
        "PUT /environment/webhook-settings": write_webhooks,
        "GET /environment-variables": list_variables,
        "POST /environments": create_environment,
        "DELETE /environments/{environmentId}": delete_environment,
        "POST /environment/api-keys": create_key,
        "DELETE /environment/api-keys": delete_key,
        "POST /environment/webhook-signing-key/rotate": rotate_signing_key,
    }
)
