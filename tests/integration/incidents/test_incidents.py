"""The kill switch: what has leaked is taken from readers, revoked at its provider, and shredded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keystow.incidents import taking
from keystow.refresh import sweep, worker
from keystow.store import tables
from tests.authorization_server import answer
from tests.integration.connections.ada import ADA
from tests.integration.connections.ada import World as Ada
from tests.integration.connections.world import World
from tests.integration.incidents.declaring import (
    REASON,
    declared,
    made,
    outcomes,
    scheduled,
    told,
    work,
)


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
