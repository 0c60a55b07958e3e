"""Promise 1: the official Node client works unchanged."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e import driving

if TYPE_CHECKING:
    import httpx

    from local.harness import RunningStack

CLIENTS = Path(__file__).resolve().parents[1] / "clients"
NODE = Path(sys.executable).parent / "node"
KEY = "demo-api-key"
OAUTH1 = "node-oauth1"
BASIC = "node-basic"
MACHINE = "node-machine"
# What a connection's id may hold; '?', '#' and '%' are not among it.
ODD_ID = "node/ a:b@c+d,e;f=g~h|i$j"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,6}\+00:00"
TIME_Z = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
WRONG_KEY = "11111111-1111-4111-8111-111111111111"
ONE_MORE = "node-plain"


@dataclass(frozen=True)
class Ran:
    """What the client's methods gave, and what they were given."""

    results: dict[str, dict[str, Any]]
    tokens: driving.Tokens
    ids: dict[str, str]
    oauth: str

    def __getitem__(self, step: str) -> Any:
        found = self.results[step]
        assert "value" in found, f"{step}: {found}"
        return found["value"]

    def error(self, step: str) -> tuple[int, str]:
        """Status and code."""
        found = self.results[step]
        assert "error" in found, f"{step}: {found}"
        return found["status"], found["error"]["code"]


@pytest.fixture(scope="module")
def ran(
    stack: RunningStack,
    api: httpx.Client,
    provider: driving.Provider,
    receiver: driving.Receiver,
) -> Ran:
    """Run all of tests/clients/node_client.mjs once."""
    definition = {
        "display_name": "Older",
        "categories": ["dev-tools"],
        "docs": f"{provider.url}/",
        "auth_mode": "OAUTH1",
        "request_url": f"{provider.url}/request",
        "authorization_url": f"{provider.url}/authorize",
        "token_url": f"{provider.url}/token",
        "signature_method": "HMAC-SHA1",
        "proxy": {"base_url": provider.url},
    }
    driving.done(api.put(f"/providers/{OAUTH1}", json=definition))
    credentials = {"type": "OAUTH1", "client_id": "a", "client_secret": "b"}
    made = {"provider": OAUTH1, "unique_key": OAUTH1, "credentials": credentials}
    driving.done(api.post("/integrations", json=made))

    ids = {"oauth": f"{ODD_ID}-oauth", "key": f"{ODD_ID}-key", "oauth1": "node-oauth1"}
    tokens = provider.imported(api, ids["oauth"], seconds_left=1800)
    for connection_id, more in (
        (ids["key"], {"tags": {"Team": "blue"}, "webhook_url_override": receiver.url}),
        (ONE_MORE, {}),
    ):
        body = {
            "provider_config_key": KEY,
            "connection_id": connection_id,
            "credentials": {"type": "API_KEY", "apiKey": "demo-key-ada-0001"},
            "end_user": {"id": "node-user", "email": "ada@node.example", "display_name": "Ada"},
            **more,
        }
        driving.done(api.post("/connections", json=body))
    credentials = {"type": "OAUTH1", "oauth_token": "one", "oauth_token_secret": "two"}
    body = {"provider_config_key": OAUTH1, "connection_id": ids["oauth1"]}
    driving.done(api.post("/connections", json={**body, "credentials": credentials}))
    delivery = receiver.wait(ids["key"])
    more_connections(api, provider, ids)
    variables = {"variables": [{"name": "REGION", "value": "eu"}]}
    driving.done(api.put("/environment-variables", json=variables))

    given = {
        "host": stack.api_url,
        "apiKey": stack.keys["secret_key"],
        "wrongKey": WRONG_KEY,
        "webhookSigningKey": stack.keys["webhook_signing_key"],
        "oauth": provider.integration,
        "key": KEY,
        "oauth1": OAUTH1,
        "basic": BASIC,
        "machine": MACHINE,
        "reader": reading_key(stack),
        "ids": ids,
        "delivery": {"headers": delivery.headers, "raw": delivery.raw.decode()},
    }
    ended = subprocess.run(
        [NODE, CLIENTS / "node_client.mjs"],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"PATH": ""},
    )
    assert ended.returncode == 0, ended.stderr
    return Ran(json.loads(ended.stdout), tokens, ids, provider.integration)


def more_connections(api: httpx.Client, provider: driving.Provider, ids: dict[str, str]) -> None:
    """Import a password, a client of an account's own, and a token whose refresh is refused."""
    plain = {"display_name": "Plain", "proxy": {"base_url": provider.url}}
    flow = {"token_url": f"{provider.url}/token"}
    for name, definition in (
        (BASIC, {**plain, "auth_mode": "BASIC"}),
        (MACHINE, {**plain, **flow, "auth_mode": "OAUTH2_CC"}),
    ):
        driving.done(api.put(f"/providers/{name}", json=definition))
        driving.done(api.post("/integrations", json={"provider": name, "unique_key": name}))
    client = {"client_id": "i", "client_secret": "s", "expires_at": driving.moment(7200)}
    dead = {"access_token": "a", "refresh_token": "r", "expires_at": driving.moment(-60)}
    for name, key, credentials in (
        ("basic", BASIC, {"type": "BASIC", "username": "ada", "password": "pw"}),
        ("machine", MACHINE, {"type": "OAUTH2_CC", "token": "t", **client}),
        ("broken", provider.integration, {"type": "OAUTH2", **dead}),
    ):
        ids[name] = f"node-{name}"
        body = {"provider_config_key": key, "connection_id": ids[name]}
        driving.done(api.post("/connections", json={**body, "credentials": credentials}))


def reading_key(stack: RunningStack) -> str:
    """Return a key that may read connections, and no credential."""
    with driving.client(stack, stack.keys["account_key"]) as account:
        (dev,) = driving.done(account.get("/environments?name=dev"))["data"]
        body = {"display_name": "node-reader", "scopes": ["environment:connections:read"]}
        made = driving.done(account.post(f"/environments/{dev['uuid']}/api-keys", json=body))
    return str(made["data"]["secret"])


def matches(pattern: str, text: str) -> bool:
    return re.fullmatch(pattern, text) is not None


def test_providers_are_listed_and_searched(ran: Ran) -> None:
    everything = {each["name"] for each in ran["listProviders"]["data"]}
    found = {each["name"] for each in ran["listProviders search"]["data"]}
    assert {"github", "slack", "demo"} <= everything
    assert found == {"airtable", "airtable-pat"}
    by_name = {each["name"] for each in ran["listProviders by name"]["data"]}
    assert "airtable-pat" in by_name
    assert "github" not in by_name


def test_a_provider_is_its_definition_with_name_and_logo(ran: Ran) -> None:
    github = ran["getProvider"]["data"]
    assert github["name"] == "github"
    assert github["auth_mode"] == "OAUTH2"
    assert github["authorization_url"] == "https://github.com/login/oauth/authorize"
    assert github["logo_url"].startswith("http")
    assert ran.error("getProvider unknown") == (404, "not_found")
    assert ran["getProviderTemplates"] == {"data": []}


def test_integrations_are_made_read_changed_and_removed(ran: Ran) -> None:
    made = ran["createIntegration"]["data"]
    assert set(made) == {
        *("unique_key", "provider", "display_name", "logo"),
        *("forward_webhooks", "created_at", "updated_at"),
        *("callback_url", "own_callback"),
    }
    assert made["unique_key"] == "node gh:1@x"
    assert matches(TIME_Z, made["created_at"])
    assert ran.error("createIntegration again") == (400, "invalid_body")
    assert ran.error("createIntegration of no provider") == (400, "invalid_body")
    assert ran.error("createQuickstartIntegration") == (400, "invalid_body")
    assert made in ran["listIntegrations"]["configs"]
    assert ran["getIntegration"]["data"] == made
    assert ran["getIntegration webhook"]["data"] == {**made, "webhook_url": None}
    shown = ran["getIntegration credentials"]["data"]["credentials"]
    assert {**shown, "scopes": None} == {
        "type": "OAUTH2",
        "client_id": "a",
        "client_secret": "b",
        "scopes": None,
        "webhook_secret": None,
    }
    assert ran.error("getIntegration unknown") == (404, "not_found")
    assert ran["updateIntegration"]["data"]["display_name"] == "SDK"
    assert ran.error("updateIntegration wrong") == (400, "invalid_body")
    assert ran.error("updateIntegration unknown") == (404, "not_found")
    assert ran["deleteIntegration"] == {"success": True}
    assert ran.error("deleteIntegration again") == (404, "not_found")


def listed(ran: Ran, step: str) -> list[str]:
    return [each["connection_id"] for each in ran[step]["connections"]]


def test_connections_are_listed_in_every_form(ran: Ran) -> None:
    key = ran.ids["key"]
    assert {*ran.ids.values(), ONE_MORE} <= set(listed(ran, "listConnections()"))
    assert listed(ran, "listConnections(id)") == [key]
    assert listed(ran, "listConnections(id, search, user)") == [key]
    assert set(listed(ran, "listConnections(search)")) == {key, ONE_MORE}
    assert listed(ran, "listConnections({})") == [key]
    assert listed(ran, "listConnections({other tag})") == []
    assert set(listed(ran, "listConnections([])")) >= {key, ONE_MORE, ran.ids["oauth1"]}
    assert listed(ran, "listConnections({userId})") == [ONE_MORE, key]
    assert len(listed(ran, "listConnections(page)")) == 1
    assert ran.error("listConnections(wrong)") == (400, "invalid_query_params")


def test_a_listed_connection_has_the_contracts_shape(ran: Ran) -> None:
    (one,) = ran["listConnections(id)"]["connections"]
    assert isinstance(one.pop("id"), int)
    assert matches(TIME, one.pop("created"))
    assert one == {
        "connection_id": ran.ids["key"],
        "provider_config_key": KEY,
        "provider": KEY,
        "errors": [],
        "end_user": {
            "id": "node-user",
            "display_name": "Ada",
            "email": "ada@node.example",
            "tags": None,
            "organization": None,
        },
        "tags": {
            "end_user_id": "node-user",
            "end_user_email": "ada@node.example",
            "end_user_display_name": "Ada",
            "team": "blue",
        },
        "metadata": {},
    }


def test_a_connection_comes_with_its_credential(ran: Ran) -> None:
    one = ran["getConnection"]
    assert set(one) == {
        *("id", "connection_id", "provider_config_key", "provider", "errors", "end_user", "tags"),
        *("metadata", "connection_config", "webhook_url_override"),
        *("created_at", "updated_at", "last_fetched_at", "credentials"),
    }
    assert one["credentials"] == {"type": "API_KEY", "apiKey": "demo-key-ada-0001"}
    assert all(matches(TIME, one[name]) for name in ("created_at", "updated_at", "last_fetched_at"))
    assert ran.error("getConnection unknown") == (404, "not_found")
    assert ran.error("getConnection unknown integration") == (400, "unknown_provider_config")


def test_refresh_tokens_are_shown_only_when_they_are_asked_for(ran: Ran) -> None:
    plain = ran["getConnection oauth2"]["credentials"]
    assert set(plain) == {"type", "access_token", "expires_at", "raw"}
    assert plain["access_token"] == ran.tokens.access_token
    assert matches(TIME_Z, plain["expires_at"])
    assert ran.tokens.refresh_token not in json.dumps(plain)
    full = ran["getConnection with refresh token"]["credentials"]
    assert full["refresh_token"] == ran.tokens.refresh_token
    assert full["raw"]["refresh_token"] == ran.tokens.refresh_token


def test_a_forced_refresh_brings_a_new_token(ran: Ran, provider: driving.Provider) -> None:
    forced = ran["getConnection force"]["credentials"]
    assert forced["access_token"] != ran.tokens.access_token
    assert forced["refresh_token"] != ran.tokens.refresh_token
    assert len(provider.log(family=ran.tokens.family)) == 1
    assert ran["getToken oauth2"] == forced["access_token"]
    assert ran["getRawTokenResponse"]["access_token"] == forced["access_token"]
    assert provider.works(forced["access_token"])


def test_a_connection_whose_refresh_is_refused_says_so_with_what_it_is(ran: Ran) -> None:
    assert ran.error("getConnection broken") == (400, "invalid_credentials")
    told = ran.results["getConnection broken"]["error"]["payload"]["connection"]
    assert (told["connection_id"], told["credentials"]) == (ran.ids["broken"], {})
    assert told["errors"][0]["type"] == "auth"
    assert ran.error("getConnection broken again") == (424, "invalid_credentials")
    assert ran.error("getToken broken") == (424, "invalid_credentials")


def test_a_key_that_may_not_read_credentials_gets_none(ran: Ran) -> None:
    assert ran["getConnection of a reader"]["credentials"] == {}
    assert ran.error("getConnection force of a reader") == (403, "forbidden")
    assert ran.error("getEnvironmentVariables of a reader") == (403, "forbidden")


def test_tokens_come_as_their_kind_has_them(ran: Ran) -> None:
    basic = {"type": "BASIC", "username": "ada", "password": "pw"}
    assert ran["getToken basic"] == basic
    machine = ran["getToken client credentials"]
    assert (machine["type"], machine["token"], machine["client_id"]) == ("OAUTH2_CC", "t", "i")
    assert ran.error("getToken unknown") == (404, "not_found")
    assert ran.error("getRawTokenResponse unknown") == (404, "not_found")
    assert ran["getToken apikey"] == {"type": "API_KEY", "apiKey": "demo-key-ada-0001"}
    assert ran["getToken oauth1"] == {"oAuthToken": "one", "oAuthTokenSecret": "two"}


def test_metadata_is_replaced_and_merged(ran: Ran) -> None:
    assert ran["getMetadata before"] == {}
    echo = {"connection_id": ran.ids["key"], "provider_config_key": KEY}
    assert ran["setMetadata"] == {**echo, "metadata": {"a": 1, "b": 1}}
    several = {**echo, "connection_id": [ran.ids["key"]]}
    assert ran["updateMetadata"] == {**several, "metadata": {"b": 2}}
    assert ran.error("setMetadata unknown") == (404, "unknown_connection")
    assert ran.error("updateMetadata unknown") == (404, "unknown_connection")
    assert ran.error("getMetadata unknown") == (404, "not_found")
    assert ran["getMetadata"] == {"a": 1, "b": 2}


def test_tags_are_replaced_by_patch_connection(ran: Ran) -> None:
    assert ran["patchConnection"] == {"success": True}
    assert ran["getConnection patched"]["tags"]["x"] == "y"
    assert "team" not in ran["getConnection patched"]["tags"]
    assert ran.error("patchConnection unknown") == (404, "not_found")
    unknown = ran.error("patchConnection unknown integration")
    assert unknown == (400, "unknown_provider_config")
    assert ran.error("patchConnection wrong") == (400, "invalid_body")


def test_sessions_are_made(ran: Ran, stack: RunningStack) -> None:
    for step in (
        "createConnectSession",
        "createConnectSession with all",
        "createReconnectSession",
    ):
        made = ran[step]["data"]
        assert set(made) == {"token", "connect_link", "expires_at"}
        assert matches("nango_connect_session_[0-9a-f]{64}", made["token"])
        assert made["connect_link"].startswith(f"{stack.info.connect_ui_url}/?session_token=")
        assert matches(TIME_Z, made["expires_at"])
    assert ran.error("createConnectSession error") == (400, "invalid_body")
    issue = ran.results["createConnectSession error"]["error"]["errors"][0]
    assert (issue["code"], issue["path"]) == ("invalid_type", ["end_user"])
    assert ran.error("createConnectSession unknown") == (400, "invalid_body")
    assert ran.error("createReconnectSession unknown") == (400, "invalid_body")


def test_a_connection_that_is_there_is_found_by_its_user(ran: Ran) -> None:
    assert ran["waitForConnection"]["connection_id"] == ONE_MORE
    assert "aborted" in ran.results["waitForConnection in vain"]["text"]


def test_environment_variables_are_a_bare_list(ran: Ran) -> None:
    assert ran["getEnvironmentVariables"] == [{"name": "REGION", "value": "eu"}]


@pytest.mark.parametrize(
    "step", ["getScriptsConfig", "listFunctions", "listRecords", "triggerAction", "syncStatus"]
)
def test_what_is_not_offered_answers_in_the_error_envelope(ran: Ran, step: str) -> None:
    assert ran.error(step) == (404, "not_found")


def test_signatures_of_a_real_delivery_are_verified(ran: Ran) -> None:
    assert ran["verifyWebhookSignature"] is True
    assert ran["verifyWebhookSignature changed"] is False
    assert ran["verifyIncomingWebhookRequest"] is True
    assert ran["verifyIncomingWebhookRequest changed"] is False


def test_a_deleted_connection_is_gone(ran: Ran) -> None:
    assert ran["deleteConnection"] == {"success": True}
    assert ran.error("getConnection deleted") == (404, "not_found")
    assert ran.error("deleteConnection again") == (400, "unknown_connection")


def test_a_wrong_key_is_refused_by_every_method(ran: Ran) -> None:
    steps = [step for step in ran.results if step.startswith("wrong key: ")]
    assert len(steps) == 22
    assert {ran.error(step) for step in steps} == {(401, "unknown_account")}
