"""What browsers, sessions and callbacks may say in the popup flow, and what they may not."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.integration.authorization.popup import World, make_world
from tests.support import json_answer


@pytest.fixture
def world() -> World:
    return make_world()


def test_what_a_session_fixes_wins_over_what_the_browser_sends(world: World) -> None:
    fixed = {
        "user_scopes": "u1",
        "authorization_params": {"prompt": "consent"},
        "connection_config": {"oauth_scopes_override": "admin", "region": "eu"},
    }
    token = world.session(integrations_config_defaults={"rot": fixed})
    query = {
        "authorization_params[prompt]": "none",
        "authorization_params[x]": "y",
        "params[region]": "us",
        "params[free]": "text",
        "params[webhook_url]": "https://evil.example",
    }
    browser = world.browser()
    asked = world.begun(browser, token, **query)
    assert asked["prompt"] == "consent"
    assert "x" not in asked
    assert asked["scope"] == "admin"
    assert world.back(browser, asked["state"]).status == 200
    config = world.read(world.frames()[-1]["connection_id"]).json()["connection_config"]
    assert config["region"] == "eu"
    assert config["free"] == "text"
    assert config["oauth_scopes_override"] == ["admin"]
    assert "webhook_url" not in config


def test_a_browser_does_not_choose_what_is_asked_for(world: World) -> None:
    browser = world.browser()
    given = {"params[oauth_scopes_override]": "admin,delete", "user_scope": "admin"}
    asked = world.begun(browser, world.session(), **given)
    assert asked["scope"] == "read write"
    assert "user_scope" not in asked
    assert world.back(browser, asked["state"]).status == 200
    config = world.read(world.frames()[-1]["connection_id"]).json()["connection_config"]
    assert config == {}


def test_params_that_are_no_names_and_values_are_refused(world: World) -> None:
    refused = world.start(world.browser(), world.session(), params="zz")
    assert (refused.status, refused.issues) == (400, [("invalid_type", ["params"])])
    assert world.attempts() == []


def test_the_browser_may_add_parameters_that_decide_nothing(world: World) -> None:
    asked = world.begun(world.browser(), world.session(), **{"authorization_params[x]": "y z"})
    assert asked["x"] == "y z"


def test_the_browser_decides_neither_what_is_asked_for_nor_whether_it_is_seen() -> None:
    entry = {
        "authorization_params": {"prompt": "consent", "access_type": "offline"},
        "authorization_url": "https://rotating.example/authorize?policy=sign_in",
    }
    world = make_world(entry)
    asked_for = {
        "scope": "read write admin:org",
        "SCOPE": "admin",
        "scope ": "admin",
        "user_scope": "admin",
        "prompt": "none",
        "approval_prompt": "auto",
        "claims": "{}",
        "acr_values": "low",
        "audience": "other",
        "resource": "https://other.example",
        "access_type": "undefined",
        "policy": "none",
    }
    query = {f"authorization_params[{name}]": value for name, value in asked_for.items()}
    plain = world.begun(world.browser(), world.session())
    token = world.session()
    asked = world.begun(world.browser(), token, **query)
    changing = {"state", "code_challenge"}
    assert {k: v for k, v in asked.items() if k not in changing} == {
        k: v for k, v in plain.items() if k not in changing
    }
    assert (asked["scope"], asked["prompt"], asked["policy"]) == (
        "read write",
        "consent",
        "sign_in",
    )
    logged = json.dumps(world.ctx.store.everything()["activity"], default=str)
    assert "approval_prompt" in logged, "what did not count is told in the activity"


def test_a_session_decides_what_a_browser_may_not() -> None:
    world = make_world({"authorization_params": {"prompt": "consent"}})
    fixed = {"authorization_params": {"prompt": "undefined", "scope": "all", "resource": "r"}}
    token = world.session(integrations_config_defaults={"rot": fixed})
    asked = world.begun(world.browser(), token)
    assert "prompt" not in asked
    assert (asked["scope"], asked["resource"]) == ("all", "r")


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("own_client", [True, False])
def test_a_refresh_token_of_a_browser_counts_with_its_own_client_and_where_the_entry_takes_one(
    declared: bool, own_client: bool
) -> None:
    world = make_world({"refresh_token_override": True} if declared else {})
    query = {"credentials[oauth_refresh_token_override]": "rt-of-somebody"}
    if own_client:
        query["credentials[oauth_client_id_override]"] = "own-id"
        query["credentials[oauth_client_secret_override]"] = "own-secret"
    browser = world.browser()
    state = world.begun(browser, world.session(), **query)["state"]
    assert world.back(browser, state).status == 200
    found = world.read(world.frames()[-1]["connection_id"]).json()
    counts = declared and own_client
    assert (found["credentials"]["refresh_token"] == "rt-of-somebody") is counts
    assert found["connection_config"].get("overrideTokenRefresh", False) is counts


def test_an_integration_without_scopes_asks_without_a_scope() -> None:
    world = make_world(scopes="")
    assert "scope" not in world.begun(world.browser(), world.session())


@pytest.mark.parametrize(
    "name",
    ["state", "redirect_uri", "client_id", "code_challenge", "code_challenge_method", "request"],
)
def test_reserved_parameters_cannot_be_replaced(world: World, name: str) -> None:
    query = {f"authorization_params[{name}]": "https://evil.example"}
    page = world.start(world.browser(), world.session(), **query)
    assert page.status == 400
    assert b"url_param_err" in page.body
    assert world.frames()[-1]["error_type"] == "url_param_err"
    assert world.attempts() == []
    body = {
        "end_user": {"id": "x"},
        "integrations_config_defaults": {"rot": {"authorization_params": {name: "x"}}},
    }
    refused = world.app.post("/connect/sessions", body)
    assert (refused.status, refused.code) == (400, "invalid_body")


def test_another_host_first_sends_the_browser_to_the_canonical_one(world: World) -> None:
    token = world.session()
    path = f"/oauth/connect/rot?connect_session_token={token}&params%5Ba%5D=b+c"
    moved = world.browser().get(path, headers={"host": "abc.execute-api.example.com"})
    assert moved.status == 302
    assert moved.headers["location"] == f"https://keystow.test{path}&keystow_moved=1"
    assert moved.cookies == ()
    assert world.attempts() == []


def test_behind_a_front_door_the_browser_is_not_sent_round_in_circles(world: World) -> None:
    # Whatever address the browser uses, API Gateway sees its own.
    own = {"host": "abc.execute-api.example.com"}
    path = f"/oauth/connect/rot?connect_session_token={world.session()}"
    browser = world.browser()
    moved = browser.get(path, headers=own)
    again = moved.headers["location"].removeprefix("https://keystow.test")
    begun = browser.get(again, headers=own)
    assert begun.status == 302
    place = urlsplit(begun.headers["location"])
    assert place.netloc != "keystow.test"
    assert "keystow_moved" not in place.query
    assert len(begun.cookies) == 1
    assert len(world.attempts()) == 1


def test_a_front_door_that_says_its_name_costs_no_redirect(world: World) -> None:
    door = {"host": "abc.execute-api.example.com", "x-forwarded-host": "keystow.test"}
    path = f"/oauth/connect/rot?connect_session_token={world.session()}"
    begun = world.browser().get(path, headers=door)
    assert urlsplit(begun.headers["location"]).netloc != "keystow.test"
    assert len(world.attempts()) == 1


def test_no_other_name_of_a_front_door_is_believed(world: World) -> None:
    door = {"host": "abc.execute-api.example.com", "x-forwarded-host": "evil.example"}
    path = f"/oauth/connect/rot?connect_session_token={world.session()}"
    moved = world.browser().get(path, headers=door)
    assert urlsplit(moved.headers["location"]).netloc == "keystow.test"
    assert world.attempts() == []


def test_the_canonical_address_is_spelled_so_that_no_header_can_be_made_of_it(world: World) -> None:
    path = "/oauth/connect/a%20b%0D%0AX-Evil:%201"
    moved = world.browser().get(path, headers={"host": "abc.execute-api.example.com"})
    assert moved.status == 302
    assert moved.headers["location"] == f"https://keystow.test{path}?keystow_moved=1"


def test_a_callback_in_a_form_becomes_a_get(world: World) -> None:
    browser = world.browser()
    state = world.begun(browser, world.session())["state"]
    form = f"code=code-1&state={state}&id_token=a%20b".encode()
    kind = {"content-type": "application/x-www-form-urlencoded"}
    moved = world.app.post("/oauth/callback", raw=form, key=None, headers=kind)
    assert moved.status == 303
    place = urlsplit(moved.headers["location"])
    assert f"{place.scheme}://{place.netloc}{place.path}" == "https://keystow.test/oauth/callback"
    assert browser.get(f"{place.path}?{place.query}").status == 200


def test_the_callback_of_a_domain_of_ones_own_is_asked_for(world: World) -> None:
    from keystow.store import Put
    from keystow.value import replace

    environment = replace(
        world.seeded.environment, callback_url="https://login.customer.example/cb"
    )
    world.ctx.store.put(Put(environment.key, environment.as_item()))
    asked = world.begun(world.browser(), world.session())
    assert asked["redirect_uri"] == "https://login.customer.example/cb"


def test_a_connection_may_have_an_oauth_client_of_its_own(world: World) -> None:
    query = {
        "credentials[oauth_client_id_override]": "own-id",
        "credentials[oauth_client_secret_override]": "own-secret",
    }
    browser = world.browser()
    asked = world.begun(browser, world.session(), **query)
    assert asked["client_id"] == "own-id"
    assert "own-secret" not in repr(world.ctx.store.everything())
    assert world.back(browser, asked["state"]).status == 200
    assert world.provider.requests[0]["client_id"] == "own-id"
    assert world.provider.requests[0]["client_secret"] == "own-secret"
    connection_id = world.frames()[-1]["connection_id"]
    override = {"client_id": "own-id", "client_secret": "own-secret"}
    assert world.read(connection_id).json()["credentials"]["config_override"] == override
    world.ctx.clock.advance(3600)
    world.read(connection_id)
    assert world.provider.requests[-1]["client_id"] == "own-id"


def test_half_an_oauth_client_is_refused(world: World) -> None:
    query = {"credentials[oauth_client_id_override]": "own-id"}
    page = world.start(world.browser(), world.session(), **query)
    assert page.status == 400
    assert world.frames()[-1]["error_type"] == "provider_config_err"


@pytest.mark.parametrize(
    ("key", "error_type"), [("nope", "provider_config_err"), ("key", "auth_mode_err")]
)
def test_what_cannot_be_authorized_in_a_popup_is_told_there(
    world: World, key: str, error_type: str
) -> None:
    body = {"provider": "airtable-pat", "unique_key": "key"}
    assert world.app.post("/integrations", body).status == 200
    world.key = key
    page = world.start(world.browser(), world.session())
    assert page.status == 400
    assert page.headers["content-type"].startswith("text/html")
    assert world.frames()[-1]["error_type"] == error_type


def test_a_connection_id_cannot_be_chosen_by_the_browser(world: World) -> None:
    refused = world.start(world.browser(), world.session(), connection_id="someone-elses")
    assert (refused.status, refused.code) == (400, "invalid_query_params")
    assert refused.issues == [("custom", ["connection_id"])]


def test_what_the_token_answer_and_the_callback_tell_is_kept() -> None:
    world = make_world(
        {
            "token_response_metadata": ["team", "deep.value"],
            "redirect_uri_metadata": ["realm", "region"],
            "connection_config": {
                "region": {"type": "string", "title": "Region", "pattern": "^(eu|us)$"}
            },
        }
    )
    world.provider.extra = {"team": "t1", "deep": {"value": "d"}, "other": "x"}
    browser = world.browser()
    state = world.begun(browser, world.session())["state"]
    page = world.back(browser, state, realm="r1", region="evil.example/")
    assert page.status == 200
    config = world.read(world.frames()[-1]["connection_id"]).json()["connection_config"]
    assert config == {"team": "t1", "deep.value": "d", "realm": "r1"}


@pytest.mark.parametrize(
    "hostname", ["evil.example", "salesforce.com.evil.example", "a.salesforce.com@evil.example"]
)
def test_no_secret_goes_to_a_host_that_the_browser_chose(hostname: str) -> None:
    world = make_world(provider="salesforce")
    page = world.start(world.browser(), world.session(), **{"params[hostname]": hostname})
    assert page.status == 400
    assert world.frames()[-1]["error_type"] == "url_param_err"
    assert world.attempts() == []
    assert world.provider.requests == []


def test_a_browser_cannot_give_what_only_the_provider_tells() -> None:
    world = make_world(provider="salesforce")
    browser = world.browser()
    query = {"params[instance_url]": "https://evil.example", "params[hostname]": ""}
    state = world.begun(browser, world.session(), **query)["state"]
    told = {"access_token": "at", "instance_url": "https://acme.my.salesforce.com"}
    world.ctx.egress.send = lambda *_args, **_options: json_answer(200, told)
    assert world.back(browser, state).status == 200
    config = world.read(world.frames()[-1]["connection_id"]).json()["connection_config"]
    assert config["instance_url"] == "https://acme.my.salesforce.com"


def test_a_callback_cannot_name_the_host_of_the_token_endpoint() -> None:
    world = make_world(provider="zoho")
    browser = world.browser()
    state = world.begun(browser, world.session())["state"]
    urls: list[str] = []

    def send(method: str, url: str, **_options: Any) -> Any:
        urls.append(url)
        return json_answer(200, {"access_token": "at", "api_domain": "https://www.zohoapis.eu"})

    world.ctx.egress.send = send
    place = {"accounts-server": "https://accounts.zoho.com.evil.example"}
    world.back(browser, state, **place)
    assert all("evil.example" not in url for url in urls)
    assert all("evil.example" not in json.dumps(each, default=str) for each in world.connections())


def test_a_provider_that_names_its_accounts_server_is_asked_there() -> None:
    world = make_world(provider="zoho")
    browser = world.browser()
    state = world.begun(browser, world.session())["state"]
    urls: list[str] = []

    def send(method: str, url: str, **_options: Any) -> Any:
        urls.append(url)
        return json_answer(200, {"access_token": "at", "api_domain": "https://www.zohoapis.eu"})

    world.ctx.egress.send = send
    page = world.back(browser, state, **{"accounts-server": "https://accounts.zoho.eu"})
    assert page.status == 200
    assert urls[0] == "https://accounts.zoho.eu/oauth/v2/token"
    config = world.read(world.frames()[-1]["connection_id"]).json()["connection_config"]
    assert config["extension"] == "eu"


def test_the_page_says_nothing_of_how_a_stranger_spelled_a_parameter() -> None:
    world = make_world()
    text = "Your account is locked"
    for name in (f"state[{text}]", f"state\0{text}", f"request.uri[{text}"):
        query = {f"authorization_params[{name}]": "x"}
        page = world.start(world.browser(), world.session(), **query)
        assert page.status == 400, name
        assert text.encode() not in page.body, name
        assert b"is set by the server" in page.body, name


def test_the_activity_names_a_strangers_parameters_in_few_plain_words() -> None:
    world = make_world()
    query = {f"authorization_params[scope<b>{n}\u202e\n]": "x" for n in range(50)}
    world.begun(world.browser(), world.session(), **query)
    (line,) = (
        line
        for item in world.ctx.store.everything()["activity"]
        for line in [item]
        if "not_of_browsers" in str(item)
    )
    assert "scope" in str(line)
    assert "scope 10" not in str(line), "some of them say enough"
    for mark in ("<b>", "\u202e", "\\u202e", "\\n"):
        assert mark not in str(line)
