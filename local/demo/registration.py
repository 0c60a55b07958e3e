"""Makes the demo known to a running Keystow over its public API, as any customer would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import httpx

from local.demo.definitions import api_key_provider_definition, provider_definition

if TYPE_CHECKING:
    from pathlib import Path

OAUTH = "demo"
API_KEY = "demo-api-key"


class Stack(Protocol):
    """What the demo needs to know of a running stack; URLs have no trailing slash."""

    @property
    def api_url(self) -> str:
        """Keystow's API."""

    @property
    def websocket_url(self) -> str:
        """Its WebSocket."""

    @property
    def connect_ui_url(self) -> str:
        """Its Connect UI."""

    @property
    def callback_url(self) -> str:
        """The redirect URI to register at providers."""

    @property
    def demo_url(self) -> str:
        """The demo app."""

    @property
    def demo_provider_url(self) -> str:
        """The demo provider."""

    @property
    def secret_key(self) -> str:
        """An API key with all scopes of the environment."""

    @property
    def webhook_signing_key(self) -> str:
        """What webhooks are signed with."""

    @property
    def state_dir(self) -> Path:
        """Where state lives on disk."""

    @property
    def environment(self) -> str:
        """The environment's name."""


def register(stack: Stack) -> None:
    """Put the demo's providers, integrations and webhook address in place; safe to repeat.

    Needs the API and the demo provider to be up. Webhook settings that point somewhere else than
    to a demo app are left alone.

    Raises:
        httpx.HTTPStatusError: the API or the provider refused something.
        httpx.TransportError: one of them did not answer.
    """
    with (
        httpx.Client(
            base_url=stack.api_url,
            headers={"authorization": f"Bearer {stack.secret_key}"},
            timeout=60,
            trust_env=False,
        ) as api,
        httpx.Client(base_url=stack.demo_provider_url, timeout=20, trust_env=False) as provider,
    ):
        base = stack.demo_provider_url
        _done(api.put(f"/providers/{OAUTH}", json=provider_definition(base)))
        _done(api.put(f"/providers/{API_KEY}", json=api_key_provider_definition(base)))
        _oauth_integration(api, provider, stack.callback_url)
        if api.get(f"/integrations/{API_KEY}").status_code == httpx.codes.NOT_FOUND:
            body = {"provider": API_KEY, "unique_key": API_KEY, "display_name": "Demo API keys"}
            _done(api.post("/integrations", json=body))
        _webhooks(api, f"{stack.demo_url}/webhooks")


def _oauth_integration(api: httpx.Client, provider: httpx.Client, callback: str) -> None:
    found = api.get(f"/integrations/{OAUTH}", params={"include": "credentials"})
    known = found.status_code != httpx.codes.NOT_FOUND
    if known and _still_good(provider, _done(found)["data"].get("credentials") or {}, callback):
        return
    client = _done(
        provider.post(
            "/register", json={"client_name": "Keystow demo app", "redirect_uris": [callback]}
        )
    )
    credentials = {
        "type": "OAUTH2",
        "client_id": client["client_id"],
        "client_secret": client["client_secret"],
        "scopes": "profile",
    }
    if known:
        _done(api.patch(f"/integrations/{OAUTH}", json={"credentials": credentials}))
        return
    body = {"provider": OAUTH, "unique_key": OAUTH, "display_name": "Demo accounts"}
    _done(api.post("/integrations", json={**body, "credentials": credentials}))


def _still_good(provider: httpx.Client, credentials: dict[str, Any], callback: str) -> bool:
    """Ask the provider whether it knows this client, its secret and the callback address."""
    client_id = credentials.get("client_id") or ""
    secret = credentials.get("client_secret") or ""
    answer = provider.post("/revoke", data={"token": "none"}, auth=(client_id, secret))
    if answer.status_code != httpx.codes.OK:
        return False
    question = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": callback,
        "code_challenge": "c" * 43,
        "code_challenge_method": "S256",
    }
    return provider.get("/authorize", params=question).status_code == httpx.codes.OK


def _webhooks(api: httpx.Client, receiver: str) -> None:
    settings = _done(api.get("/environment/webhook-settings"))["data"]
    current = settings.get("primary_url")
    if current == receiver:
        return
    if current:
        parts = urlsplit(current)
        ours = parts.hostname == "127.0.0.1" and parts.path == urlsplit(receiver).path
        if not ours:
            return
    wanted = {**settings, "primary_url": receiver, "on_connection_deletion": True}
    _done(api.put("/environment/webhook-settings", json=wanted))


def _done(response: httpx.Response) -> Any:
    if response.is_error:
        raise httpx.HTTPStatusError(
            f"{response.request.method} {response.request.url.path} answered "
            f"{response.status_code}: {response.text[:300]}",
            request=response.request,
            response=response,
        )
    return response.json()
