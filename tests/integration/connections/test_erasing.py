"""What is about an end user goes with their connection: out of events and the activity log too."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from keystow.connections import pending
from keystow.environments import keys, removal, service
from keystow.events import delivery, traces
from keystow.refresh import sweep, worker
from keystow.store import Put, StoreUnavailable, tables
from tests.app import invoke
from tests.authorization_server import DEFINITION
from tests.integration.connections.ada import ADA, ORGANIZATION, World
from tests.support import run_in_parallel

if TYPE_CHECKING:
    from collections.abc import Callable

TIME = SimpleNamespace(get_remaining_time_in_millis=lambda: 60_000)
WAYS = ["popup", "typed", "import", "waiting"]


@pytest.mark.parametrize("way", WAYS)
def test_deleting_a_connection_erases_its_end_user_from_events_and_log(way: str) -> None:
    world = World()
    connection_id = world.connected(way)
    assert ("events", "ada@example.com") in world.told_of_ada()

    assert world.app.delete(world.path(connection_id, way)).status == 200

    assert world.told_of_ada() == []
    # What happened is still told; of whom it was is not.
    (listed, *_) = world.app.get(f"/activity?connection_id={connection_id}").json()["data"]
    assert listed["end_user_id"] is None
    shown = world.app.get(f"/webhook-deliveries?connection_id={connection_id}").json()["data"]
    assert [each["operation"] for each in shown] == ["creation"]


@pytest.mark.parametrize("way", WAYS)
def test_deleting_an_integration_erases_the_end_users_of_its_connections(way: str) -> None:
    world = World()
    world.connected(way)
    key = "pat" if way == "typed" else "rot"
    assert world.app.delete(f"/integrations/{key}").status == 200
    assert world.told_of_ada() == []


@pytest.mark.parametrize("way", WAYS)
def test_deleting_an_environment_erases_all_end_users(way: str) -> None:
    world = World()
    world.connected(way)
    assert world.shred()
    assert world.told_of_ada() == []


@pytest.mark.parametrize(
    "end", ["taken back", "expired", "confirmed", "integration", "environment"]
)
def test_a_connection_that_waited_leaves_nothing_of_its_end_user_however_it_ended(end: str) -> None:
    world = World()
    browser = world.popup.browser()
    token = world.popup.session(end_user=ADA, organization=ORGANIZATION, confirm=True)
    state = world.popup.begun(browser, token)["state"]
    assert world.popup.back(browser, state).status == 200
    (waiting,) = (
        row for row in world.rows(tables.CONNECTIONS) if row["sk"] == tables.CONNECTION_PENDING
    )
    connection_id = tables.split_connection_pk(waiting["pk"])[2]
    assert ("events", "ada@example.com") in world.told_of_ada()

    if end == "integration":
        assert world.app.delete("/integrations/rot").status == 200
    elif end == "environment":
        assert world.shred()
    elif end != "expired":
        if end == "confirmed":
            path = f"/connections/{connection_id}/confirm?provider_config_key=rot"
            assert world.app.post(path).status == 200
        assert world.app.delete(world.path(connection_id, "popup")).status == 200
    if end in {"expired", "integration", "environment"}:  # then its time ends it
        world.ctx.clock.advance(16 * 60)
        sweep.sweep(world.ctx)
        messages = enumerate(world.ctx.queues.take_refreshes())
        bodies = [(str(number), json.dumps(body)) for number, (body, _) in messages]
        assert worker.handle(world.ctx, bodies, expire=pending.expire) == []

    assert world.told_of_ada() == []


@pytest.mark.parametrize("confirmed", [False, True])
def test_what_is_sent_late_of_a_connection_that_waited_still_says_that_it_waited(
    confirmed: bool,
) -> None:
    """Else it would read like a creation, of a connection that never was."""
    world = World()
    learns = {"token_response_metadata": ["team"], "account": ["team"]}
    assert world.app.put("/providers/rotating", {**DEFINITION, **learns}).status == 200
    world.provider.extra = {"team": "Ada's team"}
    connection_id = world.connected("waiting")

    def body() -> dict[str, Any]:
        events = [json.loads(row["body"]) for row in world.rows(tables.EVENTS) if "body" in row]
        (found,) = (each for each in events if "pending" in each)
        return dict(found)

    before = body()
    assert before["pending"]["account"] == "Ada's team"
    if confirmed:
        path = f"/connections/{connection_id}/confirm?provider_config_key=rot"
        assert world.app.post(path).status == 200
    assert world.app.delete(world.path(connection_id, "waiting")).status == 200

    after = body()
    assert set(before) - set(after) == {"endUser", "tags"}
    assert set(before["pending"]) - set(after["pending"]) == {"account"}
    assert "Ada" not in json.dumps(world.rows(tables.EVENTS), default=str)


def test_what_reconnects_and_failed_refreshes_have_told_is_erased_too() -> None:
    world = World()
    connection_id = world.connected("popup")
    browser = world.popup.browser()
    token = world.popup.reconnect_session(connection_id, end_user=ADA)
    state = world.popup.begun(browser, token)["state"]
    assert world.popup.back(browser, state).status == 200
    world.ctx.clock.advance(7_200)
    world.provider.family_dead = True
    read = world.app.get(f"{world.path(connection_id, 'popup')}&force_refresh=true")
    assert read.status == 400
    operations = {
        each["operation"]
        for each in world.rows(tables.EVENTS)
        if each.get("connection_id") == connection_id
    }
    assert operations == {"creation", "override", "refresh"}

    assert world.app.delete(world.path(connection_id, "popup")).status == 200

    assert world.told_of_ada() == []


def test_an_erasure_touches_no_other_connection_of_the_same_end_user() -> None:
    world = World()
    first, second = world.connected("popup"), world.connected("popup")
    before = [each for each in world.rows(tables.EVENTS) if each.get("connection_id") == second]
    assert world.app.delete(world.path(first, "popup")).status == 200
    after = [each for each in world.rows(tables.EVENTS) if each.get("connection_id") == second]
    assert after == before
    found = world.app.get(world.path(second, "popup")).json()
    assert found["end_user"]["email"] == "ada@example.com"


def test_a_webhook_that_still_waits_goes_out_without_the_erased_end_user() -> None:
    world = World()
    world.ctx.queues.take_webhooks()
    connection_id = world.connected("popup")
    waiting = [
        body for body, _ in world.ctx.queues.take_webhooks() if body["event_id"].startswith("evt_")
    ]
    assert world.app.delete(world.path(connection_id, "popup")).status == 200

    for body in waiting:
        delivery.deliver(world.ctx, body["event_id"], body["endpoint"], body["attempt"])

    (received,) = world.provider.received
    told = json.loads(received.body)
    assert told["connectionId"] == connection_id
    assert told["operation"] == "creation"
    assert "endUser" not in told
    assert "tags" not in told
    assert "x-nango-hmac-sha256" in received.headers


def test_a_replay_after_an_erasure_brings_nothing_back() -> None:
    world = World()
    connection_id = world.connected("popup")
    for body, _ in world.ctx.queues.take_webhooks():
        delivery.deliver(world.ctx, body["event_id"], body["endpoint"], body["attempt"])
    assert world.app.delete(world.path(connection_id, "popup")).status == 200
    path = f"/webhook-deliveries?connection_id={connection_id}"
    (shown,) = world.app.get(path).json()["data"]
    assert world.app.post(f"/webhook-deliveries/{shown['id']}/replay").status == 202
    world.provider.received.clear()
    for body, _ in world.ctx.queues.take_webhooks():
        delivery.deliver(world.ctx, body["event_id"], body["endpoint"], body["attempt"])
    (received,) = world.provider.received
    assert b"ada" not in received.body.lower()
    detailed = world.app.get(f"/webhook-deliveries/{shown['id']}").json()
    assert "endUser" not in json.dumps(detailed)


def _killed(*_: Any) -> None:
    raise StoreUnavailable("killed")


def test_an_erasure_that_was_cut_off_is_ended_by_the_schedule(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    world.ctx.store.put(Put(tables.environment_name("dev"), {"environment": "env1", "number": 1}))
    connection_id = world.connected("popup")
    monkeypatch.setattr(traces, "erase", _killed)
    assert world.app.delete(world.path(connection_id, "popup")).status == 200
    monkeypatch.undo()
    assert world.told_of_ada(tables.EVENTS) != []

    invoke(world.ctx, "manage_environment", {}, TIME)

    assert world.told_of_ada() == []
    assert not any(row["pk"].endswith("#removed") for row in world.rows(tables.CONNECTIONS))


def test_a_connection_made_anew_keeps_its_own_when_an_erasure_comes_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    world.ctx.store.put(Put(tables.environment_name("dev"), {"environment": "env1", "number": 1}))
    world.connected("import")
    monkeypatch.setattr(traces, "erase", _killed)
    assert world.app.delete(world.path("adas", "import")).status == 200
    monkeypatch.undo()
    credentials = {"type": "OAUTH2", "access_token": "b", "refresh_token": "r"}
    body = {
        "provider_config_key": "rot",
        "connection_id": "adas",
        "end_user": {"id": "grace", "email": "grace@example.com"},
        "credentials": credentials,
    }
    assert world.app.post("/connections", body).status == 201

    invoke(world.ctx, "manage_environment", {}, TIME)

    assert world.told_of_ada() == []
    events = json.dumps(world.rows(tables.EVENTS), default=str)
    assert "grace@example.com" in events
    assert world.app.get(world.path("adas", "import")).status == 200


def test_a_token_in_the_journal_goes_in_the_transaction_that_deletes_its_connection() -> None:
    world = World()
    world.writers()["journal"](1)
    assert any(row["sk"].startswith("journal#") for row in world.rows(tables.CONNECTIONS))
    assert world.app.delete("/connections/first?provider_config_key=rot").status == 200
    assert world.rows(tables.CONNECTIONS) == []


@pytest.mark.parametrize("kind", ["refresh", "journal", "commit_from_the_queue", "failed_refresh"])
def test_a_refresh_that_meets_a_deletion_leaves_nothing_behind(kind: str) -> None:
    world = World()
    writer: Callable[[int], object] = world.writers()[kind]

    def work(place: int) -> object:
        if place == 0:
            return world.app.delete("/connections/first?provider_config_key=rot")
        return writer(place)

    run_in_parallel(5, work)
    for number in range(10, 13):
        writer(number)
    assert world.rows(tables.CONNECTIONS) == []


def test_an_environment_in_use_can_be_found_and_shredded_with_the_account_key() -> None:
    world = World()
    world.connected("popup")
    _key, text, writes = keys.new_key(world.ctx, keys.ACCOUNT, "account", keys.ACCOUNT_SCOPES)
    world.ctx.store.transact(list(writes))
    path = f"/environments/{world.environment.number}"
    assert world.app.delete(path, key=str(text.reveal())).status == 204
    assert service.find(world.ctx, "env1") is None
    assert sum(world.ctx.clock.slept) >= removal.SETTLED_SECONDS
    assert world.told_of_ada() == []


def waiting(world: World) -> list[dict[str, Any]]:
    found = world.rows(tables.CONNECTIONS)
    return [row for row in found if row["sk"] == tables.CONNECTION_PENDING]


def test_what_waits_is_listed_nowhere_and_goes_with_its_integration_and_environment() -> None:
    for remove in (
        lambda world: world.app.delete("/integrations/rot").status == 200,
        lambda world: world.shred(),
    ):
        world = World()
        made = world.connected("waiting")
        for query in ("", "?integrationId=rot", f"?connectionId={made}", "?endUserId=ada-1815"):
            listed = world.app.get(f"/connections{query}").json()["connections"]
            assert made not in [each["connection_id"] for each in listed], query
        assert [row["sk"] for row in waiting(world)] == [tables.CONNECTION_PENDING]
        assert remove(world)
        assert waiting(world) == []
