"""Environments, their API keys and webhook settings (contract 6.5); and the end of removals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keystow import context, metrics
from keystow.clock import iso
from keystow.environments import issuing, keys, removal, service, unfinished, variables
from keystow.environments.requests import (
    ChangeEnvironment,
    ChangeKey,
    ConnectUiBody,
    CreateApiKey,
    CreateEnvironment,
    DeleteApiKey,
    NewAccountKey,
    NewKey,
    VariablesBody,
    WebhookSettingsBody,
    milliseconds,
    require_destinations,
)
from keystow.errors import ApiError, invalid
from keystow.http import auth, parameters
from keystow.http.handler import lambda_handler_for
from keystow.http.messages import Response
from keystow.log import logger
from keystow.needs import STORE, open_now
from keystow.secret import Secret
from keystow.validation import body_of

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.http.messages import Request
    from keystow.records.environment import ApiKey, Environment

# What the usual first request needs.
NEEDS = (STORE,)

# What an environment that is begun last may take: a thousand rows, and the wait for the indexes.
LAST_SECONDS = 15


def read_webhooks(ctx: Context, request: Request) -> Response:
    """Answer where events go, and which."""
    principal = auth.secret_key(ctx, request, "environment:webhook_settings:read")
    request.refuse_query()
    environment = service.required(ctx, principal.environment)
    return Response(body={"data": environment.webhooks.public()})


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
    given = body.model_dump(exclude_unset=True)
    written = service.write_webhooks(ctx, principal.environment, given)
    return Response(body={"data": written.public()})


def read_connect_ui(ctx: Context, request: Request) -> Response:
    """Answer how the Connect UI looks."""
    principal = auth.secret_key(ctx, request, "environment:connect_ui_settings:read")
    request.refuse_query()
    environment = service.required(ctx, principal.environment)
    return Response(body={"data": environment.connect_ui.public()})


def write_connect_ui(ctx: Context, request: Request) -> Response:
    """Replace how the Connect UI looks."""
    principal = auth.secret_key(ctx, request, "environment:connect_ui_settings:update")
    request.refuse_query()
    settings = body_of(request, ConnectUiBody).settings()
    service.write_connect_ui(ctx, principal.environment, settings)
    return Response(body={"data": settings.public()})


def list_variables(ctx: Context, request: Request) -> Response:
    """Answer the environment's variables: a bare list."""
    principal = auth.secret_key(ctx, request, "environment:variables:read")
    request.refuse_query()
    return Response(body=variables.listed(ctx, principal.environment))


def write_variables(ctx: Context, request: Request) -> Response:
    """Replace the environment's variables."""
    principal = auth.secret_key(ctx, request, "environment:variables:update")
    request.refuse_query()
    body = body_of(request, VariablesBody)
    values = {each.name: each.value for each in body.variables}
    variables.write(ctx, principal.environment, values)
    return Response(body={"success": True})


def list_environments(ctx: Context, request: Request) -> Response:
    """Answer the environments, oldest first."""
    auth.account_key(ctx, request, "account:environments:list")
    request.refuse_query("name")
    found = service.listed(ctx, parameters.text(request, "name"))
    return Response(body={"data": [_environment(each) for each in found]})


def create_environment(ctx: Context, request: Request) -> Response:
    """Create an environment."""
    principal, _key = auth.account_key(ctx, request, "account:environments:create")
    request.refuse_query()
    body = body_of(request, CreateEnvironment)
    require_destinations(
        {"callback_url": body.callback_url}, loopback_allowed=ctx.settings.loopback_allowed
    )
    named_production = body.name == service.PRODUCTION
    if named_production and "is_production" in body.model_fields_set and not body.is_production:
        raise _must_be_production()
    if body.is_production:
        principal.require("account:environments:set_production")
    made = service.create(
        ctx,
        body.name,
        is_production=body.is_production or named_production,
        callback_url=body.callback_url,
        signing_key=body.webhook_signing_key,
        public_keys=_public_keys(body),
    )
    return Response(body={"data": {"id": made.number, "uuid": made.uuid, "name": made.name}})


def change_environment(ctx: Context, request: Request) -> Response:
    """Rename an environment, set its flag of production, its callback or its signing key."""
    principal, maker = auth.account_key(ctx, request, "account:environments:create")
    request.refuse_query()
    body = body_of(request, ChangeEnvironment)
    require_destinations(
        {"callback_url": body.callback_url}, loopback_allowed=ctx.settings.loopback_allowed
    )
    environment = service.required(ctx, _named(ctx, request).id)
    name = body.name or environment.name
    is_production = body.is_production
    if name == service.PRODUCTION:
        if is_production is False:
            raise _must_be_production()
        is_production = True
    if is_production is not None and is_production != environment.is_production:
        principal.require("account:environments:set_production")
    removed = "callback_url" in body.model_fields_set and not body.callback_url
    callback_url = "" if removed else body.callback_url
    wish = service.Change(body.name, is_production, callback_url, _public_keys(body))
    service.change(ctx, environment, wish, maker)
    if body.webhook_signing_key is not None:
        signing_key = Secret(body.webhook_signing_key)
        service.rotate_signing_key(ctx, environment.id, maker, signing_key)
    changed = service.required(ctx, environment.id)
    return Response(body={"data": _environment(changed)})


def delete_environment(ctx: Context, request: Request) -> Response:
    """Shred an environment."""
    auth.account_key(ctx, request, "account:environments:delete")
    request.refuse_query()
    removal.shred(ctx, _named(ctx, request))
    return Response(204)


def list_keys(ctx: Context, request: Request) -> Response:
    """Answer the API keys of an environment, without their texts."""
    auth.account_key(ctx, request, "account:environments:api_keys:list")
    return _list_keys(ctx, request, _owner(ctx, request))


def read_key(ctx: Context, request: Request) -> Response:
    """Answer an API key of an environment, without its text."""
    auth.account_key(ctx, request, "account:environments:api_keys:read")
    return _read_key(ctx, request, _owner(ctx, request))


def create_key(ctx: Context, request: Request) -> Response:
    """Create an API key of an environment; the only answer that holds its text."""
    _principal, maker = auth.account_key(ctx, request, "account:environments:api_keys:create")
    request.refuse_query()
    body = body_of(request, NewKey)
    made = _created(ctx, _owner(ctx, request), body, body.scopes, maker)
    return Response(body={"data": made})


def change_key(ctx: Context, request: Request) -> Response:
    """Rename an API key of an environment, or set when it ends."""
    principal, maker = auth.account_key(ctx, request, "account:environments:api_keys:create")
    principal.require("account:environments:api_keys:delete")
    request.refuse_query()
    body = body_of(request, ChangeKey)
    return _changed(ctx, request, _owner(ctx, request), body, maker)


def delete_key(ctx: Context, request: Request) -> Response:
    """End an API key of an environment."""
    _principal, maker = auth.account_key(ctx, request, "account:environments:api_keys:delete")
    return _delete_key(ctx, request, _owner(ctx, request), maker)


def create_key_of_old(ctx: Context, request: Request) -> Response:
    """Create an API key, by the older route."""
    _principal, maker = auth.account_key(ctx, request, "account:environments:api_keys:create")
    request.refuse_query()
    body = body_of(request, CreateApiKey)
    environment = service.by_reference(ctx, body.environment_id)
    made = _created(ctx, environment.id, body, body.scopes, maker)
    return Response(body={"data": made})


def delete_key_of_old(ctx: Context, request: Request) -> Response:
    """End an API key, by the older route."""
    _principal, maker = auth.account_key(ctx, request, "account:environments:api_keys:delete")
    request.refuse_query()
    body = body_of(request, DeleteApiKey)
    environment = service.by_reference(ctx, body.environment_id)
    issuing.revoke(ctx, environment.id, body.key_id, maker)
    return Response(204)


def list_account_keys(ctx: Context, request: Request) -> Response:
    """Answer the keys of the account, without their texts."""
    auth.account_key(ctx, request, "account:api_keys:list")
    return _list_keys(ctx, request, keys.ACCOUNT)


def read_account_key(ctx: Context, request: Request) -> Response:
    """Answer a key of the account, without its text."""
    auth.account_key(ctx, request, "account:api_keys:read")
    return _read_key(ctx, request, keys.ACCOUNT)


def create_account_key(ctx: Context, request: Request) -> Response:
    """Create a key of the account that may do no more than the one that asks."""
    _principal, maker = auth.account_key(ctx, request, "account:api_keys:create")
    request.refuse_query()
    body = body_of(request, NewAccountKey)
    return Response(body={"data": _created(ctx, keys.ACCOUNT, body, body.scopes, maker)})


def change_account_key(ctx: Context, request: Request) -> Response:
    """Rename a key of the account, or set when it ends."""
    principal, maker = auth.account_key(ctx, request, "account:api_keys:create")
    principal.require("account:api_keys:delete")
    request.refuse_query()
    body = body_of(request, ChangeKey)
    return _changed(ctx, request, keys.ACCOUNT, body, maker)


def delete_account_key(ctx: Context, request: Request) -> Response:
    """End a key of the account; it may be the one that asks."""
    _principal, maker = auth.account_key(ctx, request, "account:api_keys:delete")
    return _delete_key(ctx, request, keys.ACCOUNT, maker)


def rotate_signing_key(ctx: Context, request: Request) -> Response:
    """Replace the key that webhooks are signed with."""
    principal = auth.secret_key(ctx, request, "environment:webhook_signing_key:rotate")
    request.refuse_query()
    request.refuse_body()
    text = service.rotate_signing_key(ctx, principal.environment, principal.key)
    return Response(body={"data": {"webhook_signing_key": text.reveal()}})


def _list_keys(ctx: Context, request: Request, owner: str) -> Response:
    request.refuse_query("display_name")
    found = issuing.listed(ctx, owner, parameters.text(request, "display_name"))
    return Response(body={"data": [_key(each) for each in found]})


def _read_key(ctx: Context, request: Request, owner: str) -> Response:
    request.refuse_query()
    return Response(body={"data": _key(issuing.one(ctx, owner, _reference(request, "keyUuid")))})


def _created(
    ctx: Context,
    owner: str,
    body: NewKey | NewAccountKey,
    scopes: list[str] | None,
    maker: ApiKey,
) -> dict[str, Any]:
    wish = issuing.Wish(
        body.display_name,
        tuple(dict.fromkeys(scopes or keys.ENVIRONMENT_SCOPES)),
        milliseconds(body.expires_at),
        "expires_at" in body.model_fields_set,
    )
    key, text = issuing.create(ctx, owner, wish, maker)
    shown = _key(issuing.Listed(key, None))
    del shown["last_used_at"]
    return {**shown, "secret": text.reveal()}


def _changed(
    ctx: Context, request: Request, owner: str, body: ChangeKey, maker: ApiKey
) -> Response:
    wish = issuing.Wish(
        body.display_name,
        expires_at=milliseconds(body.expires_at),
        names_expiry="expires_at" in body.model_fields_set,
    )
    changed = issuing.change(ctx, owner, _reference(request, "keyUuid"), wish, maker)
    return Response(body={"data": _key(changed)})


def _delete_key(ctx: Context, request: Request, owner: str, maker: ApiKey) -> Response:
    request.refuse_query()
    request.refuse_body()
    issuing.revoke(ctx, owner, _reference(request, "keyUuid"), maker)
    return Response(body={"success": True})


def _key(listed: issuing.Listed) -> dict[str, Any]:
    key = listed.key
    used = listed.last_used_at
    ends = {} if key.expires_at is None else {"expires_at": iso(key.expires_at / 1000)}
    return {
        "id": key.number,
        "uuid": key.uuid,
        "display_name": key.display_name,
        "scopes": list(key.scopes),
        "last_used_at": None if used is None else iso(used / 1000),
        "created_at": iso(key.created_at / 1000),
        **ends,
    }


def _environment(environment: Environment) -> dict[str, Any]:
    return {
        "id": environment.number,
        "uuid": environment.uuid,
        "name": environment.name,
        "is_production": environment.is_production,
        "public_key": environment.public_key,
        "hmac_enabled": environment.hmac_enabled,
    }


def _public_keys(body: CreateEnvironment | ChangeEnvironment) -> service.PublicKeys:
    """Return what a body says of public keys; a key of null removes it."""
    named = "hmac_key" in body.model_fields_set
    return service.PublicKeys(body.hmac_enabled, Secret(body.hmac_key or "") if named else None)


def _must_be_production() -> ApiError:
    return ApiError("invalid_is_prod_flag", "The environment named prod is a production one")


def _named(ctx: Context, request: Request) -> Environment:
    return service.by_reference(ctx, _reference(request, "environmentUuid"))


def _owner(ctx: Context, request: Request) -> str:
    """Return the id of the environment in the path; 404 also while it is being removed."""
    return service.required(ctx, _named(ctx, request).id).id


def _reference(request: Request, name: str) -> str | int:
    """Return a UUID of the path, or a number as older clients have it. Raises 400."""
    text = request.path_params.get(name, "")
    if keys.is_uuid(text):
        return text.lower()
    if text.isascii() and text.isdigit() and len(text) < 20:  # noqa: PLR2004 - 64 bits
        return int(text)
    raise invalid("invalid_uri_params", "invalid_format", "expected a UUID", name)


_answer = lambda_handler_for(
    {
        "GET /environment/webhook-settings": read_webhooks,
        "PUT /environment/webhook-settings": write_webhooks,
        "GET /environment/connect-ui-settings": read_connect_ui,
        "PUT /environment/connect-ui-settings": write_connect_ui,
        "GET /environment-variables": list_variables,
        "PUT /environment-variables": write_variables,
        "GET /environments": list_environments,
        "POST /environments": create_environment,
        "PATCH /environments/{environmentUuid}": change_environment,
        "DELETE /environments/{environmentUuid}": delete_environment,
        "GET /environments/{environmentUuid}/api-keys": list_keys,
        "POST /environments/{environmentUuid}/api-keys": create_key,
        "GET /environments/{environmentUuid}/api-keys/{keyUuid}": read_key,
        "PATCH /environments/{environmentUuid}/api-keys/{keyUuid}": change_key,
        "DELETE /environments/{environmentUuid}/api-keys/{keyUuid}": delete_key,
        "POST /environment/api-keys": create_key_of_old,
        "DELETE /environment/api-keys": delete_key_of_old,
        "GET /account/api-keys": list_account_keys,
        "POST /account/api-keys": create_account_key,
        "GET /account/api-keys/{keyUuid}": read_account_key,
        "PATCH /account/api-keys/{keyUuid}": change_account_key,
        "DELETE /account/api-keys/{keyUuid}": delete_account_key,
        "POST /environment/webhook-signing-key/rotate": rotate_signing_key,
    }
)


def handler(event: dict[str, Any], lambda_context: Any) -> dict[str, Any]:
    """Answer a request; or, on the schedule, go on with incidents, and removals cut off."""
    if "routeKey" in event:
        return _answer(event, lambda_context)
    ctx = context.current()
    left = lambda_context.get_remaining_time_in_millis() / 1000 - LAST_SECONDS
    try:
        from keystow.incidents import service as incidents  # no request needs it: start-up time

        now, found = ctx.clock.now(), {}
        try:
            found.update(incidents.go_on(ctx, now + left / 2))
        finally:  # removals go on whatever became of incidents
            found.update(unfinished.finish(ctx, now + left))
    except Exception:
        # Nobody waits for an answer: without this, an erasure could fail each time, unseen.
        metrics.count(metrics.FAULTS)
        raise
    finally:
        metrics.flush()
    logger.info("removals", extra=found)
    return found


open_now(*NEEDS)
