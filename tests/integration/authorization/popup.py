"""A browser that goes through the popup flow in process."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from keystow.store import tables
from tests.app import App, Result
from tests.authorization_server import DEFINITION, AuthorizationServer
from tests.support import Seeded, make_context, seed_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

SOCKET = "5b6f9f0e-6f3c-4a57-9d5e-1f1d5b1a7c11"
END_USER = {"id": "u1", "email": "u1@example.com", "display_name": "User One"}


@dataclass
class Browser:
    """One browser with its own cookies."""

    app: App
    cookies: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Result:
        answer = self.app.get(path, key=None, cookies=self.cookies, headers=headers)
        for cookie in answer.cookies:
            name, _, value = cookie.split(";")[0].partition("=")
            self.cookies[name] = value
        return answer


@dataclass
class World:
    """An environment with one integration of a provider that rotates."""

    ctx: Any
    app: App
    provider: AuthorizationServer
    seeded: Seeded
    key: str = "rot"
    places: dict[str, str] = field(default_factory=dict)

    def session(self, **body: Any) -> str:
        found = self.app.post("/connect/sessions", {"end_user": END_USER, **body})
        assert found.status == 201, found.body
        return str(found.json()["data"]["token"])

    def reconnect_session(self, connection_id: str, **body: Any) -> str:
        given = {"connection_id": connection_id, "integration_id": self.key, **body}
        found = self.app.post("/connect/sessions/reconnect", given)
        assert found.status == 201, found.body
        return str(found.json()["data"]["token"])

    def browser(self) -> Browser:
        return Browser(self.app)

    def start(self, browser: Browser, token: str, **query: str) -> Result:
        given = {"connect_session_token": token, "ws_client_id": SOCKET, **query}
        return browser.get(f"/oauth/connect/{quote(self.key)}?{urlencode(given)}")

    def begun(self, browser: Browser, token: str, **query: str) -> dict[str, str]:
        """Start and return the parameters the provider is asked with."""
        answer = self.start(browser, token, **query)
        assert answer.status == 302, answer.body
        asked = dict(parse_qsl(urlsplit(answer.headers["location"]).query, keep_blank_values=True))
        self.places[asked["state"]] = urlsplit(asked["redirect_uri"]).path
        return asked

    def back(self, browser: Browser, state: str, **query: str) -> Result:
        """Come back from the provider, to where it was asked to send the browser."""
        given = {"code": "code-1", **query, "state": state}
        place = self.places.get(state, "/oauth/callback")
        return browser.get(f"{place}?{urlencode({k: v for k, v in given.items() if v})}")

    def connected(self, **session: Any) -> str:
        """Go through the whole flow and return the connection's id."""
        browser = self.browser()
        state = self.begun(browser, self.session(**session))["state"]
        assert self.back(browser, state).status == 200
        frame = self.frames()[-1]
        assert frame["message_type"] == "success"
        return str(frame["connection_id"])

    def read(self, connection_id: str, query: str = "&refresh_token=true") -> Result:
        return self.app.get(
            f"/connections/{connection_id}?provider_config_key={quote(self.key)}{query}"
        )

    def frames(self) -> list[dict[str, Any]]:
        return [frame for place, frame in self.ctx.sockets.pushed if place == SOCKET]

    def attempts(self) -> list[dict[str, Any]]:
        return [
            item for item in self.ctx.store.everything()[tables.SESSIONS] if "binding_hash" in item
        ]

    def connections(self) -> list[dict[str, Any]]:
        return [
            item
            for item in self.ctx.store.everything()[tables.CONNECTIONS]
            if item["sk"] == tables.CONNECTION
        ]

    def webhooks(self) -> list[dict[str, Any]]:
        import json

        return [
            json.loads(item["body"])
            for item in self.ctx.store.everything()[tables.EVENTS]
            if item["sk"] == "event"
        ]


def make_world(
    definition: dict[str, Any] | None = None,
    *,
    provider: str = "rotating",
    scopes: str = "read,write",
    credentials: dict[str, Any] | None = None,
) -> World:
    server = AuthorizationServer()
    ctx: Any = make_context(egress=server)
    seeded = seed_environment(ctx)
    app = App(ctx, seeded.secret_key)
    if provider == "rotating":
        made = app.put("/providers/rotating", {**DEFINITION, **(definition or {})})
        assert made.status == 201, made.body
    client = {"type": "OAUTH2", "client_id": "id", "client_secret": "app-secret", "scopes": scopes}
    body: dict[str, Any] = {"provider": provider, "unique_key": "rot"}
    if credentials is None or credentials:
        body["credentials"] = credentials or client
    made = app.post("/integrations", body)
    assert made.status == 200, made.body
    return World(ctx, app, server, seeded)
