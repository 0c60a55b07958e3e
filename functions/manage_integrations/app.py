"""Integrations: list, create, read, change, remove (contract 6.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keystow.environments import service as environments
from keystow.errors import ApiError, Issue
from keystow.http import auth, parameters
from keystow.http.handler import lambda_handler_for
from keystow.http.messages import Response
from keystow.integrations import config, service
from keystow.integrations.requests import CreateIntegration, UniqueKeyParam, UpdateIntegration
from keystow.needs import STORE, open_now
from keystow.registry import integrations, providers
from keystow.validation import body_of, validated

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.http.messages import Request
    from keystow.records.integration import Integration

# What the usual first request needs.
NEEDS = (STORE, "keystow.sessions.tokens")

LIST = ("environment:integrations:list", "environment:integrations:list_credentials")
READ = ("environment:integrations:read", "environment:integrations:read_credentials")
CREATE = "environment:integrations:create"
INCLUDES = frozenset({"webhook", "credentials"})


def list_integrations(ctx: Context, request: Request) -> Response:
    """Answer every integration; a connect session sees those that it allows."""
    principal = auth.session_or_secret_key(ctx, request, *LIST)
    request.refuse_query()
    environment = principal.environment
    found = integrations.list_all(ctx, environment)
    allowed = principal.session.allowed_integrations if principal.session else None
    if allowed is not None:
        found = [integration for integration in found if integration.unique_key in allowed]
    known = {name: providers.find(ctx, environment, name) for name in {f.provider for f in found}}
    owner = None if principal.session else environments.required(ctx, environment)
    data = [
        service.public(ctx, each, known[each.provider], request.base_url, environment=owner)
        for each in found
    ]
    return Response(body={"data": data})


def create(ctx: Context, request: Request) -> Response:
    """Create an integration."""
    principal = auth.secret_key(ctx, request, CREATE)
    request.refuse_query()
    made = service.create(ctx, principal.environment, body_of(request, CreateIntegration))
    return _shown(ctx, request, made)


def quickstart(ctx: Context, request: Request) -> Response:
    """Refuse: there are no developer applications shared by all deployments."""
    auth.secret_key(ctx, request, CREATE)
    request.json_object()
    raise ApiError("invalid_body", "No shared developer app is configured for this provider")


def read(ctx: Context, request: Request) -> Response:
    """Answer one integration, with its credentials if asked for and allowed."""
    principal = auth.secret_key(ctx, request, *READ)
    request.refuse_query("include")
    include = _include(request)
    environment = principal.environment
    found = service.required(ctx, environment, _unique_key(request))
    data = service.public(
        ctx,
        found,
        providers.find(ctx, environment, found.provider),
        request.base_url,
        credentials="credentials" in include and principal.may(READ[1]),
        webhook="webhook" in include,
        environment=environments.required(ctx, environment),
    )
    return Response(body={"data": data})


def read_config(ctx: Context, request: Request) -> Response:
    """Answer one integration in the older shape."""
    principal = auth.secret_key(ctx, request, *READ)
    request.refuse_query("include_creds")
    with_credentials = parameters.flag(request, "include_creds")
    if with_credentials:
        principal.require(READ[1])
    unique_key = parameters.unique_key(request, "providerConfigKey")
    environment = principal.environment
    found = integrations.by_unique_key(ctx, environment, unique_key, fresh=True)
    if found is None:
        told = f'There is no integration "{unique_key}"'
        raise ApiError("unknown_provider_config", told, payload={})
    if not with_credentials:
        return Response(body={"config": config.described(found)})
    shown = config.with_credentials(
        ctx,
        found,
        providers.find(ctx, environment, found.provider),
        environments.required(ctx, environment),
        request.base_url,
    )
    return Response(body={"config": shown})


def update(ctx: Context, request: Request) -> Response:
    """Change what the body names."""
    principal = auth.secret_key(ctx, request, "environment:integrations:update")
    request.refuse_query()
    unique_key = _unique_key(request)
    body = body_of(request, UpdateIntegration)
    return _shown(ctx, request, service.update(ctx, principal.environment, unique_key, body))


def delete(ctx: Context, request: Request) -> Response:
    """Remove an integration with its connections."""
    principal = auth.secret_key(ctx, request, "environment:integrations:delete")
    request.refuse_query()
    service.delete(ctx, principal.environment, _unique_key(request))
    return Response(body={"success": True})


def _shown(ctx: Context, request: Request, integration: Integration) -> Response:
    provider = providers.find(ctx, integration.environment, integration.provider)
    owner = environments.required(ctx, integration.environment)
    data = service.public(ctx, integration, provider, request.base_url, environment=owner)
    return Response(body={"data": data})


def _unique_key(request: Request) -> str:
    given = {"uniqueKey": request.path_params.get("uniqueKey", "")}
    return validated(UniqueKeyParam, given, "invalid_uri_params").uniqueKey


def _include(request: Request) -> set[str]:
    given: Any = request.query.get("include", [])
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not set(names) <= INCLUDES:
        issue = Issue("invalid_union", "webhook, credentials or both", ("include",))
        raise ApiError("invalid_query_params", issues=[issue])
    return set(names)


handler = lambda_handler_for(
    {
        "GET /integrations": list_integrations,
        "POST /integrations": create,
        "POST /integrations/quickstart": quickstart,
        "GET /integrations/{uniqueKey}": read,
        "GET /config/{providerConfigKey}": read_config,
        "PATCH /integrations/{uniqueKey}": update,
        "DELETE /integrations/{uniqueKey}": delete,
    }
)

open_now(*NEEDS)
