"""The kill switch: what has leaked is taken from readers, revoked at its provider, and shredded."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from keystow.connections import pending
from keystow.events import traces
from keystow.incidents import service, taking
from keystow.modes import revocation
from keystow.records.connection import Sealed
from keystow.refresh import journal, sweep, worker
from keystow.secret import Secret
from keystow.store import StoreUnavailable, TransactionConflict, Update, tables
from keystow.value import replace
from keystow.vault import VaultError, VaultUnavailable
from tests.app import invoke
from tests.authorization_server import answer
from tests.integration.connections.ada import ADA
from tests.integration.connections.ada import World as Ada
from tests.integration.connections.world import World
from tests.support import Sent, run_in_parallel

TIME = SimpleNamespace(get_remaining_time_in_millis=lambda: 29_000)
REASON = "laptop stolen"


def declared(world: Any, **scope: Any) -> dict[str, Any]:
    found = world.app.post("/incidents", {"reason": REASON, **scope})
    assert found.status == 202, found.body
    return dict(found.json()["data"])


def told(world: Any, incident: dict[str, Any], query: str = "") -> dict[str, Any]:
    found = world.app.get(f"/incidents/{incident['id']}{query}")
    assert found.status == 200, found.body
    return dict(found.json()["data"])


def work(world: Any) -> list[str]:
    """Let one worker take all that is on the refresh queue; return what must come again."""
    messages = enumerate(world.ctx.queues.take_refreshes())
    bodies = [(str(number), json.dumps(body)) for number, (body, _) in messages]
    return worker.handle(world.ctx, bodies, expire=pending.expire, incidents=taking)


def scheduled(world: Any) -> Any:
    world.ctx.clock.advance(300)
    return invoke(world.ctx, "manage_environment", {}, TIME)


def outcomes(incident: dict[str, Any]) -> dict[str, str]:
    return {each["connection_id"]: each["outcome"] for each in incident["tokens"]}


def made(count: int = 3) -> World:
    world = World()
    for number in range(count):
        world.rotating(f"c{number}", expires_in=3_600)
    world.imported("typed")
    return world


def test_an_incident_of_an_environment_takes_revokes_and_shreds_everything() -> None:
    world = made()
    incident = declared(world, environment=True)
    assert (incident["state"], incident["scope"]) == ("taking", {"environment": True})
    assert incident["reason"] == REASON

    assert work(world) == []
    world.ctx.clock.advance(4)

    found = told(world, incident)
    assert found["state"] == "finished"
    assert found["counts"] == {
        "taken": 4,
        "waiting": 0,
        "done": 3,
        "failed": 0,
        "unsupported": 1,
        "not_opened": 0,
    }
    assert outcomes(found) == {
        "c0": "done",
        "c1": "done",
        "c2": "done",
        "typed": "unsupported",
    }
    assert len(world.provider.revoked) == 3
    assert world.listed() == []
    left = world.ctx.store.everything()[tables.CONNECTIONS]
    assert all("sealed" not in row for row in left)


def test_an_incident_of_an_integration_leaves_the_others_alone() -> None:
    world = made()
    incident = declared(world, provider_config_key="rot")
    work(world)
    assert incident["scope"] == {"provider_config_key": "rot"}
    assert world.listed() == ["typed"]
    assert set(outcomes(told(world, incident))) == {"c0", "c1", "c2"}


def test_an_incident_of_an_end_user_takes_theirs_and_forgets_who_it_was() -> None:
    world = Ada()
    theirs = world.connected("popup")
    waits = world.connected("waiting")
    grace = world.popup.connected(end_user={"id": "grace"})
    incident = declared(world, end_user_id=ADA["id"])
    assert work(world) == []
    assert set(outcomes(told(world, incident))) == {theirs, waits}
    assert world.app.get(world.path(grace, "popup")).status == 200
    assert told(world, incident)["scope"] == {"end_user_id": ADA["id"]}

    assert scheduled(world)["complete"] == 1

    assert told(world, incident)["scope"] == {"end_user_id": None}
    assert world.told_of_ada(tables.CONNECTIONS, tables.EVENTS) == []


def test_what_was_connected_after_an_incident_stays() -> None:
    world = made(1)
    incident = declared(world, environment=True)
    world.ctx.clock.advance(1)
    world.imported("later")
    world.ctx.queues.take_refreshes()
    scheduled(world)
    work(world)
    assert world.listed() == ["later"]
    assert set(outcomes(told(world, incident))) == {"c0", "typed"}
    scheduled(world)
    assert told(world, incident)["state"] == "finished"


def test_a_connection_authorized_anew_before_its_turn_is_taken_with_the_new_credential() -> None:
    """What its message names is gone; the next look finds the new one."""
    world = made(1)
    incident = declared(world, provider_config_key="rot")
    messages = world.ctx.queues.take_refreshes()
    world.ctx.clock.advance(1)
    world.rotating("c0", expires_in=3_600)
    bodies = [("1", json.dumps(messages[0][0]))]
    assert worker.handle(world.ctx, bodies, incidents=taking) == []
    assert "c0" in world.listed()

    scheduled(world)
    work(world)

    assert "c0" not in world.listed()
    assert outcomes(told(world, incident)) == {"c0": "done"}


def test_what_waited_is_taken_also_if_it_is_confirmed_before_its_turn() -> None:
    world = Ada()
    waits = world.connected("waiting")
    world.ctx.clock.advance(1)
    incident = declared(world, environment=True)
    world.ctx.clock.advance(1)
    confirmed = world.app.post(f"/connections/{waits}/confirm?provider_config_key=rot")
    assert confirmed.status == 200, confirmed.body
    work(world)
    assert world.app.get(world.path(waits, "popup")).status == 200

    scheduled(world)
    work(world)

    assert world.app.get(world.path(waits, "popup")).status == 404
    assert outcomes(told(world, incident))[waits] == "done"


def test_nobody_reads_or_refreshes_what_an_incident_has_taken() -> None:
    world = made(1)
    declared(world, environment=True)
    world.provider.answer_to = lambda _sent: answer(503, {})  # type: ignore[method-assign]
    work(world)
    assert world.read("c0", "rot").status == 404
    asked = len(world.provider.requests)
    world.ctx.clock.advance(86_400)
    sweep.sweep(world.ctx)
    kinds = {kind for body, _ in world.ctx.queues.take_refreshes() for kind in body}
    assert kinds == {"revoke"}
    assert len(world.provider.requests) == asked


def test_a_provider_that_does_not_answer_is_asked_again_until_it_does() -> None:
    world = made(1)
    incident = declared(world, provider_config_key="rot")
    usual = world.provider.answer_to
    world.provider.answer_to = lambda _sent: answer(503, {})  # type: ignore[method-assign]
    work(world)
    found = told(world, incident)
    assert outcomes(found) == {"c0": "waiting"}
    assert found["counts"]["waiting"] == 1
    assert found["tokens"][0]["attempts"] == 1
    assert found["tokens"][0]["detail"]

    world.provider.answer_to = usual  # type: ignore[method-assign]
    world.ctx.clock.advance(60)
    sweep.sweep(world.ctx)
    work(world)

    found = told(world, incident)
    assert outcomes(found) == {"c0": "done"}
    assert found["tokens"][0]["attempts"] == 2
    assert world.provider.revoked == ["rt-0"]


def test_what_a_provider_never_confirms_is_told_and_shredded_in_the_end() -> None:
    world = made(1)
    incident = declared(world, provider_config_key="rot")
    world.provider.answer_to = lambda _sent: answer(503, {})  # type: ignore[method-assign]
    work(world)
    for _ in range(taking.MOST_ATTEMPTS - 1):
        world.ctx.clock.advance(86_400 / 2)
        sweep.sweep(world.ctx)
        work(world)
    found = told(world, incident)
    assert (found["state"], outcomes(found)) == ("finished", {"c0": "failed"})
    assert found["tokens"][0]["attempts"] == taking.MOST_ATTEMPTS
    rows = world.ctx.store.everything()[tables.CONNECTIONS]
    assert not any("sealed" in row and row["pk"].startswith("incident#") for row in rows)


def test_a_worker_that_dies_between_taking_and_revoking_loses_no_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = made(1)
    incident = declared(world, provider_config_key="rot")

    def killed(*_: Any) -> None:
        raise StoreUnavailable("killed")

    monkeypatch.setattr(taking, "revoke", killed)
    assert work(world) != []
    monkeypatch.undo()
    assert outcomes(told(world, incident)) == {"c0": "waiting"}

    world.ctx.clock.advance(sweep.QUEUED_FOR_MS / 1000)
    sweep.sweep(world.ctx)
    work(world)

    assert outcomes(told(world, incident)) == {"c0": "done"}
    assert world.provider.revoked == ["rt-0"]


def test_messages_that_come_twice_count_and_revoke_once() -> None:
    world = made(2)
    incident = declared(world, provider_config_key="rot")
    messages = [body for body, _ in world.ctx.queues.take_refreshes()]

    def one(_place: int) -> list[str]:
        bodies = [(str(n), json.dumps(body)) for n, body in enumerate(messages)]
        return worker.handle(world.ctx, bodies, incidents=taking)

    run_in_parallel(4, one)
    world.ctx.clock.advance(sweep.QUEUED_FOR_MS / 1000)
    sweep.sweep(world.ctx)
    work(world)
    counts = told(world, incident)["counts"]
    assert (counts["taken"], counts["done"], counts["waiting"]) == (2, 2, 0)


def test_busy_counters_let_the_message_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = made(1)
    incident = declared(world, provider_config_key="rot")
    inner = world.ctx.store.transact

    def busy(operations: Any, token: str | None = None) -> None:
        if any("ended_at" in getattr(each, "set", {}) for each in operations):
            raise TransactionConflict("crowded")
        inner(operations, token)

    monkeypatch.setattr(world.ctx.store, "transact", busy)
    assert work(world) == ["0"]
    monkeypatch.undo()
    world.ctx.clock.advance(sweep.QUEUED_FOR_MS / 1000)
    sweep.sweep(world.ctx)
    work(world)
    assert told(world, incident)["counts"]["done"] == 1


def test_a_token_that_lost_a_race_is_revoked_too() -> None:
    world = made(1)
    secret = replace(world.secret("c0"), write_id="w1")
    parked = Sealed(
        Secret({"type": "OAUTH2", "access_token": "at-x", "refresh_token": "rt-x"}), Secret({})
    )
    journal.park(world.ctx, secret, parked)
    incident = declared(world, provider_config_key="rot")
    work(world)
    assert sorted(world.provider.revoked) == ["rt-0", "rt-x"]
    assert told(world, incident)["counts"]["done"] == 2


def test_a_refresh_under_way_finds_its_connection_gone_and_its_token_is_revoked() -> None:
    world = World()
    world.rotating("c0", expires_in=-60)
    usual = world.provider.answer_to

    def meanwhile(sent: Sent) -> Any:
        world.provider.answer_to = usual  # type: ignore[method-assign]
        found = usual(sent)
        declared(world, environment=True)
        work(world)
        return found

    world.provider.answer_to = meanwhile  # type: ignore[method-assign]
    assert world.read("c0", "rot").status == 404
    assert world.provider._current in world.provider.revoked


def test_a_queue_that_takes_nothing_is_made_up_for_by_the_schedule() -> None:
    world = made(1)
    world.ctx.queues.unavailable = True
    incident = declared(world, environment=True)
    world.ctx.queues.unavailable = False
    assert told(world, incident)["state"] == "taking"

    assert scheduled(world)["incidents"] == 1
    work(world)
    assert scheduled(world)["complete"] == 1

    assert told(world, incident)["counts"]["taken"] == 2
    assert scheduled(world)["incidents"] == 0


def test_who_declares_an_incident_learns_its_id_also_if_nothing_can_be_handed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = made(1)

    def broken(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("throttled")

    monkeypatch.setattr(world.ctx.store, "query", broken)
    incident = declared(world, environment=True)
    monkeypatch.undo()
    assert (incident["state"], incident["counts"]["taken"]) == ("taking", 0)
    scheduled(world)
    work(world)
    assert told(world, incident)["counts"]["taken"] == 2


@pytest.mark.parametrize("error", [StoreUnavailable("throttled"), KeyError("created_at")])
def test_an_incident_that_cannot_be_looked_at_holds_up_no_other_and_no_removal(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    world = made(1)
    first = declared(world, provider_config_key="rot")
    world.ctx.clock.advance(1)
    second = declared(world, provider_config_key="pat")
    work(world)
    inner = world.ctx.store.get

    def broken(key: Any) -> Any:
        if key.pk.endswith(first["id"]):
            raise error
        return inner(key)

    monkeypatch.setattr(world.ctx.store, "get", broken)
    found = scheduled(world)
    assert (found["incidents"], found["complete"], found["environments"]) == (2, 1, 0)
    monkeypatch.undo()
    assert told(world, second)["state"] == "finished"
    assert scheduled(world)["complete"] == 1


def test_a_large_incident_leaves_time_for_others_and_for_removals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    for number in range(60):
        world.imported(f"c{number:02}")
    world.rotating("r", expires_in=3_600)
    world.ctx.queues.unavailable = True
    large = declared(world, provider_config_key="pat")
    world.ctx.clock.advance(1)
    small = declared(world, provider_config_key="rot")
    world.ctx.queues.unavailable = False
    send, begun = world.ctx.queues.send_refresh, []

    def slow(*given: Any) -> None:
        world.ctx.clock.advance(4)
        send(*given)

    def finish(ctx: Any, until: float) -> dict[str, int]:
        begun.append(until - ctx.clock.now())
        return {}

    monkeypatch.setattr(world.ctx.queues, "send_refresh", slow)
    monkeypatch.setattr("keystow.environments.unfinished.finish", finish)
    assert scheduled(world)["incidents"] == 2
    monkeypatch.undo()
    work(world)
    assert told(world, small)["counts"]["taken"] == 1
    assert told(world, large)["counts"]["taken"] == 25
    assert begun[0] > 0


def test_removals_go_on_where_incidents_cannot_be_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = made(1)
    begun: list[float] = []

    def broken(*_: Any) -> Any:
        raise StoreUnavailable("throttled")

    def finish(_ctx: Any, until: float) -> dict[str, int]:
        begun.append(until)
        return {}

    monkeypatch.setattr(service, "go_on", broken)
    monkeypatch.setattr("keystow.environments.unfinished.finish", finish)
    with pytest.raises(StoreUnavailable):
        scheduled(world)
    assert begun


def test_an_answer_hands_over_as_much_as_it_has_time_for(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    for number in range(30):
        world.imported(f"c{number}")
    send = world.ctx.queues.send_refresh

    def slow(*given: Any) -> None:
        world.ctx.clock.advance(20)
        send(*given)

    monkeypatch.setattr(world.ctx.queues, "send_refresh", slow)
    incident = declared(world, environment=True)
    monkeypatch.undo()
    work(world)
    assert told(world, incident)["counts"]["taken"] == 25
    assert told(world, incident)["state"] == "taking"
    scheduled(world)
    work(world)
    assert told(world, incident)["counts"]["taken"] == 30


def test_a_credential_that_does_not_open_is_told() -> None:
    world = made(1)
    incident = declared(world, provider_config_key="rot")
    others = world.secret("typed").envelope  # of another row: bound to that
    place = world.secret("c0").key
    world.ctx.store.update(Update(place, set={"sealed": others.as_item()}))
    work(world)
    assert outcomes(told(world, incident)) == {"c0": "not_opened"}


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (VaultError("bound to another place"), "the integration's own secrets do not open"),
        (KeyError("token"), "a fault of Keystow"),
    ],
)
def test_a_credential_that_could_not_be_shown_to_its_provider_is_kept_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, error: Exception, detail: str
) -> None:
    world = made(1)
    incident = declared(world, provider_config_key="rot")

    def broken(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(revocation, "revoke", broken)
    work(world)
    (token,) = told(world, incident)["tokens"]
    assert (token["outcome"], token["attempts"], token["detail"]) == ("waiting", 1, detail)
    monkeypatch.undo()

    world.ctx.clock.advance(60)
    sweep.sweep(world.ctx)
    work(world)

    assert outcomes(told(world, incident)) == {"c0": "done"}
    assert world.provider.revoked == ["rt-0"]


def test_an_outage_of_the_vault_is_no_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    world = made(1)
    incident = declared(world, provider_config_key="rot")

    def broken(*_: Any) -> Any:
        raise VaultUnavailable("throttled")

    monkeypatch.setattr(revocation, "revoke", broken)
    assert work(world) != []
    assert told(world, incident)["tokens"][0]["attempts"] == 0


@pytest.mark.parametrize("end", ["incident", "deletion", "expiry"])
def test_an_end_user_is_erased_later_where_what_waited_went_and_the_store_was_not_there(
    monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    world = Ada()
    waits = world.connected("waiting")
    if end == "incident":
        declared(world, end_user_id=ADA["id"])
    elif end == "expiry":
        world.ctx.clock.advance(pending.WAIT_SECONDS + 60)
        sweep.sweep(world.ctx)

    def broken(*_: Any) -> Any:
        raise StoreUnavailable("throttled")

    monkeypatch.setattr(traces, "erase", broken)
    if end == "deletion":
        world.app.delete(world.path(waits, "waiting"))
    else:
        work(world)
    monkeypatch.undo()
    work(world)
    assert len(world.provider.revoked) == 1
    assert world.told_of_ada()

    scheduled(world)

    assert world.told_of_ada() == []


def test_tokens_and_incidents_come_in_pages() -> None:
    world = made(3)
    first = declared(world, provider_config_key="rot")
    world.ctx.clock.advance(1)
    second = declared(world, provider_config_key="pat")
    work(world)
    found = world.app.get(f"/incidents/{first['id']}?limit=2").json()
    seen = outcomes(found["data"])
    assert len(seen) == 2
    rest = world.app.get(f"/incidents/{first['id']}?limit=2&cursor={found['next_cursor']}").json()
    assert len({**seen, **outcomes(rest["data"])}) == 3
    assert rest["next_cursor"] is None
    listed = world.app.get("/incidents?limit=1").json()
    assert [each["id"] for each in listed["data"]] == [second["id"]]
    listed = world.app.get(f"/incidents?limit=1&cursor={listed['next_cursor']}").json()
    assert [each["id"] for each in listed["data"]] == [first["id"]]
    assert listed["next_cursor"] is None


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"reason": REASON},
        {"environment": True},
        {"environment": False, "reason": REASON},
        {"environment": True, "end_user_id": "u", "reason": REASON},
        {"end_user_id": "", "reason": REASON},
        {"environment": True, "reason": ""},
        {"environment": True, "reason": REASON, "more": 1},
    ],
)
def test_a_body_that_does_not_name_one_scope_and_a_reason_changes_nothing(body: Any) -> None:
    world = made(1)
    found = world.app.post("/incidents", body)
    assert (found.status, found.code) == (400, "invalid_body")
    assert world.ctx.queues.take_refreshes() == []
    assert world.app.get("/incidents").json() == {"data": [], "next_cursor": None}


def test_what_is_not_there_and_what_is_not_allowed_is_refused() -> None:
    world = made(1)
    body = {"provider_config_key": "nope", "reason": REASON}
    assert world.app.post("/incidents", body).code == "unknown_provider_config"
    assert world.app.get("/incidents/nope").code == "not_found"
    assert world.app.get("/incidents/1767225600000_0123456789abcdef").code == "not_found"
    incident = declared(world, provider_config_key="rot")
    assert world.app.get(f"/incidents/{incident['id']}?cursor=WyJ4Il0").status == 400
    reader = world.key("environment:incidents:read")
    assert (
        world.app.post("/incidents", {"environment": True, "reason": "x"}, key=reader).status == 403
    )
    writer = world.key("environment:incidents:create")
    assert world.app.get(f"/incidents/{incident['id']}", key=writer).status == 403
    other = World(of=world, environment="other")
    assert other.app.get(f"/incidents/{incident['id']}").code == "not_found"


def test_an_environment_that_is_deleted_takes_its_incidents_along() -> None:
    world = Ada()
    world.connected("popup")
    declared(world, environment=True)
    assert world.shred()
    assert not any(row["pk"].startswith("incident#env1") for row in world.rows(tables.CONNECTIONS))
    assert work(world) == []
    scheduled(world)
    assert not any(row["pk"] == "incident#open" for row in world.rows(tables.CONNECTIONS))


def test_an_integration_that_is_deleted_meanwhile_is_told() -> None:
    world = made(1)
    world.provider.answer_to = lambda _sent: answer(503, {})  # type: ignore[method-assign]
    incident = declared(world, provider_config_key="rot")
    work(world)
    assert world.app.delete("/integrations/rot").status == 200
    world.ctx.clock.advance(120)
    sweep.sweep(world.ctx)
    work(world)
    found = told(world, incident)
    assert outcomes(found) == {"c0": "unsupported"}
    assert "deleted" in found["tokens"][0]["detail"]
