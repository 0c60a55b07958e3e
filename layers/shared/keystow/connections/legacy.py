"""The older, flat body of an import (contract 5.5), as the body of today."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from keystow.clock import LAST_MOMENT, iso
from keystow.connections.requests import ImportBody
from keystow.errors import ApiError, invalid
from keystow.oauth.token_life import moment
from keystow.registry import integrations, providers
from keystow.validation import validated

if TYPE_CHECKING:
    from keystow.context import Context

_COMMON: Final = ("provider_config_key", "connection_id", "metadata", "connection_config")
_FAR_SECONDS: Final = 100 * 365 * 86_400
_DIGITS: Final = re.compile(r"[0-9]{1,15}")


def from_flat_body(ctx: Context, environment: str, flat: dict[str, Any]) -> ImportBody:
    """Return the import body of a flat one.

    Raises:
        ApiError: 400 with the codes of contract 5.5, or ``invalid_body``.
    """
    key = flat.get("provider_config_key")
    if not isinstance(key, str) or not key:
        raise ApiError("missing_provider_config", "provider_config_key is missing")
    integration = integrations.by_unique_key(ctx, environment, key, fresh=True)
    provider = integration and providers.find(ctx, environment, integration.provider)
    if not integration or not provider:
        raise ApiError("unknown_provider_config", "There is no integration of this key", payload={})
    body: dict[str, Any] = {name: flat[name] for name in _COMMON if flat.get(name) is not None}
    if flat.get("webhook_url_override") is not None:
        body["webhook_url_override"] = flat["webhook_url_override"]
    body["credentials"] = _credentials(ctx, provider.auth_mode, flat)
    return validated(ImportBody, body, "invalid_body")


def raw_of(flat: dict[str, Any]) -> dict[str, Any] | None:
    """Return the token answer that a flat body brings along, to be kept as it is.

    Raises:
        ApiError: 400 ``invalid_body`` when it is no object.
    """
    raw = flat.get("raw")
    if raw is not None and not isinstance(raw, dict):
        raise invalid("invalid_body", "invalid_type", "expected an object", "raw")
    return raw


def _credentials(ctx: Context, auth_mode: str, flat: dict[str, Any]) -> dict[str, Any]:
    match auth_mode:
        case "OAUTH2":
            return _oauth2(ctx, flat)
        case "OAUTH2_CC":
            _need(flat, "access_token", "missing_access_token")
            return {
                "type": "OAUTH2_CC",
                "token": flat["access_token"],
                "client_id": flat.get("oauth_client_id_override"),
                "client_secret": flat.get("oauth_client_secret_override"),
                **_expiry(ctx, flat),
            }
        case "OAUTH1":
            _need(flat, "oauth_token", "missing_oauth_token")
            _need(flat, "oauth_token_secret", "missing_oauth_token_secret")
            return {"type": "OAUTH1", **_some(flat, "oauth_token", "oauth_token_secret")}
        case "BASIC":
            _need(flat, "username", "missing_basic_username")
            return {"type": "BASIC", "password": "", **_some(flat, "username", "password")}
        case "API_KEY":
            _need(flat, "api_key", "missing_api_key")
            return {"type": "API_KEY", "apiKey": flat["api_key"]}
        case "TBA":
            config = flat.get("connection_config") or {}
            if not isinstance(config, dict) or not config.get("accountId"):
                raise ApiError("missing_account_id", "connection_config.accountId is missing")
            return {"type": "TBA", **_some(flat, "token_id", "token_secret")}
        case "NONE":
            return {"type": "NONE"}
        case _:
            raise ApiError("unsupported_auth_mode", f"{auth_mode} cannot be imported")


def _oauth2(ctx: Context, flat: dict[str, Any]) -> dict[str, Any]:
    _need(flat, "access_token", "missing_access_token")
    found = {"type": "OAUTH2", **_some(flat, "access_token", "refresh_token"), **_expiry(ctx, flat)}
    if "expires_at" not in found and flat.get("no_expiration") is not True:
        raise ApiError(
            "missing_expires_at",
            "expires_at is missing; a token that never expires needs no_expiration: true",
        )
    override = {
        name: flat[f"oauth_{name}_override"]
        for name in ("client_id", "client_secret")
        if flat.get(f"oauth_{name}_override")
    }
    return {**found, "config_override": override} if override else found


def _need(flat: dict[str, Any], name: str, code: str) -> None:
    if not flat.get(name):
        raise ApiError(code, f"{name} is missing")


def _some(flat: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: flat[name] for name in names if flat.get(name) is not None}


def _expiry(ctx: Context, flat: dict[str, Any]) -> dict[str, Any]:
    if flat.get("expires_at") is not None:
        ends = moment(flat["expires_at"])
        if ends is None or ends > LAST_MOMENT:
            raise ApiError(
                "invalid_expires_at",
                "expires_at must be an ISO 8601 date, or seconds or milliseconds since 1970",
            )
        return {"expires_at": iso(ends)}
    seconds = flat.get("expires_in")
    if seconds is None:
        return {}
    # Other digits of Unicode are no number for int(), and neither are thousands of them.
    if isinstance(seconds, str) and _DIGITS.fullmatch(seconds):
        seconds = int(seconds)
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise ApiError("invalid_expires_at", "expires_in must be a number of seconds")
    if not 0 <= seconds <= _FAR_SECONDS:
        raise ApiError("invalid_expires_at", "expires_in is out of range")
    return {"expires_at": iso(ctx.clock.now() + seconds)}
