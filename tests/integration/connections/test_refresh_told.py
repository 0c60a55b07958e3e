"""What a refresh that did not go the usual way tells: who called it, and who reads the log."""

from __future__ import annotations

from typing import Any

import pytest

from keystow.records.connection import Sealed
from keystow.refresh import engine, journal
from keystow.secret import Secret
from tests.authorization_server import answer, lost
from tests.integration.connections.world import Refreshing


@pytest.fixture
def world() -> Refreshing:
    return Refreshing()


def last_told(world: Refreshing) -> dict[str, Any]:
    """Return the last operation of the log, with its messages."""
    newest = world.app.get("/activity").json()["data"][0]
    return dict(world.app.get(f"/activity/{newest['id']}").json()["data"])


def park(world: Refreshing, token: str) -> None:
    parked = {"type": "OAUTH2", "access_token": "x", "refresh_token": token}
    journal.park(world.ctx, world.secret(), Sealed(Secret(parked), Secret({})))


def saved_by_a_parked_token(world: Refreshing) -> None:
    park(world, "rt-parked")
    world.provider._current = "rt-parked"

    def fault(_number: int) -> Any:
        stored = world.provider.requests[-1]["refresh_token"] == "rt-0"
        return answer(400, {"error": "invalid_grant"}) if stored else None

    world.provider.fault = fault
    assert engine.refresh(world.ctx, world.secret()).state == "refreshed"


def late_for_a_new_authorization(world: Refreshing) -> None:
    world.provider.fault_after = lambda _number: world.rotating("c1", expires_in=3600)
    outcome = engine.refresh(world.ctx, world.secret())
    assert (outcome.state, outcome.secret) == ("changed", world.secret())


def late_for_a_deleted_connection(world: Refreshing) -> None:
    def deleted(_number: int) -> None:
        assert world.app.delete("/connections/c1?provider_config_key=rot").status == 200

    world.provider.fault_after = deleted
    outcome = engine.refresh(world.ctx, world.secret())
    assert (outcome.state, outcome.secret) == ("gone", None)


@pytest.mark.parametrize(
    ("happened", "level", "text"),
    [
        (saved_by_a_parked_token, "info", "A token that had lost a race was used"),
        (late_for_a_new_authorization, "warn", "of a former authorization arrived and was dropped"),
        (late_for_a_deleted_connection, "info", "arrived too late and was revoked: done"),
    ],
)
def test_what_became_of_an_unusual_refresh_stands_in_the_log_of_its_connection(
    world: Refreshing, happened: Any, level: str, text: str
) -> None:
    happened(world)
    told = last_told(world)
    assert told["operation"] == {"type": "auth", "action": "refresh_token"}
    assert (told["state"], told["connection_id"]) == ("success", "c1")
    assert (told["provider_config_key"], told["provider"]) == ("rot", "rotating")
    (message,) = told["messages"]
    assert message["level"] == level
    assert text in message["message"]


def test_a_failed_refresh_stands_in_the_log_with_what_the_provider_said(world: Refreshing) -> None:
    said = {"error": "invalid_client", "error_description": "Unknown app"}
    world.provider.fault = lambda _number: answer(401, said)
    assert engine.refresh(world.ctx, world.secret()).state == "failed"
    told = last_told(world)
    assert told["operation"] == {"type": "auth", "action": "refresh_token"}
    assert (told["state"], told["connection_id"]) == ("failed", "c1")
    assert (told["provider_config_key"], told["provider"]) == ("rot", "rotating")
    (message,) = told["messages"]
    assert (message["level"], "invalid_client" in message["message"]) == ("error", True)
    assert message["meta"] == {
        "kind": "configuration",
        "code": "invalid_client",
        "description": "Unknown app",
        "status": 401,
    }


def test_the_log_too_tells_that_a_lost_answer_may_have_ended_a_grant(world: Refreshing) -> None:
    world.provider.fault = lost
    assert engine.refresh(world.ctx, world.secret()).state == "failed"
    world.ctx.clock.advance(100)
    world.provider.fault = lambda _number: answer(400, {"error": "invalid_grant"})
    assert engine.refresh(world.ctx, world.secret()).state == "failed"
    (message,) = last_told(world)["messages"]
    assert "used up" in message["meta"]["description"]
    failure = world.secret().failure
    assert failure is not None
    assert message["meta"]["description"] == failure.description


def test_a_failure_of_a_former_authorization_is_not_told_of_the_new_one(world: Refreshing) -> None:
    def reimported(_number: int) -> Any:
        world.rotating("c1", expires_in=3600)
        return answer(503, {})

    world.provider.fault = reimported
    outcome = engine.refresh(world.ctx, world.secret())
    assert (outcome.state, outcome.secret) == ("changed", world.secret())
    assert world.secret().failure is None


def test_a_late_failure_does_not_hide_the_token_that_somebody_else_got(world: Refreshing) -> None:
    def overtaken(number: int) -> Any:
        if number > 1:
            return None
        world.ctx.clock.advance(70)  # the lease is over
        assert engine.refresh(world.ctx, world.secret()).state == "refreshed"
        return answer(503, {})

    world.provider.fault = overtaken
    outcome = engine.refresh(world.ctx, world.secret())
    assert (outcome.state, outcome.secret) == ("changed", world.secret())
    assert (world.secret().version, world.secret().failure) == (2, None)


def test_a_refresher_that_lost_the_race_hands_out_the_token_that_won(world: Refreshing) -> None:
    def overtaken(number: int) -> None:
        if number > 1:
            return
        world.ctx.clock.advance(70)  # the lease is over
        world.provider._current = "rt-0"
        assert engine.refresh(world.ctx, world.secret()).state == "refreshed"

    world.provider.fault_after = overtaken
    outcome = engine.refresh(world.ctx, world.secret())
    assert (outcome.state, outcome.secret) == ("changed", world.secret())
    assert world.secret().version == 2
