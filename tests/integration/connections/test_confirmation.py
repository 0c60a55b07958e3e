"""What is connected in a session with ``confirm`` is used only once the backend has said yes."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from keystow.connections import pending
from keystow.environments import keys
from keystow.refresh import sweep, worker
from keystow.store import tables
from tests.authorization_server import answer
from tests.integration.authorization.popup import World, make_world
from tests.support import run_in_parallel

MINUTE = 60
TYPED: dict[str, Any] = {
    "display_name": "Typed",
    "categories": ["dev-tools"],
    "auth_mode": "API_KEY",
    "docs": "https://typed.example/docs",
    "proxy": {"base_url": "https://typed.example", "headers": {"authorization": "${apiKey}"}},
    "credentials": {"apiKey": {"type": "string", "title": "API key", "secret": True}},
}


@pytest.fixture
def world() -> World:
    return make_world()


def confirm(world: World, connection_id: str, body: Any = None, key: str = "rot") -> Any:
    path = f"/connections/{quote(connection_id)}/confirm?provider_config_key={key}"
    return world.app.post(path, body)


def told(world: World) -> dict[str, Any]:
    """What the last event says of what waits."""
    (*_, last) = (each for each in world.webhooks() if "pending" in each)
    return dict(last)


def rows(world: World) -> list[dict[str, Any]]:
    return [
        item
        for item in world.ctx.store.everything()[tables.CONNECTIONS]
        if item["sk"] == tables.CONNECTION_PENDING
    ]


def minutes_pass(world: World, minutes: int) -> None:
    """Let the schedule and the worker run each minute."""
    for _ in range(minutes):
        world.ctx.clock.advance(MINUTE)
        sweep.sweep(world.ctx)
        messages = world.ctx.queues.take_refreshes()
        world.ctx.clock.advance(max((delay for _, delay in messages), default=0))
        bodies = [(str(n), json.dumps(body)) for n, (body, _) in enumerate(messages)]
        assert worker.handle(world.ctx, bodies, expire=pending.expire) == []


def reconnect(world: World, connection_id: str) -> Any:
    """Authorize a connection again, in a session with ``confirm``."""
    browser = world.browser()
    token = world.reconnect_session(connection_id, confirm=True)
    return world.back(browser, world.begun(browser, token)["state"])


def test_a_link_opened_by_somebody_else_gives_nobody_their_account(world: World) -> None:
    """The attacker's own session, the victim's browser and consent; the backend compares."""
    lured = world.connected(end_user={"id": "attacker"}, confirm=True)
    read = world.read(lured)
    assert (read.status, read.code) == (409, "connection_pending")
    assert told(world)["endUser"]["endUserId"] == "attacker"
    minutes_pass(world, 17)
    assert world.read(lured).status == 404
    assert confirm(world, lured).status == 404
    assert rows(world) == []
    assert len(world.provider.revoked) >= 1, "the victim's tokens are revoked"


def test_a_confirmed_connection_is_like_any_other(world: World) -> None:
    made = world.connected(confirm=True)
    assert confirm(world, made).json() == {"success": True}
    read = world.read(made)
    assert read.status == 200
    assert read.json()["credentials"]["access_token"] == "at-1"
    assert read.json()["end_user"]["id"] == "u1"
    assert read.json()["tags"]["end_user_id"] == "u1"
    assert rows(world) == []
    minutes_pass(world, 50)
    assert world.provider.issued == 2, "it is refreshed when it is due"
    assert world.provider.revoked == []


def test_the_backend_hears_of_what_waits_and_of_what_it_confirmed(world: World) -> None:
    made = world.connected(confirm=True)
    (waiting,) = world.webhooks()
    assert waiting["type"] == "auth"
    assert (waiting["operation"], waiting["success"]) == ("creation", True)
    assert waiting["connectionId"] == made
    assert waiting["endUser"]["endUserId"] == "u1"
    assert set(waiting["pending"]) == {"id", "until"}
    assert confirm(world, made).status == 200
    confirmed = world.webhooks()[-1]
    assert (confirmed["operation"], confirmed["success"]) == ("creation", True)
    assert "pending" not in confirmed


def test_the_backend_hears_of_what_waits_whatever_its_settings(world: World) -> None:
    settings = {"primary_url": "https://hooks.example.com/keystow", "on_auth_creation": False}
    assert world.app.put("/environment/webhook-settings", settings).status == 200
    world.ctx.clock.advance(31)
    world.connected(confirm=True)
    assert "pending" in world.webhooks()[-1]


def test_the_account_is_named_where_the_provider_told_it() -> None:
    learns = ["team.name", "team.id", "secret_url", "email"]
    world = make_world({"token_response_metadata": learns, "account": ["team.name", "team.id"]})
    world.provider.extra = {
        "team": {"name": "Acme", "id": "T1"},
        "secret_url": "https://hooks.example/s3cret",
        "email": "a@b.example",
    }
    world.connected(confirm=True)
    assert told(world)["pending"]["account"] == "Acme"
    assert "s3cret" not in json.dumps(told(world))
    world.provider.extra = {"team": {"name": "\u202e \n", "id": "T1"}}
    world.connected(confirm=True)
    assert told(world)["pending"]["account"] == "T1", "a name that shows nothing is none"


def test_an_account_is_not_guessed_where_the_entry_does_not_say_what_names_it() -> None:
    world = make_world({"token_response_metadata": ["account_name", "email"]})
    world.provider.extra = {"account_name": "Acme", "email": "a@b.example"}
    world.connected(confirm=True)
    assert "account" not in told(world)["pending"]


def test_a_browser_cannot_name_the_account() -> None:
    world = make_world({"token_response_metadata": ["team_id"], "account": ["team_id"]})
    for extra in ({}, {"team_id": "T-own"}, {"team_id": "T-victim"}):
        world.provider.extra = extra
        browser = world.browser()
        given = {"params[team_id]": "T-victim"}
        state = world.begun(browser, world.session(confirm=True), **given)["state"]
        assert world.back(browser, state, team_id="T-victim").status == 200
        assert "T-victim" not in json.dumps(told(world))


def test_a_callback_cannot_name_the_account() -> None:
    world = make_world({"redirect_uri_metadata": ["realm"]})
    browser = world.browser()
    state = world.begun(browser, world.session(confirm=True))["state"]
    assert world.back(browser, state, realm="R-victim").status == 200
    assert "R-victim" not in json.dumps(told(world))


def test_what_was_learnt_by_asking_names_the_account_of_a_typed_key() -> None:
    world = make_world()
    asks = {"calls": [{"method": "GET", "url": "/me", "sets": {"login": "name", "number": "id"}}]}
    definition = {**TYPED, "post_connection": asks, "account": ["login", "number"]}
    assert world.app.put("/providers/typed", definition).status == 201
    made = world.app.post("/integrations", {"provider": "typed", "unique_key": "typed"})
    assert made.status == 200
    place = f"/api-auth/api-key/typed?connect_session_token={world.session(confirm=True)}"
    world.provider.answer_to = lambda _sent: answer(200, {"id": 42})
    assert world.app.post(place, {"apiKey": "k" * 20}, key=None).status == 200
    assert told(world)["pending"]["account"] == "42"


@pytest.mark.parametrize(
    ("learnt", "name"),
    [
        ({"login": "acme", "number": "7"}, "acme"),
        ({"number": 7}, "7"),
        ({"login": "two\nlines"}, "two lines"),
        ({"login": "", "number": "7"}, "7"),
        ({"login": True, "number": None}, None),
        ({"login": "x" * 999}, "x" * 199 + "…"),
        ({"email": "a@b.example", "name": "Acme"}, None),
    ],
)
def test_an_account_is_named_by_what_the_entry_says(learnt: dict[str, Any], name: Any) -> None:
    assert pending.account_name(["login", "number"], learnt) == name


def test_what_waits_is_neither_listed_nor_changed_nor_refreshed(world: World) -> None:
    made = world.connected(confirm=True)
    assert world.app.get("/connections").json() == {"connections": []}
    place = f"/connections/{made}?provider_config_key=rot"
    assert world.app.patch(place, {"tags": {"a": "b"}}).status == 404
    body = {"connection_id": made, "provider_config_key": "rot", "metadata": {"a": 1}}
    assert world.app.post("/connections/metadata", body).status == 404
    minutes_pass(world, 14)
    assert world.provider.issued == 1
    assert world.app.get(f"{place}&force_refresh=true").code == "connection_pending"
    assert world.provider.issued == 1


def test_what_waits_is_not_erased_a_moment_too_early(world: World) -> None:
    made = world.connected(confirm=True)
    minutes_pass(world, 14)
    assert confirm(world, made).status == 200
    minutes_pass(world, 5)
    assert world.read(made).status == 200
    assert world.provider.revoked == []


def test_a_provider_that_revokes_slowly_gets_a_share_of_the_workers_time_and_no_more(
    world: World,
) -> None:
    """Else whoever lets many authorizations wait could hold up everybody's refreshes."""
    for _ in range(3):
        world.connected(confirm=True)
    answer_to = world.provider.answer_to

    def slowly(sent: Any) -> Any:
        world.ctx.clock.advance(20)
        return answer_to(sent)

    world.provider.answer_to = slowly  # type: ignore[method-assign]
    world.ctx.clock.advance(16 * MINUTE)
    messages = [
        (row["pk"], json.dumps({"expire": [{"pk": row["pk"], "generation": row["generation"]}]}))
        for row in rows(world)
    ]
    assert worker.handle(world.ctx, messages[:1], expire=pending.expire) == []
    assert (len(rows(world)), len(world.provider.revoked)) == (2, 1)

    assert worker.handle(world.ctx, messages[1:], expire=pending.expire) == []

    assert len(world.provider.revoked) == 1, "the others are put off"
    now = world.ctx.clock.now() * 1000
    assert all(row["due_at"] > now + MINUTE * 1000 for row in rows(world))
    world.provider.answer_to = answer_to  # type: ignore[method-assign]
    minutes_pass(world, 10)
    assert rows(world) == []
    assert len(world.provider.revoked) == 3


def test_nothing_can_be_confirmed_any_more_when_its_time_is_over(world: World) -> None:
    made = world.connected(confirm=True)
    world.ctx.clock.advance(pending.WAIT_SECONDS)
    assert confirm(world, made).status == 404
    assert world.read(made).status == 404, "even before it is erased"


def test_only_one_of_many_confirmations_makes_the_connection(world: World) -> None:
    made = world.connected(confirm=True)
    found = run_in_parallel(8, lambda _: confirm(world, made).status)
    assert found.count(200) == 1
    assert set(found) <= {200, 404}
    assert [each["operation"] for each in world.webhooks() if "pending" not in each] == ["creation"]


def test_confirming_takes_the_scope_to_change_connections(world: World) -> None:
    made = world.connected(confirm=True)
    for scope, status in (("read_credentials", 403), ("create", 403), ("update", 200)):
        scopes = (f"environment:connections:{scope}",)
        _, text, writes = keys.new_key(world.ctx, "env1", scope, scopes)
        world.ctx.store.transact(list(writes))
        path = f"/connections/{made}/confirm?provider_config_key=rot"
        assert world.app.post(path, key=text.reveal()).status == status


def test_what_waits_can_be_refused_at_once(world: World) -> None:
    made = world.connected(confirm=True)
    assert world.app.delete(f"/connections/{made}?provider_config_key=rot").status == 200
    assert len(world.provider.revoked) >= 1
    assert confirm(world, made).status == 404
    assert world.app.delete(f"/connections/{made}?provider_config_key=rot").status == 400


def test_a_reconnect_that_waits_leaves_the_old_credential_at_work(world: World) -> None:
    made = world.connected()
    assert reconnect(world, made).status == 200
    assert world.read(made).json()["credentials"]["access_token"] == "at-1"
    assert told(world)["operation"] == "override"
    assert confirm(world, made).status == 200
    assert world.read(made).json()["credentials"]["access_token"] == "at-2"
    assert world.webhooks()[-1]["operation"] == "override"


def test_a_reconnect_that_is_not_confirmed_does_not_take_the_old_credential_with_it(
    world: World,
) -> None:
    made = world.connected()
    reconnect(world, made)
    minutes_pass(world, 17)
    assert rows(world) == []
    # Some providers revoke all that a user gave an app: the old credential would end too.
    assert world.provider.revoked == []
    assert world.read(made).json()["credentials"]["access_token"] == "at-1"


def test_the_old_credential_is_refreshed_while_a_reconnect_waits(world: World) -> None:
    made = world.connected()
    minutes_pass(world, 40)
    reconnect(world, made)
    asked = len(world.provider.requests)
    minutes_pass(world, 10)
    grants = [form["grant_type"] for form in world.provider.requests[asked:]]
    assert "refresh_token" in grants
    assert world.read(made).status == 200


def test_what_is_confirmed_is_what_the_event_told_of(world: World) -> None:
    made = world.connected()
    reconnect(world, made)
    first = told(world)["pending"]["id"]
    assert reconnect(world, made).status == 400, "only one can wait"
    assert told(world)["pending"]["id"] == first
    minutes_pass(world, 17)
    assert reconnect(world, made).status == 200
    swapped = confirm(world, made, {"pending_id": first})
    assert (swapped.status, swapped.code) == (409, "connection_pending")
    assert confirm(world, made, {"pending_id": told(world)["pending"]["id"]}).status == 200


def test_a_reconnect_whose_connection_was_deleted_cannot_be_confirmed(world: World) -> None:
    made = world.connected()
    reconnect(world, made)
    assert world.app.delete(f"/connections/{made}?provider_config_key=rot").status == 200
    assert confirm(world, made).status == 404
    assert rows(world) == []
    assert len(world.provider.revoked) >= 2, "both are revoked"


def test_credentials_that_are_typed_in_wait_too(world: World) -> None:
    assert world.app.put("/providers/typed", TYPED).status == 201
    made = world.app.post("/integrations", {"provider": "typed", "unique_key": "typed"})
    assert made.status == 200
    token = world.session(confirm=True)
    path = f"/api-auth/api-key/typed?connect_session_token={token}"
    found = world.app.post(path, {"apiKey": "k" * 20}, key=None)
    assert found.json()["isPending"] is True
    connection_id = found.json()["connectionId"]
    read = f"/connections/{connection_id}?provider_config_key=typed"
    assert world.app.get(read).code == "connection_pending"
    assert "k" * 20 not in json.dumps(rows(world), default=repr)
    assert confirm(world, connection_id, key="typed").status == 200
    assert world.app.get(read).json()["credentials"]["apiKey"] == "k" * 20


def test_the_browser_is_told_that_it_waits(world: World) -> None:
    browser = world.browser()
    state = world.begun(browser, world.session(confirm=True))["state"]
    page = world.back(browser, state)
    assert world.frames()[-1]["is_pending"] is True
    assert b"Almost connected" in page.body
    assert world.back(browser, state).body == page.body, "also when the page is loaded again"


def test_a_session_without_it_needs_no_confirmation(world: World) -> None:
    made = world.connected()
    assert world.read(made).status == 200
    assert world.frames()[-1]["is_pending"] is False
    assert "pending" not in world.webhooks()[-1]
    assert confirm(world, made).status == 404


def test_what_waits_goes_with_its_environment_or_integration(world: World) -> None:
    world.connected(confirm=True)
    assert world.app.delete("/integrations/rot").status == 200
    minutes_pass(world, 17)
    assert rows(world) == []


@pytest.mark.parametrize("value", ["true", 1, None, {}])
def test_confirm_that_is_written_wrongly_is_refused(world: World, value: Any) -> None:
    made = world.app.post("/connect/sessions", {"end_user": {"id": "u1"}, "confirm": value})
    assert (made.status, made.code) == (400, "invalid_body")


@pytest.mark.parametrize("body", [{"pending_id": ""}, {"pending_id": 1}, {"other": 1}, []])
def test_a_confirmation_that_is_written_wrongly_is_refused(world: World, body: Any) -> None:
    made = world.connected(confirm=True)
    assert confirm(world, made, body).status == 400


def test_a_path_that_ends_otherwise_is_no_confirmation(world: World) -> None:
    made = world.connected(confirm=True)
    for path in (f"/connections/{made}", f"/connections/{made}/deny"):
        assert world.app.post(f"{path}?provider_config_key=rot").status == 404


def test_the_account_is_named_in_plain_text_and_by_nothing_secret() -> None:
    world = make_world(
        {
            "token_response_metadata": ["login", "team_name"],
            "connection_config": {"login": {"title": "Login", "automated": True, "secret": True}},
            "account": ["team_name"],
        }
    )
    world.provider.extra = {
        "login": "secret-login",
        "team_name": "<a href=//evil.example>Acme</a>\u202e\n",
    }
    world.connected(confirm=True)
    assert told(world)["pending"]["account"] == "Acme"
    assert "secret-login" not in str(world.webhooks())
