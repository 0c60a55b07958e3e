"""DELETE /end-users/{id} erases all that is kept of one person, and says what it did."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from keystow import ids
from keystow.end_users import erasure
from keystow.store import tables
from tests.app import App
from tests.authorization_server import answer
from tests.integration.connections.ada import ABOUT, ADA, KEPT, ORGANIZATION, World
from tests.integration.environments.erasing import LateIndexes
from tests.support import Sent, seed_environment

if TYPE_CHECKING:
    from tests.app import Result

PATH = f"/end-users/{ADA['id']}"
WAYS = ["popup", "typed", "import", "waiting"]


def told(world: World) -> list[tuple[str, str]]:
    """Where something of Ada stands."""
    everything = world.ctx.store.everything()
    return [
        (table, word)
        for table in (*KEPT, tables.SESSIONS)
        for row in everything[table]
        for word in ABOUT
        if word in json.dumps(row, default=str)
    ]


def erased(world: World, path: str = PATH) -> dict[str, Any]:
    found = world.app.delete(path)
    assert found.status == 200, found.body
    return dict(found.json()["data"])


@pytest.mark.parametrize("way", WAYS)
def test_nothing_tells_of_an_erased_end_user_however_they_were_connected(way: str) -> None:
    world = World()
    connection_id = world.connected(way)
    assert told(world)

    done = erased(world)

    assert told(world) == []
    (gone,) = done["connections"]
    assert gone["connection_id"] == connection_id
    assert gone["provider_config_key"] == ("pat" if way == "typed" else "rot")
    assert gone["waited"] is (way == "waiting")
    revocations = {"typed": "unsupported", "waiting": None}
    assert gone["revocation"] == revocations.get(way, "done")
    assert world.app.get(world.path(connection_id, way)).status == 404


def test_an_erasure_counts_sessions_events_and_operations() -> None:
    world = World()
    world.connected("popup")
    done = erased(world)
    assert (done["sessions"], done["events"], done["operations"]) == (1, 1, 1)


def test_asking_again_finds_nothing_and_is_no_error() -> None:
    world = World()
    world.connected("popup")
    erased(world)
    nothing = {"connections": [], "sessions": 0, "events": 0, "operations": 0}
    assert erased(world) == nothing
    assert erased(world, "/end-users/nobody") == nothing


def test_a_session_of_an_erased_end_user_makes_no_connection() -> None:
    world = World()
    browser = world.popup.browser()
    token = world.popup.session(end_user=ADA, organization=ORGANIZATION)
    state = world.popup.begun(browser, token)["state"]

    assert erased(world)["sessions"] == 1

    assert world.app.get("/connect/session", key=token).code == "unknown_connect_session_token"
    assert world.popup.back(browser, state).status >= 400
    made = [row for row in world.rows(tables.CONNECTIONS) if row["sk"] == tables.CONNECTION]
    assert [row["connection_id"] for row in made] == ["first"]  # another's
    assert told(world) == []


def test_attempts_that_made_no_connection_are_erased_from_events_and_log() -> None:
    world = World()
    browser = world.popup.browser()
    state = world.popup.begun(browser, world.popup.session(end_user=ADA))["state"]
    assert world.popup.back(browser, state, code="", error="access_denied").status >= 400
    world.ctx.clock.advance(2 * 86_400)
    assert ("events", "ada@example.com") in world.told_of_ada()

    done = erased(world)

    assert (done["events"], done["operations"]) == (1, 1)
    assert told(world) == []


def test_an_end_user_who_is_named_by_a_tag_alone_is_found() -> None:
    world = World()
    token = world.popup.app.post("/connect/sessions", {"tags": {"end_user_id": ADA["id"]}})
    path = f"/api-auth/api-key/pat?connect_session_token={token.json()['data']['token']}"
    made = world.app.post(path, {"apiKey": "k" * 20}, key=None).json()["connectionId"]

    done = erased(world)

    assert [each["connection_id"] for each in done["connections"]] == [made]
    assert told(world) == []


@pytest.mark.parametrize("change", ["end user", "tags", "reconnect"])
def test_what_a_connection_told_of_whose_it_was_before_is_erased_and_no_more(change: str) -> None:
    world = World()
    grace = {"id": "grace", "email": "grace@example.com"}
    if change == "tags":
        made = world.app.post(
            "/connections",
            {
                "provider_config_key": "rot",
                "connection_id": "c",
                "tags": {"end_user_id": ADA["id"]},
                "credentials": {"type": "OAUTH2", "access_token": "a"},
            },
        )
        assert made.status == 201
        connection_id = "c"
        path = world.path(connection_id, "import")
        assert world.app.patch(path, {"tags": {"end_user_id": "grace"}}).status == 200
    else:
        connection_id = world.connected("popup")
        path = world.path(connection_id, "popup")
        if change == "end user":
            assert world.app.patch(path, {"end_user": grace}).status == 200
        else:
            browser = world.popup.browser()
            token = world.popup.reconnect_session(connection_id, end_user=grace)
            state = world.popup.begun(browser, token)["state"]
            assert world.popup.back(browser, state).status == 200
    assert ("events", "ada-1815") in world.told_of_ada()

    done = erased(world)

    assert done["connections"] == []
    assert done["events"] >= 1
    assert told(world) == []
    assert world.app.get(path).status == 200
    if change == "reconnect":
        assert "grace@example.com" in json.dumps(world.rows(tables.EVENTS), default=str)
    assert [each["connection_id"] for each in erased(world, "/end-users/grace")["connections"]] == [
        connection_id
    ]


def test_others_keep_what_is_theirs() -> None:
    world = World()
    world.connected("popup")
    grace = world.popup.connected(end_user={"id": "ADA-1815", "email": "other@example.com"})
    erased(world)
    assert world.app.get(world.path(grace, "popup")).json()["end_user"]["id"] == "ADA-1815"
    assert "other@example.com" in json.dumps(world.rows(tables.EVENTS), default=str)


def test_a_connection_that_an_index_does_not_show_yet_is_erased_too() -> None:
    world = World(LateIndexes)
    world.connected("popup")
    assert len(erased(world)["connections"]) == 1
    assert told(world) == []


def test_what_there_is_no_time_for_is_told_and_the_same_call_goes_on() -> None:
    world = World()
    for _ in range(3):
        world.connected("popup")
    usual = world.provider.answer_to

    def slow(sent: Sent) -> Any:
        if sent.url.endswith("/revoke"):
            world.ctx.clock.advance(erasure.BEGIN_WITHIN_SECONDS + 1)
        return usual(sent)

    world.provider.answer_to = slow  # type: ignore[method-assign]
    found: Result = world.app.delete(PATH)
    assert (found.status, found.code) == (503, "temporarily_unavailable")
    payload = found.json()["error"]["payload"]
    assert payload["left"] >= 1
    assert found.headers["retry-after"] == "1"
    done = len(payload["connections"])
    for _ in range(3):
        found = world.app.delete(PATH)
        if found.status == 200:
            break
        done += len(found.json()["error"]["payload"]["connections"])
    done += len(found.json()["data"]["connections"])
    assert done == 3
    assert told(world) == []


def test_an_erasure_of_many_sessions_gets_on_with_each_call_and_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    for _ in range(50):
        world.popup.session(end_user=ADA)
    world.ctx.clock.advance(120)
    world.connected("typed")
    inner = world.ctx.store.get

    def slow(key: Any) -> Any:
        if key.pk.startswith("session#"):
            world.ctx.clock.advance(0.2)
        return inner(key)

    monkeypatch.setattr(world.ctx.store, "get", slow)
    sessions = operations = connections = 0
    for _ in range(12):
        found = world.app.delete(PATH)
        body = found.json()
        done = body["data"] if found.status == 200 else body["error"]["payload"]
        sessions += done["sessions"]
        operations += done["operations"]
        connections += len(done["connections"])
        if found.status == 200:
            break
    assert found.status == 200
    assert (sessions, operations, connections) == (51, 51, 1)
    assert told(world) == []


def test_sessions_take_no_time_from_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.connected("typed")
    monkeypatch.setattr(erasure, "END_WITHIN_SECONDS", 100.0)
    inner = world.ctx.store.get

    def slow(key: Any) -> Any:
        if key.pk.startswith("session#"):
            world.ctx.clock.advance(erasure.BEGIN_WITHIN_SECONDS + 1)
        return inner(key)

    monkeypatch.setattr(world.ctx.store, "get", slow)
    assert len(erased(world)["connections"]) == 1


def test_traces_that_there_is_no_time_to_follow_take_another_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    world.connected("typed")
    monkeypatch.setattr(erasure, "FOLLOW_WITHIN_SECONDS", 1.0)  # it waits for 3 s
    found = world.app.delete(PATH)
    assert found.status == 503
    assert found.json()["error"]["payload"]["left"] == 1
    monkeypatch.undo()
    erased(world)
    assert told(world) == []


def test_a_provider_that_does_not_revoke_is_told_and_stops_nothing() -> None:
    world = World()
    world.connected("popup")
    world.provider.answer_to = lambda _sent: answer(500, {})  # type: ignore[method-assign]
    (gone,) = erased(world)["connections"]
    assert gone["revocation"] == "failed"
    assert told(world) == []


def test_quotas_of_an_erased_end_user_are_forgotten() -> None:
    world = World()
    world.connected("popup")
    place = f"end_user#env1#{ids.sha256_hex(ADA['id'])}"

    def kept() -> list[str]:
        return [row["sk"] for row in world.rows(tables.SESSIONS) if row["pk"] == place]

    assert "quota#attempts" in kept()
    erased(world)
    assert kept() == []


def test_it_takes_the_scope_and_knows_no_other_environment() -> None:
    world = World()
    connection_id = world.connected("popup")
    assert world.app.delete(PATH, key=world.key("environment:connections:delete")).status == 403
    other = App(world.ctx, seed_environment(world.ctx, id="env2", name="env2").secret_key)
    assert other.delete(PATH).json()["data"]["connections"] == []
    assert world.app.delete(f"{PATH}?force=1").status == 400
    assert world.app.delete(f"/end-users/{'x' * 256}").status == 400
    assert world.app.get(world.path(connection_id, "popup")).status == 200


def test_an_id_may_hold_slashes_and_any_characters() -> None:
    world = World()
    name = "org/ada lovelace#é"
    made = world.popup.connected(end_user={"id": name})
    done = erased(world, f"/end-users/{quote(name, safe='')}")
    assert [each["connection_id"] for each in done["connections"]] == [made]
