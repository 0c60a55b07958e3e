"""Calls a function's handler with a payload-2.0 event, as API Gateway does, on a test's context."""

from __future__ import annotations

import importlib.util
import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from keystow import context as contexts
from keystow.catalog import loader

if TYPE_CHECKING:
    from keystow.context import Context

FUNCTIONS = Path(__file__).parents[3] / "functions"

OAUTH2 = {"type": "OAUTH2", "client_id": "id", "client_secret": "marked-secret", "scopes": "repo"}

ENTRIES: dict[str, dict[str, Any]] = {
    "github": {
        "display_name": "GitHub (User OAuth)",
        "auth_mode": "OAUTH2",
        "authorization_url": "https://github.com/login/oauth/authorize",
        "token_url": "https://github.com/login/oauth/access_token",
        "proxy": {"base_url": "https://api.github.com"},
    },
    "no-pkce": {
        "display_name": "No PKCE",
        "auth_mode": "OAUTH2",
        "authorization_url": "https://plain.example/authorize",
        "token_url": "https://plain.example/token",
        "disable_pkce": True,
    },
    "airtable": {
        "display_name": "Airtable",
        "auth_mode": "OAUTH2",
        "authorization_url": "https://airtable.com/oauth2/v1/authorize",
        "token_url": "https://airtable.com/oauth2/v1/token",
        "default_scopes": ["data:read", "data:write"],
        "webhook_routing_script": "airtableWebhookRouting",
    },
    "airtable-pat": {
        "display_name": "Airtable (Personal Access Token)",
        "auth_mode": "API_KEY",
        "credentials": {"apiKey": {"type": "string", "title": "Token"}},
    },
    "trello": {"display_name": "Trello", "auth_mode": "OAUTH1"},
    "netsuite-tba": {"display_name": "NetSuite (TBA)", "auth_mode": "TBA"},
    "github-app": {"display_name": "GitHub (App)", "auth_mode": "APP"},
    "github-app-oauth": {"display_name": "GitHub (App OAuth)", "auth_mode": "CUSTOM"},
    "private-api": {
        "display_name": "Private API",
        "auth_mode": "API_KEY",
        "credentials": {"apiKey": {"type": "string", "title": "Key"}},
        "integration_config": {
            "keyPlacement": {"type": "string", "title": "Place", "enum": ["header", "query"]},
            "keyName": {
                "type": "string",
                "title": "Header name",
                "visible_when": {"field": "keyPlacement", "equals": "header"},
            },
            "keyLabel": {"type": "string", "title": "Label", "optional": True},
        },
    },
}


def use_catalogue(monkeypatch: Any, folder: Path) -> None:
    """Let the built-in catalogue be ENTRIES, so that no test hangs on a real provider's entry."""
    for name, entry in ENTRIES.items():
        (folder / f"{name}.json").write_text(json.dumps(entry))
    monkeypatch.setattr(loader, "_ENTRIES", folder)
    forget_catalogue()


def forget_catalogue() -> None:
    """Read entries anew."""
    loader._ids.cache_clear()
    loader._read.cache_clear()


@lru_cache
def _handler(function: str) -> Any:
    spec = importlib.util.spec_from_file_location(
        f"{function}_app", FUNCTIONS / function / "app.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.handler


class Answer:
    """What a function answered."""

    def __init__(self, result: dict[str, Any]) -> None:
        self.status = result["statusCode"]
        self.headers = result["headers"]
        self.body = json.loads(result["body"]) if result.get("body") else None

    @property
    def data(self) -> Any:
        assert self.status < 300, self.body
        return self.body["data"]

    @property
    def code(self) -> str:
        return self.body["error"]["code"]

    @property
    def issues(self) -> list[tuple[str, list[str]]]:
        return [(issue["code"], issue["path"]) for issue in self.body["error"].get("errors", [])]


def call(
    ctx: Context,
    function: str,
    route: str,
    path: str,
    *,
    key: str | None = None,
    body: Any = None,
    headers: dict[str, str] | None = None,
    method: str | None = None,
) -> Answer:
    """Send one request.

    Args:
        ctx: what the function works with.
        function: its folder.
        route: ``routeKey``; path parameters are taken from ``path`` by its template.
        path: with query string, percent-encoded.
        key: API key or session token.
        body: sent as JSON; None sends none.
        headers: further ones.
        method: when the route is ``$default``.
    """
    raw, _, query = path.partition("?")
    template = route.partition(" ")[2].split("/")
    parameters = {
        part.strip("{}"): unquote(value)
        for part, value in zip(template, raw.split("/"), strict=False)
        if part.startswith("{")
    }
    sent = dict(headers or {})
    if key is not None:
        sent["authorization"] = f"Bearer {key}"
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": route,
        "rawPath": unquote(raw),
        "rawQueryString": query,
        "headers": sent,
        "requestContext": {
            "domainName": "keystow.test",
            "http": {"method": method or route.partition(" ")[0], "sourceIp": "203.0.113.9"},
        },
        "isBase64Encoded": False,
    }
    if parameters:
        event["pathParameters"] = parameters
    if body is not None:
        sent["content-type"] = "application/json"
        event["body"] = body if isinstance(body, str) else json.dumps(body)
    contexts._current = ctx  # not restored: threads of one test would restore it over each other
    return Answer(_handler(function)(event, None))


def create(api: Any, **body: Any) -> Any:
    return api.send("POST", "/integrations", body)
