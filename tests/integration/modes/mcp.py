"""A browser that connects an account at an MCP server."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.app import App, Result
from tests.integration.authorization.popup import END_USER, Browser
from tests.mcp_server import ISSUER, RESOURCE, McpWorld
from tests.support import Seeded, claim_names, make_context, seed_environment

GENERIC: dict[str, Any] = {
    "display_name": "Some MCP server",
    "auth_mode": "MCP_OAUTH2_GENERIC",
    "connection_config": {"mcp_server_url": {"title": "MCP server", "format": "uri"}},
}
KNOWN: dict[str, Any] = {
    "display_name": "A known MCP server",
    "auth_mode": "MCP_OAUTH2",
    "authorization_url": f"{ISSUER}/authorize",
    "token_url": f"{ISSUER}/token",
    "revocation_url": f"{ISSUER}/revoke",
    "issuer": ISSUER,
    "client_registration": "dynamic",
    "registration_url": f"{ISSUER}/register",
    "authorization_params": {"resource": RESOURCE},
    "token_params": {"resource": RESOURCE},
    "refresh_params": {"resource": RESOURCE},
}


@dataclass
class McpApp:
    """An environment with one integration of an MCP server."""

    ctx: Any
    app: App
    server: McpWorld
    seeded: Seeded
    generic: bool

    def session(self, **body: Any) -> str:
        made = self.app.post("/connect/sessions", {"end_user": END_USER, **body})
        return str(made.json()["data"]["token"])

    def again(self, connection_id: str) -> str:
        body = {"connection_id": connection_id, "integration_id": "mcp"}
        return str(self.app.post("/connect/sessions/reconnect", body).json()["data"]["token"])

    def leave(self, browser: Browser, token: str = "", **params: str) -> Result:
        given = {"connect_session_token": token or self.session()}
        if self.generic:
            params = {"mcp_server_url": RESOURCE, **params}
        given |= {f"params[{name}]": value for name, value in params.items()}
        return browser.get(f"/oauth/connect/mcp?{urlencode(given)}")

    def asked(self, result: Result) -> dict[str, str]:
        assert result.status == 302, result.body
        return dict(parse_qsl(urlsplit(result.headers["location"]).query))

    def back(self, browser: Browser, asked: dict[str, str], answer: dict[str, str]) -> Result:
        path = urlsplit(asked["redirect_uri"]).path
        return browser.get(f"{path}?{urlencode(answer)}")

    def connected(self, token: str = "", **params: str) -> str:
        """Go through the whole flow; return the connection's id."""
        browser = Browser(self.app)
        token = token or self.session()
        left = self.leave(browser, token, **params)
        asked = self.asked(left)
        answer = self.server.agreed(left.headers["location"])
        page = self.back(browser, asked, answer)
        assert page.status == 200, re.findall(rb"<p[^>]*>(.*?)</p>", page.body)
        told = self.app.get("/connect/session/status", key=token).json()["data"]
        assert told["status"] == "connected", told
        return str(told["connection_id"])

    def read(self, connection_id: str, query: str = "") -> Result:
        place = f"/connections/{connection_id}?provider_config_key=mcp"
        return self.app.get(f"{place}&refresh_token=true{query}")


def make_mcp(
    definition: dict[str, Any], credentials: dict[str, Any] | None = None, **more: Any
) -> McpApp:
    server = McpWorld()
    ctx = make_context(egress=server)
    seeded = seed_environment(ctx)
    claim_names(ctx, seeded.environment)
    app = App(ctx, seeded.secret_key)
    made = app.put("/providers/mcp-server", definition)
    assert made.status == 201, made.body
    body: dict[str, Any] = {"provider": "mcp-server", "unique_key": "mcp", **more}
    if credentials:
        body["credentials"] = credentials
    made = app.post("/integrations", body)
    assert made.status == 200, made.body
    generic = definition["auth_mode"] == GENERIC["auth_mode"]
    return McpApp(ctx, app, server, seeded, generic)
