"""Modes that sign requests, with the secrets of their integrations: a part of the scenario."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

from keystow.egress.client import Answer
from tests.authorization_server import DEFINITION

if TYPE_CHECKING:
    from tests.infrastructure.scenario import Scenario

TRIED = {"base_url": DEFINITION["issuer"], "verification": {"endpoints": ["/token"]}}


def use(scenario: Scenario) -> None:
    """Connect, import and read in each of them."""
    issued = Answer(200, {}, b"oauth_token=t&oauth_token_secret=s")
    scenario.server.fault = lambda _number: issued
    scenario.next_month()
    _tokens_typed_in(scenario)
    _popup(scenario)
    scenario.server.fault = None


def _provider(scenario: Scenario, mode: str, **fields: object) -> None:
    definition = {"display_name": mode, "auth_mode": mode, "proxy": TRIED, **fields}
    scenario.ok("PUT", f"/providers/{mode.lower()}", definition)
    client = {"type": mode, "client_id": "id", "client_secret": "s"}
    body = {"provider": mode.lower(), "unique_key": mode, "credentials": client}
    scenario.ok("POST", "/integrations", body)


def _tokens_typed_in(scenario: Scenario) -> None:
    _provider(scenario, "TBA")
    token = {"token_id": "t", "token_secret": "s"}
    given = {"connect_session_token": scenario.session(), "params[accountId]": "1"}
    made = scenario.app.post(f"/auth/tba/TBA?{urlencode(given)}", token, key=None)
    assert made.status == 200, made.body
    imported = {
        "provider_config_key": "TBA",
        "connection_id": "tba",
        "connection_config": {"accountId": "1"},
        "credentials": {"type": "TBA", **token},
    }
    scenario.ok("POST", "/connections", imported)
    scenario.ok("GET", "/connections/tba?provider_config_key=TBA")


def _popup(scenario: Scenario) -> None:
    urls = dict.fromkeys(("request_url", "token_url"), DEFINITION["token_url"])
    page = DEFINITION["authorization_url"]
    _provider(scenario, "OAUTH1", **urls, authorization_url=page, signature_method="HMAC-SHA1")
    query = urlencode({"connect_session_token": scenario.session()})
    started = scenario.app.get(f"/oauth/connect/OAUTH1?{query}", key=None)
    assert started.status == 302, started.body
    (back,) = parse_qs(urlsplit(started.headers["location"]).query)["oauth_callback"]
    name, _, value = started.cookies[0].split(";")[0].partition("=")
    path = f"/oauth/callback?{urlsplit(back).query}&oauth_token=t&oauth_verifier=v"
    assert scenario.app.get(path, key=None, cookies={name: value}).status == 200
