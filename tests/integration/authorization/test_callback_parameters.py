"""What a browser brings back: what is read of it, what is shown of it, and what leaves a trace."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from keystow.store import Put, tables
from tests.integration.authorization.popup import Browser, World, make_world

if TYPE_CHECKING:
    from tests.app import Result

SPOOF = "Your account was locked. Call +1 555 0100"
FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture
def world() -> World:
    return make_world()


def posted(world: World, pairs: list[tuple[str, str]], path: str = "/oauth/callback") -> Result:
    return world.app.post(path, raw=urlencode(pairs).encode(), key=None, headers=FORM)


def followed(browser: Browser, moved: Result) -> Result:
    assert moved.status == 303
    place = urlsplit(moved.headers["location"])
    return browser.get(f"{place.path}?{place.query}")


def operations(world: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = world.app.get("/activity").json()["data"]
    return found


# ---- strangers ---------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["", "unknown", "used", "somebody-elses", "late"])
def test_a_strangers_text_is_not_shown(world: World, state: str) -> None:
    browser, other = world.browser(), world.browser()
    if state in ("used", "late", "somebody-elses"):
        begun = world.begun(other if state == "somebody-elses" else browser, world.session())
        if state == "used":
            assert world.back(browser, begun["state"]).status == 200
            world.ctx.clock.advance(301)
        if state == "late":
            world.ctx.clock.advance(30 * 60)
        state = begun["state"]
    said = dict.fromkeys(("error", "error_description", "error_message", "error_uri"), SPOOF)
    page = world.back(browser, state, **said)
    assert page.status == 400
    assert b"555 0100" not in page.body
    assert "555 0100" not in json.dumps(world.ctx.store.everything(), default=str)
    assert "555 0100" not in json.dumps(world.frames())


def test_a_reload_shows_what_came_first_and_nothing_new(world: World) -> None:
    browser = world.browser()
    state = world.begun(browser, world.session())["state"]
    first = world.back(browser, state, code="", error="access_denied", error_description="No")
    again = world.back(browser, state, code="", error="alert", error_description=SPOOF)
    assert again.body == first.body
    connected = world.begun(browser, world.session())["state"]
    world.back(browser, connected)
    page = world.back(browser, connected, error_description=SPOOF)
    assert page.status == 200
    assert b"555 0100" not in page.body


def test_what_a_provider_says_is_plain_before_it_is_shown_told_or_logged(world: World) -> None:
    browser = world.browser()
    state = world.begun(browser, world.session())["state"]
    evil = (
        "<a href=https://evil.example>No</a>\u202eecnerefer\u2066\x1b[31m\r\nX: y\u200b <img src=x"
    )
    page = world.back(browser, state, code="", error="<b>denied</b>", error_description=evil)
    assert page.status == 400
    (webhook,) = world.webhooks()
    told = [
        webhook["error"]["description"],
        world.frames()[-1]["error_desc"],
        json.dumps(world.ctx.store.everything()["activity"], default=str, ensure_ascii=False),
        page.body.decode().partition('id="result">')[2].partition("</script>")[0],
    ]
    for text in told:
        assert "No" in text
        assert not {"\u202e", "\u2066", "\u200b", "\x1b", "<", ">"} & set(text)
        assert "evil.example" not in text


def test_an_answer_with_an_error_is_none_with_a_code(world: World) -> None:
    browser = world.browser()
    state = world.begun(browser, world.session())["state"]
    assert world.back(browser, state, error="access_denied").status == 400
    assert world.provider.requests == []


# ---- nothing twice -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["code", "iss", "error", "error_description", "realm"])
@pytest.mark.parametrize("way", ["query", "form", "form and query"])
def test_a_parameter_that_is_read_and_comes_twice_is_refused(name: str, way: str) -> None:
    world = make_world({"redirect_uri_metadata": ["realm"]})
    browser = world.browser()
    state = world.begun(browser, world.session())["state"]
    given = {"code": "code-1", "state": state, "iss": "https://rotating.example", "realm": "r"}
    pairs = [*given.items(), (name, given.get(name, "x")), (name, given.get(name, "x"))]
    if way == "query":
        page = browser.get(f"/oauth/callback?{urlencode(pairs)}")
    elif way == "form":
        page = followed(browser, posted(world, pairs))
    else:
        path = f"/oauth/callback?{urlencode([(name, given.get(name, 'x'))])}"
        page = followed(browser, posted(world, pairs, path))
    assert page.status == 400
    assert world.provider.requests == []
    assert world.frames()[-1]["error_type"] == "callback_err"
    assert name in world.frames()[-1]["error_desc"]
    assert world.webhooks()[-1]["error"]["type"] == "invalid_callback"


@pytest.mark.parametrize("spelled", ["%63ode", "co%64e"])
def test_another_spelling_of_a_name_is_the_same_name(world: World, spelled: str) -> None:
    browser = world.browser()
    state = world.begun(browser, world.session())["state"]
    page = browser.get(f"/oauth/callback?code=code-1&{spelled}=code-2&state={state}")
    assert page.status == 400
    assert world.provider.requests == []


def test_a_state_that_comes_twice_is_no_state(world: World) -> None:
    browser = world.browser()
    state = world.begun(browser, world.session())["state"]
    page = browser.get(f"/oauth/callback?code=code-1&state={state}&state={state}")
    assert page.status == 400
    assert b"state_err" in page.body
    assert world.back(browser, state).status == 200, "the attempt is untouched"


def test_what_nobody_reads_may_come_twice(world: World) -> None:
    browser = world.browser()
    state = world.begun(browser, world.session())["state"]
    page = browser.get(f"/oauth/callback?code=code-1&state={state}&hd=a&hd=b&scope=a&scope=b")
    assert page.status == 200


# ---- forms -------------------------------------------------------------------------------


def test_a_form_hands_on_only_what_is_read() -> None:
    world = make_world({"redirect_uri_metadata": ["realm"]})
    browser = world.browser()
    state = world.begun(browser, world.session())["state"]
    pairs = [("id_token", "e" * 200_000), ("user", "{}"), ("code", "code-1"), ("realm", "r1")]
    moved = posted(world, [*pairs, ("state", state), ("session_state", "s")])
    given = parse_qs(urlsplit(moved.headers["location"]).query)
    assert given == {"code": ["code-1"], "realm": ["r1"], "state": [state]}
    assert followed(browser, moved).status == 200
    found = world.read(world.frames()[-1]["connection_id"]).json()
    assert found["connection_config"] == {"realm": "r1"}


def test_a_form_hands_the_code_on_under_the_entrys_own_name_for_it() -> None:
    world = make_world({"authorization_code_param_in_callback": "auth_code"})
    browser = world.browser()
    state = world.begun(browser, world.session())["state"]
    moved = posted(world, [("auth_code", "code-1"), ("state", state)])
    assert followed(browser, moved).status == 200


@pytest.mark.parametrize(
    "pairs",
    [
        [("code", "c" * 12_000), ("state", "s")],
        [(f"n{each}", "") for each in range(1_001)],
        [("code", "c" * 1_100_000), ("state", "s")],
    ],
)
def test_an_answer_that_no_address_holds_gives_a_page(
    world: World, pairs: list[tuple[str, str]]
) -> None:
    page = posted(world, pairs)
    assert page.status == 400
    assert b"too large" in page.body
    assert page.headers["content-type"].startswith("text/html")


def test_a_long_reason_does_not_keep_an_answer_from_its_page(world: World) -> None:
    browser = world.browser()
    state = world.begun(browser, world.session())["state"]
    said = [("error", "access_denied"), ("error_description", "n" * 20_000), ("state", state)]
    page = followed(browser, posted(world, said))
    assert page.status == 400
    assert b"access_denied" in page.body


def test_a_form_of_an_own_callback_stays_there(world: World) -> None:
    made = world.app.patch("/integrations/rot", {"own_callback": True}).json()["data"]
    place = urlsplit(made["callback_url"]).path
    browser = world.browser()
    state = world.begun(browser, world.session())["state"]
    moved = posted(world, [("code", "code-1"), ("state", state)], place)
    assert urlsplit(moved.headers["location"]).path == place
    assert followed(browser, moved).status == 200
    odd = posted(world, [("code", "c")], "/oauth/callback/a%0d%0ab%3Fc")
    assert odd.status == 400
    assert "location" not in odd.headers


# ---- begun at the provider ---------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "code=ac_secret&stripe_user_id=acct_1",
        "step=authorize&returnUrl=https%3A%2F%2Fapp.example.com",
        "code=ac_secret&state=",
        "error=access_denied&error_description=x",
        "",
    ],
)
def test_an_installation_begun_at_the_provider_is_told_what_to_do(
    world: World, query: str, caplog: pytest.LogCaptureFixture
) -> None:
    page = world.browser().get(f"/oauth/callback?{query}")
    assert page.status == 400
    assert b"begins at the provider" in page.body
    assert b"start from there" in page.body
    assert b"try again" not in page.body
    assert b"state_err" in page.body
    assert "callback without a state" in [each.message for each in caplog.records]
    assert "ac_secret" not in caplog.text
    assert world.provider.requests == []


def test_it_leaves_a_trace_in_the_activity_where_the_callback_tells_the_integration(
    world: World,
) -> None:
    made = world.app.patch("/integrations/rot", {"own_callback": True}).json()["data"]
    place = urlsplit(made["callback_url"]).path
    for _ in range(3):
        assert world.browser().get(f"{place}?code=ac_secret&shop=x").status == 400
    (noted,) = operations(world)
    assert (noted["provider_config_key"], noted["state"]) == ("rot", "failed")
    assert "ac_secret" not in json.dumps(world.ctx.store.everything(), default=str)
    world.ctx.clock.advance(901)
    world.browser().get(f"{place}?code=ac_secret")
    assert len(operations(world)) == 2


def test_it_leaves_a_trace_in_every_environment_where_the_callback_is_the_shared_one(
    world: World,
) -> None:
    for name, environment in (("dev", "env1"), ("prod", "env2")):
        claim = {"environment": environment, "number": 1}
        world.ctx.store.put(Put(tables.environment_name(name), claim))
    for _ in range(3):
        assert world.browser().get("/oauth/callback?code=ac_secret&shop=x").status == 400
    noted = [each for each in world.ctx.store.everything()["activity"] if each["sk"] == "operation"]
    assert sorted(each["pk"].split("#")[0] for each in noted) == ["env1", "env2"]
    assert operations(world)[0]["state"] == "failed"
    assert "ac_secret" not in json.dumps(world.ctx.store.everything(), default=str)
    world.ctx.clock.advance(901)
    world.browser().get("/oauth/callback?code=ac_secret")
    assert len(operations(world)) == 2


@pytest.mark.parametrize("place", ["unknown", "env1-unknown", "-", "%00", "a-b-c", "x" * 5_000])
def test_a_made_up_callback_leaves_no_row(world: World, place: str) -> None:
    before = world.ctx.store.everything()
    assert world.browser().get(f"/oauth/callback/{place}?code=x").status == 400
    assert world.browser().get(f"/oauth/callback/{place}?code=x&state=y").status == 400
    assert world.ctx.store.everything() == before
