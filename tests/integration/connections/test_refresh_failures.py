"""What a failed refresh means, for whoever reads and for the next attempt."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keystow.clock import iso
from keystow.refresh import sweep
from keystow.store import StoreUnavailable, tables
from keystow.vault import Purpose, VaultError
from keystow.vault.kms import KmsError
from tests.authorization_server import answer, lost, unreachable
from tests.integration.connections.world import Refreshing


@pytest.fixture
def world() -> Refreshing:
    return Refreshing()


def test_a_valid_token_is_served_while_the_provider_is_down() -> None:
    world = Refreshing(expires_in=30)
    world.provider.fault = lambda _n: answer(503, {"error": "down"})
    for _round in range(3):
        found = world.read()
        assert found.status == 200
        assert found.json()["credentials"]["access_token"] == "at-0"
        assert [each["type"] for each in found.json()["errors"]] == ["auth"]
    assert len(world.provider.requests) == 1, "the backoff is respected"
    assert world.events() == [], "nothing is broken as long as the token is good"


def test_a_failed_refresh_of_an_expired_token_tells_the_error_once_and_then_backs_off(
    world: Refreshing,
) -> None:
    world.provider.fault = lambda _n: answer(503, {"error": "down"})
    first, second = world.read(), world.read()
    assert (first.status, first.code) == (400, "invalid_credentials")
    assert (second.status, second.code) == (424, "invalid_credentials")
    shown = second.json()["error"]["payload"]["connection"]
    assert shown["credentials"] == {}
    assert [each["type"] for each in shown["errors"]] == ["auth"]
    assert len(world.provider.requests) == 1
    assert len(world.events()) == 1


def test_a_webhook_of_a_refresh_says_which_connection_and_why(world: Refreshing) -> None:
    own = "https://own.example.com/hook"
    change = {"tags": {"plan": "pro"}, "webhook_url_override": own}
    place = "/connections/c1?provider_config_key=rot"
    assert world.app.patch(place, change).status == 200
    world.provider.fault = lambda _n: answer(503, {"error": "down"})
    assert world.read().status == 400
    (failed,) = world.events()
    secret = world.secret()
    assert secret.failure is not None
    told = {
        "from": "nango",
        "type": "auth",
        "operation": "refresh",
        "connectionId": "c1",
        "providerConfigKey": "rot",
        "provider": "rotating",
        "authMode": "OAUTH2",
        "environment": "env1",
        "tags": {"plan": "pro"},
    }
    reason = {"type": "refresh_token_external_error", "description": secret.failure.description}
    assert json.loads(failed["body"]) == {**told, "success": False, "error": reason}
    assert failed["log_id"] == secret.failure.log_id
    rows = world.ctx.store.everything()
    sent = {row["url"] for row in rows[tables.EVENTS] if row["sk"].startswith("delivery#")}
    assert own in sent
    traces = {row.get("event") for row in rows[tables.CONNECTIONS] if "trace#" in row["sk"]}
    assert failed["pk"] in traces, "an erasure finds it"

    assert "Refreshing works again" not in json.dumps(rows[tables.ACTIVITY], default=str)

    world.provider.fault = None
    world.ctx.clock.advance(60)
    assert world.token() == "at-1"
    changed = world.read().json()["updated_at"]
    assert changed.startswith(iso(world.ctx.clock.now()).removesuffix("Z"))
    rows = world.ctx.store.everything()
    assert "Refreshing works again" in json.dumps(rows[tables.ACTIVITY], default=str)
    (worked,) = (each for each in world.events() if each["success"])
    assert json.loads(worked["body"]) == {**told, "success": True}
    assert "log_id" not in worked


def test_what_failed_for_a_time_is_due_when_it_may_be_tried_and_not_before(
    world: Refreshing,
) -> None:
    world.provider.fault = lambda _n: answer(503, {"error": "down"})
    assert world.read().status == 400
    secret = world.secret()
    assert secret.failure is not None
    assert secret.due_at == secret.failure.next_at


def test_transient_failures_never_end_and_a_recovery_is_told(world: Refreshing) -> None:
    world.provider.fault = lambda _n: answer(500, {})
    for _round in range(30):
        world.read()
        world.ctx.clock.advance(7 * 3600)
    assert len(world.provider.requests) == 30
    assert len(world.events()) == 1, "one event for one outage"
    world.provider.fault = None
    assert world.token() == "at-1"
    assert world.read().json()["errors"] == []
    bodies = [each["body"] for each in world.events()]
    assert sum('"success":true' in body for body in bodies) == 1


def test_an_invalid_grant_ends_the_attempts_until_the_account_is_connected_again(
    world: Refreshing,
) -> None:
    world.provider.family_dead = True
    assert (world.read().status, world.read().status) == (400, 424)
    world.ctx.clock.advance(30 * 86_400)
    assert world.read().status == 424
    assert sweep.sweep(world.ctx) == 0
    assert len(world.provider.requests) == 1
    assert len(world.events()) == 1


def test_a_lost_answer_does_not_burn_the_refresh_token(world: Refreshing) -> None:
    world.provider.fault_after = lambda n: lost(n) if n == 1 else None
    first = world.read()
    assert (first.status, first.code) == (503, "refresh_in_progress")
    assert int(first.headers["retry-after"]) <= 65
    for _round in range(5):
        assert world.read().status == 503
        world.ctx.clock.advance(10)
    assert len(world.provider.requests) == 1, "the old token is not used while its fate is unknown"
    world.ctx.clock.advance(15)
    assert world.read().status == 503, "clocks may differ by 5 s"
    world.ctx.clock.advance(1)
    after = world.read()
    assert (after.status, after.code) == (400, "invalid_credentials")
    assert len(world.provider.requests) == 2
    assert [each["type"] for each in after.json()["error"]["payload"]["connection"]["errors"]]


def test_a_request_that_never_left_is_not_a_lost_answer(world: Refreshing) -> None:
    world.provider.fault = lambda n: unreachable(n) if n == 1 else None
    assert world.read().status == 400
    world.ctx.clock.advance(40)
    assert world.token() == "at-1"


def test_kms_away_before_the_request_leaves_the_refresh_token_unused(world: Refreshing) -> None:
    world.ctx.clock.advance(400)  # nothing cached any more
    world.ctx.kms.failure = KmsError("ThrottlingException")
    found = world.read()
    assert (found.status, found.code) == (503, "temporarily_unavailable")
    assert world.provider.requests == []


def test_an_integration_whose_secret_does_not_open_does_not_hold_the_lease(
    world: Refreshing,
) -> None:
    real = world.ctx.vault.open

    def refusing(purpose: Any, *place: Any) -> bytes:
        if purpose == Purpose.INTEGRATION:
            raise VaultError("broken")
        return real(purpose, *place)

    world.ctx.vault.open = refusing
    assert world.read().status == 400
    assert world.secret().lease_until is None
    assert world.provider.requests == []


def test_a_corrected_integration_is_tried_at_once(world: Refreshing) -> None:
    world.provider.fault = lambda _n: answer(401, {"error": "invalid_client"})
    assert (world.read().status, world.read().status) == (400, 424)
    world.provider.fault = None
    credentials = {"type": "OAUTH2", "client_id": "id", "client_secret": "right"}
    assert world.app.patch("/integrations/rot", {"credentials": credentials}).status == 200
    world.ctx.clock.advance(31)  # integrations are remembered for 30 s
    assert world.token() == "at-1"


def test_a_valid_token_is_served_while_kms_or_the_table_refuses() -> None:
    world = Refreshing(expires_in=30)
    world.ctx.store.update = _unavailable
    assert world.token() == "at-0"


def _unavailable(_operation: Any) -> Any:
    raise StoreUnavailable("throttled")


def test_a_throttled_provider_is_given_the_time_it_asks_for(world: Refreshing) -> None:
    world.provider.fault = lambda n: answer(429, {}, {"retry-after": "3600"}) if n == 1 else None
    assert world.read().status == 400
    world.ctx.clock.advance(3500)
    assert world.read().status == 424
    world.ctx.clock.advance(120)
    assert world.token() == "at-1"


def test_the_activity_log_tells_once_that_refreshing_works_again(world: Refreshing) -> None:
    world.provider.fault = lambda n: answer(500, {}) if n == 1 else None
    assert world.read().status == 400
    world.ctx.clock.advance(7200)
    assert world.token() == "at-1"
    world.ctx.clock.advance(7200)
    assert world.token() == "at-2"
    logged = world.app.get("/activity?type=auth/refresh_token").json()["data"]
    assert [each["state"] for each in logged] == ["success", "failed"]
    assert (logged[0]["connection_id"], logged[0]["provider_config_key"]) == ("c1", "rot")


def test_a_forced_refresh_that_fails_says_so_though_the_token_is_valid() -> None:
    world = Refreshing(expires_in=7200)
    world.provider.fault = lambda _n: answer(503, {})
    assert world.read("&force_refresh=true").status == 400
    assert world.read("&force_refresh=true").status == 424
    assert len(world.provider.requests) == 1
    assert world.token() == "at-0", "a plain read still gets it"
