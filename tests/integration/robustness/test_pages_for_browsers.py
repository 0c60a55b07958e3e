"""A browser that navigates gets a page; everybody else gets JSON, as before."""

from __future__ import annotations

from typing import Any

import pytest

from keystow.store import StoreUnavailable
from tests.integration.authorization.popup import World, make_world

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
BAD_TOKEN = "nango_connect_session_" + "0" * 64
PLACES = [
    ("/", 404),
    ("/nowhere/at/all", 404),
    ("/ui/connect/nothing/here", 404),
    ("/ui/logos/A.svg", 404),
    ("/connect/session", 401),
    ("/integrations", 401),
    ("/connections/c1", 401),
    (f"/oauth/connect/rot?connect_session_token={BAD_TOKEN}", 401),
    ("/oauth/connect/rot", 401),
    ("/oauth/callback?state=unknown&code=x", 400),
    ("/oauth/callback", 400),
]


@pytest.fixture
def world() -> World:
    return make_world()


def navigate(world: World, path: str) -> Any:
    return world.app.get(path, key=None, headers={"accept": BROWSER})


@pytest.mark.parametrize(("path", "status"), PLACES)
def test_a_browser_gets_a_page_of_the_same_status(world: World, path: str, status: int) -> None:
    answer = navigate(world, path)
    assert answer.status == status
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.body.startswith(b"<!doctype html>")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert answer.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    "accept", ["*/*", "application/json", "application/json, text/plain, */*", "", "text/plain"]
)
@pytest.mark.parametrize(
    ("path", "status"), [place for place in PLACES if "callback" not in place[0]]
)
def test_a_client_of_the_api_gets_json_as_before(
    world: World, path: str, status: int, accept: str
) -> None:
    answer = world.app.get(path, key=None, headers={"accept": accept})
    assert (answer.status, answer.headers["content-type"].split(";")[0]) == (
        status,
        "application/json",
    )
    assert answer.code


def test_who_sends_a_key_is_no_browser(world: World) -> None:
    answer = world.app.get("/connections/c9", headers={"accept": BROWSER})
    assert answer.headers["content-type"].startswith("application/json")


def test_nothing_of_the_address_is_on_the_page(world: World) -> None:
    answer = navigate(world, "/call-555-1234-now?and=<script>evil</script>")
    assert b"555" not in answer.body
    assert b"evil" not in answer.body


def test_a_fault_is_a_page_with_its_reference(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(world.ctx.store, "get", broken)
    answer = navigate(world, "/oauth/callback?state=x&code=y")
    assert answer.status == 500
    assert b"Reference</dt>" in answer.body
    assert b"secret detail" not in answer.body


def test_what_passes_says_so_and_keeps_its_headers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("down")

    monkeypatch.setattr(world.ctx.store, "get", down)
    answer = navigate(world, f"/oauth/connect/rot?connect_session_token={BAD_TOKEN}")
    assert answer.status == 503
    assert answer.headers["retry-after"] == "2"
    assert b"Just a moment" in answer.body


def test_a_popup_that_cannot_begin_tells_its_opener(world: World) -> None:
    token = world.session(allowed_integrations=["rot"])
    ended = {"authorization": f"Bearer {token}"}
    assert world.app.delete("/connect/session", headers=ended).status == 204
    answer = navigate(world, f"/oauth/connect/rot?connect_session_token={token}")
    assert answer.status == 401
    assert b"nango_oauth_callback_error" in answer.body
    assert b'"errorType":"unknown_connect_session_token"' in answer.body
    assert b"This session has ended" in answer.body


def test_declining_is_no_error_on_the_page(world: World) -> None:
    token, browser = world.session(), world.browser()
    state = world.begun(browser, token)["state"]
    page = world.back(browser, state, code="", error="access_denied").body.decode()
    assert '<h1 id="title">You declined</h1>' in page
    assert "Nothing was shared." in page
    assert '<body class="calm">' in page
    assert 'role="alert"' not in page


def test_the_details_name_the_log_of_the_attempt(world: World) -> None:
    token, browser = world.session(), world.browser()
    state = world.begun(browser, token)["state"]
    page = world.back(browser, state, code="", error="server_error").body.decode()
    told = page.split('<dt>Log</dt><dd id="log" dir="auto">')[1].split("<")[0]
    assert world.app.get(f"/activity/{told}").status == 200
