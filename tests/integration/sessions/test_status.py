"""How a browser whose WebSocket is blocked hears what became of its attempt."""

from __future__ import annotations

from typing import Any

import pytest

from keystow.store import StoreUnavailable
from tests.app import Result
from tests.integration.authorization.popup import World, make_world
from tests.integration.authorization.test_typed import World as TypedWorld


@pytest.fixture
def world() -> World:
    return make_world()


def ask(world: Any, token: str) -> Result:
    found: Result = world.app.get(
        "/connect/session/status", headers={"authorization": f"Bearer {token}"}
    )
    return found


def status(world: Any, token: str) -> dict[str, Any]:
    answer = ask(world, token)
    assert answer.status == 200, answer.body
    data: dict[str, Any] = answer.json()["data"]
    return data


def test_before_anything_was_tried_the_status_is_pending(world: World) -> None:
    found = status(world, world.session())
    assert found["status"] == "pending"
    assert set(found) == {"status", "log_id"}


def test_an_attempt_under_way_is_pending(world: World) -> None:
    token = world.session()
    world.begun(world.browser(), token)
    assert status(world, token)["status"] == "pending"


def test_without_a_socket_the_status_tells_the_connection(world: World) -> None:
    token, browser = world.session(), world.browser()
    state = world.begun(browser, token, ws_client_id="")["state"]
    assert world.back(browser, state).status == 200
    found = status(world, token)
    assert found["status"] == "connected"
    assert (found["provider_config_key"], found["is_pending"]) == (world.key, False)
    assert world.read(found["connection_id"]).status == 200
    assert found["changed_at"].endswith("Z")


def test_without_a_socket_the_status_tells_why_it_failed(world: World) -> None:
    token, browser = world.session(), world.browser()
    state = world.begun(browser, token, ws_client_id="")["state"]
    world.back(browser, state, code="", error="access_denied")
    found = status(world, token)
    assert (found["status"], found["code"]) == ("failed", "callback_err")
    assert "access_denied" in found["message"]
    operation = world.app.get(f"/activity/{found['log_id']}")
    assert operation.status == 200


def test_another_attempt_takes_the_place_of_one_that_failed(world: World) -> None:
    token, browser = world.session(), world.browser()
    world.back(browser, world.begun(browser, token)["state"], code="", error="access_denied")
    state = world.begun(browser, token)["state"]
    assert status(world, token)["status"] == "pending"
    world.back(browser, state)
    assert status(world, token)["status"] == "connected"


def test_another_browser_cannot_make_an_attempt_look_failed(world: World) -> None:
    token, browser = world.session(), world.browser()
    state = world.begun(browser, token)["state"]
    assert world.back(world.browser(), state).status == 400
    assert status(world, token)["status"] == "pending"


def test_what_cannot_even_begin_changes_no_status_and_its_page_tells_the_opener(
    world: World,
) -> None:
    token = world.session()
    world.key = "nowhere"
    page = world.start(world.browser(), token)
    assert page.status == 400
    assert b'"errorType":"provider_config_err"' in page.body
    assert status(world, token)["status"] == "pending"


def test_an_outcome_is_told_for_half_an_hour_after_the_token_has_ended(world: World) -> None:
    token, browser = world.session(), world.browser()
    world.ctx.clock.advance(29 * 60)
    state = world.begun(browser, token)["state"]
    world.ctx.clock.advance(20 * 60)
    assert world.back(browser, state).status == 200
    assert status(world, token)["status"] == "connected"
    world.ctx.clock.advance(11 * 60)
    assert ask(world, token).code == "unknown_connect_session_token"


def test_an_ended_session_tells_nothing(world: World) -> None:
    token = world.session()
    headers = {"authorization": f"Bearer {token}"}
    assert world.app.delete("/connect/session", headers=headers).status == 204
    assert ask(world, token).code == "unknown_connect_session_token"


def test_a_status_that_cannot_be_written_does_not_undo_the_connection(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, browser = world.session(), world.browser()
    state = world.begun(browser, token)["state"]
    update = world.ctx.store.update

    def only_attempts(change: Any) -> Any:
        if "outcome" in (change.set or {}) and change.key.pk.startswith("session#"):
            raise StoreUnavailable("down")
        return update(change)

    monkeypatch.setattr(world.ctx.store, "update", only_attempts)
    assert world.back(browser, state).status == 200
    assert len(world.connections()) == 1


def test_a_typed_credential_whose_answer_was_lost_is_found_by_the_status() -> None:
    world = TypedWorld()
    token = world.session()
    made = world.submit("/auth/unauthenticated", "unauthenticated", None, token=token)
    assert made.status == 200, made.body
    found = status(world, token)
    assert (found["status"], found["connection_id"]) == ("connected", made.json()["connectionId"])


@pytest.mark.parametrize("query", ["?x=1", "?attempt=2"])
def test_an_unknown_parameter_is_refused(world: World, query: str) -> None:
    headers = {"authorization": f"Bearer {world.session()}"}
    answer = world.app.get(f"/connect/session/status{query}", headers=headers)
    assert answer.code == "invalid_query_params"
