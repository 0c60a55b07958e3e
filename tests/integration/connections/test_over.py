"""An exchange that is over does not hold the lease; one whose answer is still out does."""

from __future__ import annotations

import pytest

from keystow.egress.client import Answer
from keystow.egress.errors import EgressFailed
from keystow.refresh import sweep
from tests.authorization_server import answer
from tests.integration.connections.world import Refreshing

HTML = "<!doctype html><title>Maintenance</title>"


def page(text: str, status: int = 200) -> Answer:
    return Answer(status, {"content-type": "text/html"}, text.encode())


def raising(kind: str):
    def answer_to(_number: int) -> Answer:
        raise EgressFailed(kind, sent=True)  # type: ignore[arg-type]

    return answer_to


UNUSABLE = [
    pytest.param(lambda _n: page(HTML), "(unusable_answer)", id="page"),
    pytest.param(lambda _n: page(""), "(unusable_answer)", id="empty"),
    pytest.param(lambda _n: answer(200, {"hello": 1}), "(unusable_answer)", id="no token"),
    pytest.param(lambda _n: answer(200, [{"access_token": "a"}]), "(unusable_answer)", id="list"),
    pytest.param(lambda _n: answer(200, "text"), "(unusable_answer)", id="text"),
    pytest.param(lambda _n: answer(200, {"access_token": None}), "(unusable_answer)", id="null"),
    pytest.param(lambda _n: answer(200, {"error": "odd_thing"}), "(odd_thing)", id="error"),
    pytest.param(lambda _n: answer(204, {}), "(unusable_answer)", id="204"),
    pytest.param(raising("too_large"), "(network_too_large)", id="too large"),
    pytest.param(raising("malformed"), "(network_malformed)", id="no HTTP"),
]


@pytest.mark.parametrize(("fault", "reason"), UNUSABLE)
def test_an_answer_that_cannot_be_used_is_told_at_once_and_ends_the_lease(fault, reason) -> None:
    world = Refreshing()
    world.provider.fault = fault
    first, second = world.read(), world.read()
    assert (first.status, first.code) == (400, "invalid_credentials")
    assert (second.status, second.code) == (424, "invalid_credentials")
    for each in (first, second):
        assert reason in each.json()["error"]["message"]
    assert world.secret().lease_until is None
    assert len(world.provider.requests) == 1, "the backoff is respected"
    assert len(world.events()) == 1

    world.provider.fault = None
    world.ctx.clock.advance(16)
    assert world.token() == "at-1"


@pytest.mark.parametrize(("fault", "reason"), UNUSABLE[:3])
def test_a_valid_token_is_served_after_an_answer_that_cannot_be_used(fault, reason) -> None:
    world = Refreshing(expires_in=30)
    world.provider.fault = fault
    found = world.read()
    assert (found.status, len(found.json()["errors"])) == (200, 1)
    log = world.app.get(f"/activity/{found.json()['errors'][0]['log_id']}").json()["data"]
    assert reason in log["messages"][0]["message"]


def test_attempts_after_unusable_answers_grow_rarer_and_never_end() -> None:
    world = Refreshing()
    world.provider.fault = lambda _n: page(HTML)
    for _round in range(40):
        world.read()
        world.ctx.clock.advance(15)
    tried = len(world.provider.requests)
    assert 3 <= tried <= 8
    world.ctx.clock.advance(7 * 3600)
    assert sweep.sweep(world.ctx) == 1


def test_a_grant_that_dies_after_an_unreadable_answer_is_said_to_have_died_of_it() -> None:
    world = Refreshing()
    world.provider.fault_after = lambda _n: page(HTML)  # it rotated, and its answer is lost to us
    assert world.read().status == 400
    world.provider.fault_after = None
    world.ctx.clock.advance(16)

    dead = world.read()

    assert (dead.status, dead.code) == (400, "invalid_credentials")
    message = dead.json()["error"]["message"]
    assert "(invalid_grant)" in message
    assert "it may have used up the token" in message
    failure = world.secret().failure
    assert failure is not None
    assert failure.kind == "terminal"
    world.ctx.clock.advance(30 * 86_400)
    assert world.read().status == 424
    assert len(world.provider.requests) == 2, "a dead grant is not asked about again"


def test_a_grant_that_dies_by_itself_is_not_blamed_on_an_earlier_answer() -> None:
    world = Refreshing()
    world.provider.family_dead = True
    assert "used up" not in world.read().json()["error"]["message"]


def test_a_doubt_ends_with_the_next_success() -> None:
    world = Refreshing()
    world.provider.fault = lambda _n: page(HTML)
    world.read()
    world.provider.fault = None
    world.ctx.clock.advance(16)
    assert world.token() == "at-1"
    world.provider.family_dead = True
    world.ctx.clock.advance(7200)
    assert "used up" not in world.read().json()["error"]["message"]


@pytest.mark.parametrize("kind", ["timeout", "lost"])
def test_an_answer_that_never_came_still_holds_the_lease(kind) -> None:
    world = Refreshing()
    world.provider.fault_after = raising(kind)
    found = world.read()
    assert (found.status, found.code) == (503, "refresh_in_progress")
    assert world.secret().lease_until is not None


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        ({"error": "invalid_grant", "error_description": "Bad Request"}, "invalid_grant", "Bad R"),
        ({"error": "invalid_client"}, "invalid_client", "the provider gave no other reason"),
        ({"error": "unauthorized_client", "error_description": "AADSTS700016: no such application"},
         "unauthorized_client", "AADSTS700016: no such application"),
        ({"errorCode": "E-1005"}, "e-1005", ""),
    ],
)  # fmt: skip
def test_the_providers_reason_stands_in_the_answer_and_in_the_activity(body, code, text) -> None:
    world = Refreshing()
    world.provider.fault = lambda _n: answer(400, body)
    found = world.read()
    message = found.json()["error"]["message"]
    assert f"({code})" in message
    assert text in message
    shown = found.json()["error"]["payload"]["connection"]
    log = world.app.get(f"/activity/{shown['errors'][0]['log_id']}").json()["data"]["messages"][0]
    assert log["meta"]["code"] == code
    assert f"({code})" in log["message"]


def test_an_echoed_token_or_secret_is_no_reason() -> None:
    world = Refreshing()
    secret = "q7Fz-planted_9x"
    for body in (
        {"error": "rt-0"},
        {"error": "app-secret", "error_description": "bad app-secret for rt-0"},
        {"code": secret, "message": "no"},
    ):
        world.provider.fault = lambda _n, body=body: answer(400, body)
        found = world.read("&force_refresh=true")
        world.ctx.clock.advance(3_600)
        log = world.app.get("/activity?connection_id=c1").json()["data"][0]
        told = f"{world.app.get('/activity/' + log['id']).json()} {found.json()}"
        for hidden in ("rt-0", "app-secret", secret.lower()):
            assert hidden not in told
        assert "http_400" in told
