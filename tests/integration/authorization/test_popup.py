"""The popup flow, from the first redirect to the stored connection."""

from __future__ import annotations

import base64
import hashlib
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.authorization_server import answer
from tests.integration.authorization.popup import SOCKET, World, make_world


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


def test_an_ended_session_ends_what_it_began(world: World) -> None:
    browser, token = world.browser(), world.session()
    first = world.begun(browser, token)["state"]
    second = world.begun(browser, token)["state"]
    headers = {"authorization": f"Bearer {token}"}
    assert world.app.delete("/connect/session", headers=headers).status == 204
    for state in (first, second):
        page = world.back(browser, state)
        assert page.status == 400
        assert b"state_err" in page.body
    assert world.provider.requests == [], "no code is exchanged"
    assert world.connections() == []
    assert world.webhooks() == []
    assert world.frames()[-1]["error_type"] == "state_err"
    unknown = world.app.get("/connect/session", headers=headers)
    assert unknown.code == "unknown_connect_session_token"


def test_a_session_that_ends_during_the_exchange_makes_no_connection(world: World) -> None:
    browser, token = world.browser(), world.session()
    state = world.begun(browser, token)["state"]
    headers = {"authorization": f"Bearer {token}"}

    def ended(_number: int) -> None:
        assert world.app.delete("/connect/session", headers=headers).status == 204

    world.provider.fault = ended
    assert world.back(browser, state).status == 400
    assert len(world.provider.requests) == 1
    assert world.provider.revoked == ["rt-1"], "what was given for it is given back"
    assert world.connections() == []


def test_a_session_that_runs_out_lets_those_finish_who_are_at_the_provider(world: World) -> None:
    browser, token = world.browser(), world.session()
    world.ctx.clock.advance(29 * 60)
    state = world.begun(browser, token)["state"]
    world.ctx.clock.advance(29 * 60)
    assert world.back(browser, state).status == 200


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
