"""The popup flow, from the first redirect to the stored connection."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.authorization_server import answer
from tests.integration.authorization.popup import SOCKET, World, make_world
from tests.support import json_answer


@pytest.fixture
def world() -> World:
    return make_world()


def test_the_browser_is_sent_on_with_exactly_these_parameters(world: World) -> None:
    started = world.start(world.browser(), world.session())
    assert started.status == 302
    place = urlsplit(started.headers["location"])
    assert (place.scheme, place.netloc, place.path) == ("https", "rotating.example", "/authorize")
    query = parse_qsl(place.query)
    assert [name for name, _ in query] == [
        "response_type",
        "client_id",
        "redirect_uri",
        "scope",
        "state",
        "code_challenge",
        "code_challenge_method",
    ]
    given = dict(query)
    assert given["redirect_uri"] == "https://keystow.test/oauth/callback"
    assert given["scope"] == "read write"
    assert given["code_challenge_method"] == "S256"
    assert started.headers["referrer-policy"] == "no-referrer"
    assert started.headers["cache-control"] == "no-store"


def test_the_state_is_256_bits_and_only_its_hash_is_stored(world: World) -> None:
    browser = world.browser()
    first = world.begun(browser, world.session())["state"]
    second = world.begun(browser, world.session())["state"]
    assert first != second
    assert len(base64.urlsafe_b64decode(first + "=")) == 32
    stored = repr(world.ctx.store.everything())
    assert first not in stored
    assert hashlib.sha256(first.encode()).hexdigest() in stored
    for secret in browser.cookies.values():
        assert secret not in stored
        assert len(base64.urlsafe_b64decode(secret + "=")) == 32


def test_the_cookie_is_bound_to_this_host_and_invisible_to_scripts(world: World) -> None:
    (cookie,) = world.start(world.browser(), world.session()).cookies
    name, *attributes = [part.strip() for part in cookie.split(";")]
    assert name.startswith("__Host-keystow-state-")
    assert {each.lower() for each in attributes} == {
        "path=/",
        "httponly",
        "samesite=lax",
        "secure",
        "max-age=1800",
    }


def test_each_popup_has_a_cookie_of_its_own(world: World) -> None:
    browser = world.browser()
    first = world.begun(browser, world.session())["state"]
    second = world.begun(browser, world.session())["state"]
    assert len(browser.cookies) == 2
    assert world.back(browser, second).status == 200
    assert world.back(browser, first).status == 200


def test_a_callback_makes_the_connection_and_tells_everybody(world: World) -> None:
    browser = world.browser()
    asked = world.begun(browser, world.session(tags={"Team": "Blue"}))
    page = world.back(browser, asked["state"])
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"nango_oauth_callback_success" in page.body
    (frame,) = world.frames()
    assert frame == {
        "message_type": "success",
        "provider_config_key": "rot",
        "connection_id": frame["connection_id"],
        "is_pending": False,
    }
    found = world.read(frame["connection_id"]).json()
    assert found["credentials"]["access_token"] == "at-1"
    assert found["credentials"]["refresh_token"] == "rt-1"
    assert found["metadata"] is None
    assert found["tags"] == {
        "end_user_id": "u1",
        "end_user_email": "u1@example.com",
        "end_user_display_name": "User One",
        "team": "Blue",
    }
    assert found["end_user"]["id"] == "u1"
    (webhook,) = world.webhooks()
    assert webhook["operation"] == "creation"
    assert webhook["success"] is True
    assert webhook["connectionId"] == frame["connection_id"]
    assert len(world.ctx.queues.webhook) == 1


def test_the_code_is_exchanged_with_the_verifier_of_the_challenge(world: World) -> None:
    browser = world.browser()
    asked = world.begun(browser, world.session())
    world.back(browser, asked["state"])
    (form,) = world.provider.requests
    digest = hashlib.sha256(form["code_verifier"].encode()).digest()
    assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == asked["code_challenge"]
    assert form["redirect_uri"] == asked["redirect_uri"]
    assert (form["grant_type"], form["code"]) == ("authorization_code", "code-1")


def test_a_reload_shows_the_same_page_without_a_second_exchange(world: World) -> None:
    browser = world.browser()
    state = world.begun(browser, world.session())["state"]
    first = world.back(browser, state)
    again = world.back(browser, state)
    assert (again.status, again.body) == (first.status, first.body)
    assert len(world.provider.requests) == 1
    assert len(world.connections()) == 1
    assert len(world.webhooks()) == 1


def test_a_reload_long_after_is_refused(world: World) -> None:
    browser = world.browser()
    state = world.begun(browser, world.session())["state"]
    world.back(browser, state)
    world.ctx.clock.advance(301)
    assert world.back(browser, state).status == 400
    assert len(world.provider.requests) == 1


@pytest.mark.parametrize("reads", ["no cookie", "another attempt's cookie", "a wrong value"])
def test_another_browser_is_refused_and_does_not_use_the_attempt_up(
    world: World, reads: str
) -> None:
    browser, other = world.browser(), world.browser()
    state = world.begun(browser, world.session())["state"]
    if reads == "another attempt's cookie":
        world.begun(other, world.session())
    elif reads == "a wrong value":
        other.cookies = dict.fromkeys(browser.cookies, "A" * 43)
    refused = world.back(other, state)
    assert refused.status == 400
    assert b"state_cookie_err" in refused.body
    assert world.provider.requests == []
    assert world.connections() == []
    assert world.back(browser, state).status == 200


def test_another_browser_learns_nothing_of_how_an_attempt_ended(world: World) -> None:
    browser = world.browser()
    state = world.begun(browser, world.session())["state"]
    world.back(browser, state)
    refused = world.back(world.browser(), state)
    assert refused.status == 400
    assert b"state_cookie_err" in refused.body


def test_an_attempt_that_took_too_long_is_refused(world: World) -> None:
    browser = world.browser()
    state = world.begun(browser, world.session())["state"]
    world.ctx.clock.advance(30 * 60)
    assert world.back(browser, state).status == 400
    assert world.provider.requests == []


def test_ending_the_session_does_not_cut_off_who_is_at_the_provider(world: World) -> None:
    browser, token = world.browser(), world.session()
    state = world.begun(browser, token)["state"]
    headers = {"authorization": f"Bearer {token}"}
    assert world.app.delete("/connect/session", headers=headers).status == 204
    assert world.back(browser, state).status == 200
    assert (
        world.app.get("/connect/session", headers=headers).code == "unknown_connect_session_token"
    )


@pytest.mark.parametrize("state", ["", "unknown", "x" * 100_000, "\x00", "%ED%A0%80"])
def test_an_unknown_state_gives_a_page_and_nothing_else(world: World, state: str) -> None:
    before = world.ctx.store.everything()
    page = world.back(world.browser(), state)
    assert page.status == 400
    assert page.headers["content-type"].startswith("text/html")
    assert world.ctx.store.everything() == before


def test_the_answer_of_another_authorization_server_is_refused(world: World) -> None:
    browser = world.browser()
    state = world.begun(browser, world.session())["state"]
    page = world.back(browser, state, iss="https://evil.example")
    assert page.status == 400
    assert world.provider.requests == []
    assert world.frames()[-1]["error_type"] == "callback_err"


def test_the_issuers_own_name_is_taken(world: World) -> None:
    browser = world.browser()
    state = world.begun(browser, world.session())["state"]
    assert world.back(browser, state, iss="https://rotating.example").status == 200


def test_a_refusal_at_the_provider_is_told_three_ways(world: World) -> None:
    browser = world.browser()
    state = world.begun(browser, world.session())["state"]
    page = world.back(browser, state, code="", error="access_denied", error_description="<b>No</b>")
    assert page.status == 400
    assert b"access_denied" in page.body
    assert b"<b>No</b>" not in page.body
    (frame,) = world.frames()
    assert (frame["message_type"], frame["error_type"]) == ("error", "callback_err")
    assert "access_denied" in frame["error_desc"]
    (webhook,) = world.webhooks()
    assert webhook["success"] is False
    assert webhook["error"]["type"] == "invalid_callback"
    assert webhook["endUser"]["endUserId"] == "u1"
    assert world.connections() == []


def test_a_failed_attempt_shows_its_failure_when_reloaded(world: World) -> None:
    browser = world.browser()
    state = world.begun(browser, world.session())["state"]
    world.back(browser, state, code="", error="access_denied")
    again = world.back(browser, state)
    assert again.status == 400
    assert world.provider.requests == []
    assert len(world.webhooks()) == 1


@pytest.mark.parametrize(
    ("given", "event"),
    [
        (answer(400, {"error": "invalid_grant"}), "unknown"),
        (answer(500, {}), "unknown"),
        (answer(200, {"token_type": "bearer"}), "unable_to_parse_token_response"),
    ],
)
def test_a_failed_exchange_is_told_and_leaves_no_connection(
    world: World, given: Any, event: str
) -> None:
    browser = world.browser()
    state = world.begun(browser, world.session())["state"]
    world.provider.fault = lambda _n: given
    page = world.back(browser, state)
    assert page.status == 400
    assert world.connections() == []
    assert world.frames()[-1]["message_type"] == "error"
    assert [each["error"]["type"] for each in world.webhooks()] == [event]
    world.provider.fault = None
    assert world.back(browser, state).status == 400, "a code is not tried twice"
    assert len(world.provider.requests) == 1


def test_two_callbacks_at_once_exchange_the_code_once(world: World) -> None:
    from tests.support import run_in_parallel

    browser = world.browser()
    state = world.begun(browser, world.session())["state"]
    answers = run_in_parallel(6, lambda _place: world.back(browser, state))
    assert 200 in [each.status for each in answers]
    assert len(world.provider.requests) == 1
    assert len(world.connections()) == 1


def test_a_reconnect_keeps_the_id_and_replaces_the_credential(world: World) -> None:
    connection_id = world.connected()
    before = world.connections()[0]
    body = {"connection_id": connection_id, "provider_config_key": "rot", "metadata": {"a": 1}}
    assert world.app.post("/connections/metadata", body).status == 201
    browser = world.browser()
    state = world.begun(browser, world.reconnect_session(connection_id))["state"]
    assert world.back(browser, state).status == 200
    assert world.frames()[-1]["connection_id"] == connection_id
    (after,) = world.connections()
    assert after["id"] == before["id"]
    assert after["created_at"] == before["created_at"]
    assert after["generation"] != before["generation"]
    found = world.read(connection_id).json()
    assert found["credentials"]["refresh_token"] == "rt-2"
    assert found["metadata"] == {"a": 1}
    assert found["end_user"]["id"] == "u1"
    assert world.webhooks()[-1]["operation"] == "override"


def test_a_reconnect_of_what_was_deleted_meanwhile_is_an_invalid_connection(world: World) -> None:
    connection_id = world.connected()
    first, second = world.browser(), world.browser()
    token = world.reconnect_session(connection_id)
    state = world.begun(first, token)["state"]
    gone = world.app.delete(f"/connections/{connection_id}?provider_config_key=rot")
    assert gone.status == 200
    assert world.start(second, token).code == "invalid_connection"
    exchanged = len(world.provider.requests)
    assert world.back(first, state).status == 400
    assert world.connections() == []
    assert len(world.provider.requests) <= exchanged + 1


def test_a_session_may_not_connect_what_it_does_not_allow(world: World) -> None:
    body = {"provider": "unauthenticated", "unique_key": "other"}
    assert world.app.post("/integrations", body).status == 200
    token = world.session(allowed_integrations=["other"])
    assert world.start(world.browser(), token).code == "integration_not_allowed"


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


def test_the_browser_may_add_parameters_and_take_defaults_away() -> None:
    world = make_world({"authorization_params": {"prompt": "consent", "access_type": "offline"}})
    query = {"authorization_params[prompt]": "undefined", "authorization_params[x]": "y z"}
    asked = world.begun(world.browser(), world.session(), **query)
    assert "prompt" not in asked
    assert (asked["access_type"], asked["x"]) == ("offline", "y z")


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
    assert moved.headers["location"] == f"https://keystow.test{path}"
    assert moved.cookies == ()
    assert world.attempts() == []


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


def test_a_frame_that_cannot_be_delivered_does_not_harm_the_connection(world: World) -> None:
    world.ctx.sockets.gone.add(SOCKET)
    browser = world.browser()
    state = world.begun(browser, world.session())["state"]
    assert world.back(browser, state).status == 200
    assert len(world.connections()) == 1


def test_the_session_is_needed_and_must_be_alive(world: World) -> None:
    browser, token = world.browser(), world.session()
    assert browser.get("/oauth/connect/rot").code == "missing_public_key"
    world.ctx.clock.advance(30 * 60)
    late = world.start(browser, token)
    assert (late.status, late.code) == (401, "unknown_connect_session_token")


def test_sealed_parts_moved_from_another_attempt_do_not_open(world: World) -> None:
    from keystow.store import Put, tables

    mine, theirs = world.browser(), world.browser()
    state = world.begun(mine, world.session())["state"]
    world.begun(theirs, world.session())
    digest = hashlib.sha256(state.encode()).hexdigest()
    own = next(each for each in world.attempts() if each["state_hash"] == digest)
    other = next(each for each in world.attempts() if each["state_hash"] != digest)
    world.ctx.store.put(Put(tables.oauth_state(digest), {**own, "sealed": other["sealed"]}))
    page = world.back(mine, state)
    assert page.status == 400
    assert page.headers["content-type"].startswith("text/html")
    assert world.provider.requests == []
    assert world.connections() == []


def test_an_app_secret_moved_from_another_integration_is_not_used(world: World) -> None:
    from keystow.store import Put
    from keystow.store.operations import Key

    client = {"type": "OAUTH2", "client_id": "other", "client_secret": "other-secret"}
    body = {"provider": "rotating", "unique_key": "other", "credentials": client}
    assert world.app.post("/integrations", body).status == 200
    rows = [
        each
        for each in world.ctx.store.everything()["registry"]
        if each["sk"].startswith("integration#")
    ]
    own = next(each for each in rows if each["unique_key"] == "rot")
    other = next(each for each in rows if each["unique_key"] == "other")
    sealed = {
        name: value
        for name, value in other.items()
        if isinstance(value, dict) and any(isinstance(each, bytes) for each in value.values())
    }
    assert sealed
    world.ctx.store.put(Put(Key("registry", own["pk"], own["sk"]), {**own, **sealed}))
    browser = world.browser()
    state = world.begun(browser, world.session())["state"]
    page = world.back(browser, state)
    assert page.status == 400
    assert page.headers["content-type"].startswith("text/html")
    assert world.provider.requests == []
