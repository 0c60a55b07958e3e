"""An authorization at an MCP server, whose client registers itself, for the scenario."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.integration.authorization.popup import Browser
from tests.integration.modes.mcp import KNOWN
from tests.mcp_server import McpWorld

if TYPE_CHECKING:
    from tests.infrastructure.scenario import Scenario

KEY = "mcp"


def go_through(scenario: Scenario) -> None:
    """Register, be forgotten by the server, and register anew; read the client's document."""
    server = McpWorld()
    scenario.running.egress, usual = server, scenario.running.egress
    scenario.ok("PUT", "/providers/mcp-server", KNOWN)
    scenario.ok("POST", "/integrations", {"provider": "mcp-server", "unique_key": KEY})
    (dev,) = scenario.ok("GET", "/environments?name=dev", key=scenario.account)["data"]
    scenario.ok("GET", f"/oauth/client-metadata/{dev['uuid']}/{KEY}", key=None)
    for forgotten in (True, False, False):
        browser = Browser(scenario.app)
        query = urlencode({"connect_session_token": scenario.session()})
        left = browser.get(f"/oauth/connect/{KEY}?{query}")
        assert left.status == 302, left.body
        asked = dict(parse_qsl(urlsplit(left.headers["location"]).query))
        told = urlencode(server.agreed(left.headers["location"]))
        if forgotten:
            server.storage.clients.clear()
        back = browser.get(f"{urlsplit(asked['redirect_uri']).path}?{told}")
        assert back.status == (400 if forgotten else 200), back.body
    scenario.running.egress = usual
