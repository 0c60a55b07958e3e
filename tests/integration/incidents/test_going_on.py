"""The kill switch goes on where messages come twice, and where something fails on the way."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keystow.connections import pending
from keystow.events import traces
from keystow.incidents import service, taking
from keystow.modes import revocation
from keystow.records.connection import Sealed
from keystow.refresh import journal, sweep, worker
from keystow.secret import Secret
from keystow.store import StoreUnavailable, TransactionConflict, Update
from keystow.value import replace
from keystow.vault import VaultError, VaultUnavailable
from tests.integration.connections.ada import ADA
from tests.integration.connections.ada import World as Ada
from tests.integration.connections.world import World
from tests.integration.incidents.declaring import (
    declared,
    made,
    outcomes,
    scheduled,
    told,
    work,
)
from tests.support import Sent, run_in_parallel


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
