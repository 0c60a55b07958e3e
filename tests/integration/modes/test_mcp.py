"""MCP servers, against the server side of the MCP SDK."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from keystow.store import tables
from tests.integration.authorization.popup import Browser
from tests.integration.modes.mcp import GENERIC, KNOWN, McpApp, make_mcp
from tests.mcp_server import ISSUER, LIFE_SECONDS, RESOURCE


@pytest.fixture(params=[GENERIC, KNOWN], ids=["found", "known"])
def mcp(request: pytest.FixtureRequest) -> McpApp:
    return make_mcp(request.param)


def test_an_account_is_connected_by_a_client_that_registered_itself(mcp: McpApp) -> None:
    found = mcp.read(mcp.connected()).json()
    (client,) = mcp.server.storage.clients.values()
    assert found["credentials"]["type"] == "OAUTH2"
    assert found["credentials"]["access_token"]
    assert found["credentials"]["config_override"]["client_id"] == client.client_id
    assert client.token_endpoint_auth_method == "none"
    assert [str(each) for each in client.redirect_uris or ()] == [
        mcp.server.forms("/token")[0]["redirect_uri"]
    ]


def test_every_request_names_the_same_resource_and_proves_its_code(mcp: McpApp) -> None:
    browser = Browser(mcp.app)
    left = mcp.leave(browser)
    asked = mcp.asked(left)
    assert asked["resource"] == RESOURCE
    assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
    mcp.back(browser, asked, mcp.server.agreed(left.headers["location"]))
    (exchanged,) = mcp.server.forms("/token")
    assert exchanged["resource"] == RESOURCE
    assert exchanged["code_verifier"]
    assert "client_secret" not in exchanged


def test_a_token_is_renewed_where_it_came_from(mcp: McpApp) -> None:
    connection = mcp.connected()
    before = mcp.read(connection).json()["credentials"]
    mcp.ctx.clock.advance(LIFE_SECONDS)
    after = mcp.read(connection).json()["credentials"]
    assert after["access_token"] != before["access_token"]
    assert after["refresh_token"] != before["refresh_token"]
    renewed = mcp.server.forms("/token")[-1]
    assert (renewed["grant_type"], renewed["resource"]) == ("refresh_token", RESOURCE)
    assert renewed["client_id"] == before["config_override"]["client_id"]
    item = mcp.ctx.store.get(
        tables.connection_secret(mcp.seeded.environment.id, _integration(mcp), connection)
    )
    assert item["host"] == "sign-in.example"


def test_a_deleted_connection_is_revoked(mcp: McpApp) -> None:
    connection = mcp.connected()
    token = mcp.read(connection).json()["credentials"]["refresh_token"]
    gone = mcp.app.delete(f"/connections/{connection}?provider_config_key=mcp")
    assert gone.status == 200
    assert token in mcp.server.storage.revoked


def test_people_of_one_day_are_one_client(mcp: McpApp) -> None:
    mcp.connected()
    mcp.connected()
    assert len(mcp.server.storage.clients) == 1
    mcp.ctx.clock.advance(24 * 3600)
    mcp.connected()
    assert len(mcp.server.storage.clients) == 2


def test_a_client_that_its_server_forgot_is_registered_anew(mcp: McpApp) -> None:
    browser = Browser(mcp.app)
    left = mcp.leave(browser)
    asked = mcp.asked(left)
    answer = mcp.server.agreed(left.headers["location"])
    mcp.server.storage.clients.clear()
    failed = mcp.back(browser, asked, answer)
    assert failed.status == 400
    assert b"invalid_client" in failed.body
    assert mcp.read(mcp.connected()).status == 200
    assert len(mcp.server.storage.clients) == 1


def test_a_reconnect_keeps_the_connection(mcp: McpApp) -> None:
    connection = mcp.connected()
    first = mcp.read(connection).json()["credentials"]["access_token"]
    assert mcp.connected(mcp.again(connection)) == connection
    assert mcp.read(connection).json()["credentials"]["access_token"] != first


def test_a_grant_that_ended_is_told_once(mcp: McpApp) -> None:
    connection = mcp.connected()
    mcp.server.storage.refresh_tokens.clear()
    mcp.ctx.clock.advance(LIFE_SECONDS)
    assert mcp.read(connection).code == "invalid_credentials"
    errors = mcp.read(connection, "&refresh_guard=1").status
    assert errors == 400
    events = [
        json.loads(item["body"])
        for item in mcp.ctx.store.everything()[tables.EVENTS]
        if item["sk"] == "event"
    ]
    assert [each["operation"] for each in events].count("refresh") == 1


def test_tokens_can_be_imported_with_the_client_they_belong_to(mcp: McpApp) -> None:
    client = mcp.read(mcp.connected()).json()["credentials"]
    config = {"mcp_server_url": RESOURCE} if mcp.generic else {}
    body: dict[str, Any] = {
        "provider_config_key": "mcp",
        "connection_id": "imported",
        "connection_config": config,
        "credentials": {"type": "OAUTH2", "access_token": "a", "refresh_token": "r"},
    }
    refused = mcp.app.post("/connections", body)
    assert (refused.status, refused.code) == (400, "invalid_body")
    body["credentials"]["config_override"] = client["config_override"]
    del body["credentials"]["config_override"]["auth_method"]
    made = mcp.app.post("/connections", body)
    assert made.status == 201, made.body
    assert made.json()["credentials"]["access_token"] == "a"


def test_an_answer_of_another_server_is_refused(mcp: McpApp) -> None:
    for iss in ("https://other.example", None):
        browser = Browser(mcp.app)
        left = mcp.leave(browser)
        asked = mcp.asked(left)
        answer = mcp.server.agreed(left.headers["location"])
        del answer["iss"]
        if iss:
            answer["iss"] = iss
        elif not mcp.generic:
            continue  # its entry does not say that the server names itself
        refused = mcp.back(browser, asked, answer)
        assert refused.status == 400
        assert b"another authorization server" in refused.body
    assert mcp.server.forms("/token") == []


def _integration(mcp: McpApp) -> str:
    (found,) = (
        item["sk"].partition("#")[2]
        for item in mcp.ctx.store.everything()[tables.REGISTRY]
        if item["sk"].startswith("integration#") and "unique_key" in item
    )
    return str(found)


def test_the_app_of_an_operator_comes_first() -> None:
    client = {"type": "OAUTH2", "client_id": "ours", "client_secret": "s"}
    mcp = make_mcp(KNOWN, client)
    assert mcp.asked(mcp.leave(Browser(mcp.app)))["client_id"] == "ours"
    assert mcp.server.sent == []


def test_no_secret_of_an_app_goes_to_a_server_that_a_user_names() -> None:
    client = {"type": "OAUTH2", "client_id": "ours", "client_secret": "app-secret"}
    mcp = make_mcp(GENERIC, client)
    browser = Browser(mcp.app)
    left = mcp.leave(browser)
    asked = mcp.asked(left)
    assert asked["client_id"] == "ours"
    answer = {"code": "c", "state": asked["state"], "iss": ISSUER}
    mcp.back(browser, asked, answer)
    assert mcp.server.forms("/token")
    assert all(b"app-secret" not in each.body for each in mcp.server.sent)
    assert all("authorization" not in each.headers for each in mcp.server.sent)


def test_a_metadata_document_is_the_client_where_the_server_reads_them() -> None:
    mcp = make_mcp(GENERIC, custom={"oauth_client_name": "Acme"}, display_name="MCP of Acme")
    mcp.server.metadata = {"client_id_metadata_document_supported": True}
    asked = mcp.asked(mcp.leave(Browser(mcp.app)))
    address = asked["client_id"]
    environment = mcp.seeded.environment.uuid
    assert urlsplit(address).path == f"/oauth/client-metadata/{environment}/mcp"
    assert mcp.server.storage.clients == {}
    document = mcp.app.get(urlsplit(address).path, key=None)
    assert document.status == 200
    assert document.headers["cache-control"] == "public, max-age=300"
    told = document.json()
    assert told["client_id"] == address
    assert told["client_name"] == "Acme"
    assert told["redirect_uris"] == [asked["redirect_uri"]]
    assert told["token_endpoint_auth_method"] == "none"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [("https://acme.example", True), ("http://acme.example", False), ("https://[", False)],
)
def test_a_document_shows_addresses_that_are_https_urls_only(uri: str, shown: bool) -> None:
    mcp = make_mcp(GENERIC, custom={"oauth_client_uri": uri, "oauth_client_logo_uri": uri})
    path = f"/oauth/client-metadata/{mcp.seeded.environment.uuid}/mcp"
    document = mcp.app.get(path, key=None)
    assert document.status == 200
    assert document.json().get("logo_uri") == (uri if shown else None)
    assert (document.json()["client_uri"] == uri) is shown


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/oauth/client-metadata/00000000-0000-4000-8000-000000000009/mcp", "unknown_environment"),
        ("/oauth/client-metadata/no-uuid/mcp", "unknown_environment"),
        ("/oauth/client-metadata/{uuid}/other", "unknown_provider_config"),
    ],
)
def test_a_document_that_nobody_has_is_not_found(path: str, code: str) -> None:
    mcp = make_mcp(GENERIC)
    answer = mcp.app.get(path.format(uuid=mcp.seeded.environment.uuid), key=None)
    assert (answer.status, answer.code) == (404, code)


def test_what_to_ask_for_is_what_the_server_wants_and_a_refresh_token() -> None:
    mcp = make_mcp(GENERIC)
    mcp.server.metadata = {"scopes_supported": ["read", "write", "offline_access"]}
    assert mcp.asked(mcp.leave(Browser(mcp.app)))["scope"] == "read offline_access"
    mcp.server.challenge = 'Bearer error="invalid_token", scope="write"'
    assert mcp.asked(mcp.leave(Browser(mcp.app)))["scope"] == "write offline_access"


@pytest.mark.parametrize(
    ("where", "change"),
    [
        ("metadata", {"issuer": "https://other.example"}),
        ("metadata", {"code_challenge_methods_supported": ["plain"]}),
        ("metadata", {"code_challenge_methods_supported": None}),
        ("metadata", {"token_endpoint": "https://a.example/${connectionConfig.x}"}),
        ("metadata", {"authorization_endpoint": "javascript:alert(1)"}),
        ("metadata", {"authorization_endpoint": None}),
        ("resource", {"resource": "https://other.example/mcp"}),
        ("resource", {"resource": "https://mcp.example/mc"}),
        ("resource", {"resource": 7}),
        ("resource", {"resource": "https://["}),
        ("resource", {"authorization_servers": ["https://["]}),
        ("resource", {"authorization_servers": []}),
        ("resource", {"authorization_servers": [7]}),
        ("resource", {"authorization_servers": ["https://127.0.0.1"]}),
        ("resource", {"authorization_servers": ["http://sign-in.example"]}),
        ("resource", {"authorization_servers": ["https://${connectionConfig.x}"]}),
    ],
)
def test_a_server_that_cannot_be_trusted_is_refused_before_anybody_leaves(
    where: str, change: dict[str, Any]
) -> None:
    mcp = make_mcp(GENERIC)
    setattr(mcp.server, where, change)
    refused = mcp.leave(Browser(mcp.app))
    assert refused.status == 400
    assert mcp.server.storage.clients == {}


@pytest.mark.parametrize(
    "address",
    ["", "http://mcp.example/mcp", "https://127.0.0.1/mcp", "https://localhost/mcp", "no address"],
)
def test_an_address_of_this_network_is_asked_nothing(address: str) -> None:
    mcp = make_mcp(GENERIC)
    assert mcp.leave(Browser(mcp.app), mcp_server_url=address).status == 400
    assert mcp.server.sent == []


def test_a_browser_does_not_choose_where_tokens_are_renewed() -> None:
    mcp = make_mcp(GENERIC)
    evil = json.dumps({"token_endpoint": "https://evil.example/token", "issuer": ISSUER})
    connection = mcp.connected(oauth_metadata=evil, oauth_resource_url="https://evil.example")
    config = mcp.read(connection).json()["connection_config"]
    assert json.loads(config["oauth_metadata"])["token_endpoint"] == f"{ISSUER}/token"
    assert config["oauth_resource_url"] == RESOURCE
    mcp.ctx.clock.advance(LIFE_SECONDS)
    mcp.read(connection)
    assert {urlsplit(each.url).netloc for each in mcp.server.sent} == {
        "mcp.example",
        "sign-in.example",
    }


def test_a_registered_secret_is_used_as_the_server_said() -> None:
    mcp = make_mcp(
        {**KNOWN, "registration_params": {"token_endpoint_auth_method": "client_secret_basic"}}
    )
    connection = mcp.connected()
    (token_request,) = (each for each in mcp.server.sent if each.url.endswith("/token"))
    assert token_request.headers["authorization"].startswith("Basic ")
    mcp.ctx.clock.advance(LIFE_SECONDS)
    assert mcp.read(connection).status == 200
    assert mcp.server.sent[-1].headers["authorization"].startswith("Basic ")


def test_a_registration_that_is_refused_is_told() -> None:
    mcp = make_mcp({**KNOWN, "registration_params": {"scope": "admin"}})
    refused = mcp.leave(Browser(mcp.app))
    assert refused.status == 400
    assert b"did not register a client" in refused.body
