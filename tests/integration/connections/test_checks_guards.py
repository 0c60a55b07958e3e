"""What a check asks before it sends a secret or writes anything."""

from __future__ import annotations

from typing import Any

import pytest

from keystow import metrics
from keystow.catalog.errors import InterpolationError
from keystow.clock import iso
from keystow.egress.client import Answer
from keystow.records.connection import StoredSecret
from keystow.refresh import checks, engine, lease
from keystow.registry import integrations, providers
from keystow.store import Update, tables
from tests.integration.connections.world import World
from tests.support import FakeEgress

HOSTED: dict[str, Any] = {
    "display_name": "Hosted",
    "categories": ["dev-tools"],
    "auth_mode": "API_KEY",
    "docs": "https://hosted.example/docs",
    "connection_config": {
        "site": {
            "title": "Site",
            "description": "The first part of your address",
            "example": "acme",
            "pattern": "^[a-z]+$",
        }
    },
    "proxy": {
        "base_url": "https://${connectionConfig.site}.hosted.example",
        "headers": {"x-key": "${apiKey}"},
        "verification": {"endpoints": ["/me"]},
    },
}


class Checking(World):
    def __init__(self) -> None:
        super().__init__()
        self.web = self.ctx.egress = FakeEgress(default=200)
        assert self.app.put("/providers/hosted", HOSTED).status == 201
        self.integration("hosted", "hosted")
        self.imported("c1", "hosted", connection_config={"site": "acme"})
        self.web.sent.clear()

    def now_asks_for(self, pattern: str) -> None:
        """Let the entry's field take other values than it did."""
        site = {**HOSTED["connection_config"]["site"], "pattern": pattern, "example": "beta"}
        entry = {**HOSTED, "connection_config": {"site": site}}
        assert self.app.put("/providers/hosted", entry).status == 200

    def no_more_checks(self) -> None:
        """Let the entry no longer tell how to ask."""
        silent = {**HOSTED, "proxy": {"base_url": HOSTED["proxy"]["base_url"]}}
        assert self.app.put("/providers/hosted", silent).status == 200


@pytest.fixture
def world() -> Checking:
    return Checking()


def test_a_key_is_not_sent_to_a_host_that_its_entry_does_not_allow(world: Checking) -> None:
    checks.check(world.ctx, world.secret())
    assert [each.url for each in world.web.sent] == ["https://acme.hosted.example/me"]
    world.now_asks_for("^beta$")
    world.web.sent.clear()
    checks.check(world.ctx, world.secret())
    assert world.web.sent == []
    secret = world.secret()
    assert (secret.failure, secret.lease_until) == (None, None)
    assert secret.due_at is not None, "it is looked at again"


def test_a_check_that_could_be_cut_off_is_not_begun(world: Checking) -> None:
    before = world.secret()
    with pytest.raises(engine.TooLate):
        checks.check(world.ctx, before, until=world.ctx.clock.now())
    assert world.web.sent == []
    assert world.secret() == before, "no lease is left behind"


@pytest.mark.parametrize("gone", [(integrations, "by_id"), (providers, "find")])
def test_a_check_without_its_integration_or_entry_ends_the_checks(
    world: Checking, monkeypatch: pytest.MonkeyPatch, gone: tuple[Any, str]
) -> None:
    monkeypatch.setattr(*gone, lambda *_place: None)
    checks.check(world.ctx, world.secret())
    assert world.secret().due_at is None
    assert world.web.sent == []


def test_ending_the_checks_overwrites_nothing_that_happened_meanwhile(world: Checking) -> None:
    before = world.secret()
    world.no_more_checks()
    claimed = lease.claim(world.ctx, before, forced=False)
    assert isinstance(claimed, lease.Claimed)
    checks.check(world.ctx, before)
    assert world.secret() == claimed.secret


def test_ending_the_checks_leaves_the_error_of_a_later_authorization(world: Checking) -> None:
    for _time in range(2):
        world.web.default = 401
        checks.check(world.ctx, world.secret())
    refused = world.secret()
    assert refused.failure is not None
    world.no_more_checks()
    place = tables.connection(world.environment, refused.integration, "c1")
    world.ctx.store.update(Update(place, set={"generation": "later"}))
    checks.check(world.ctx, refused)
    assert "auth_error" in world.ctx.store.get(place)
    world.ctx.store.update(Update(place, set={"generation": refused.generation}))
    checks.check(world.ctx, refused)
    assert "auth_error" not in world.ctx.store.get(place)
    assert isinstance(world.secret(), StoredSecret)


def test_a_fault_of_ours_says_nothing_about_a_key_and_leaves_no_lease(world: Checking) -> None:
    def broken(_sent: Any) -> Any:
        raise RuntimeError("ours")

    world.web.default = broken
    checks.check(world.ctx, world.secret())
    secret = world.secret()
    assert (secret.failure, secret.lease_until) == (None, None)


def refused(world: Checking) -> None:
    world.web.default = 401
    checks.check(world.ctx, world.secret())
    assert world.secret().failure is not None


def due_in(world: Checking) -> float:
    """Return in how many hours the connection is looked at again."""
    due_at = world.secret().due_at
    assert due_at is not None
    return (due_at / 1000 - world.ctx.clock.now()) / 3600


def no_host_for_it(world: Checking, _monkeypatch: pytest.MonkeyPatch) -> None:
    world.now_asks_for("^beta$")


def no_request_made_of_it(_world: Checking, monkeypatch: pytest.MonkeyPatch) -> None:
    def unfit(*_parts: Any, **_options: Any) -> Any:
        raise InterpolationError("unsafe_value", "Not a header")

    monkeypatch.setattr(checks, "ask", unfit)
    monkeypatch.setattr(metrics, "count", lambda *what: pytest.fail(f"counted: {what}"))


def a_fault(world: Checking, _monkeypatch: pytest.MonkeyPatch) -> None:
    world.web.default = RuntimeError("ours")


def an_outage(world: Checking, _monkeypatch: pytest.MonkeyPatch) -> None:
    world.web.default = 503


@pytest.mark.parametrize(
    "trouble",
    [no_host_for_it, no_request_made_of_it, a_fault, an_outage],
    ids=lambda trouble: trouble.__name__,
)
@pytest.mark.parametrize("stands_refused", [False, True])
def test_what_could_not_be_asked_is_asked_in_six_hours_if_it_stands_refused_else_in_a_day(
    world: Checking, monkeypatch: pytest.MonkeyPatch, trouble: Any, stands_refused: bool
) -> None:
    if stands_refused:
        refused(world)
    before = world.secret().failure
    trouble(world, monkeypatch)
    checks.check(world.ctx, world.secret())
    assert world.secret().failure == before
    if stands_refused:
        assert due_in(world) == 6
    else:
        assert 22.8 <= due_in(world) <= 25.2


@pytest.mark.parametrize(("asked", "hours"), [("36000", 10), ("60", 6), ("", 6), ("900000", 24)])
def test_a_provider_that_asks_for_patience_after_a_refusal_gets_it(
    world: Checking, asked: str, hours: float
) -> None:
    refused(world)
    world.web.default = Answer(429, {"retry-after": asked}, b"")
    checks.check(world.ctx, world.secret())
    assert due_in(world) == hours


def test_a_refusal_stands_in_the_log_with_the_answer(world: Checking) -> None:
    refused(world)
    listed = world.app.get("/activity").json()["data"][0]
    told = world.app.get(f"/activity/{listed['id']}").json()["data"]
    assert told["operation"] == {"type": "auth", "action": "connection_test"}
    assert (told["state"], told["connection_id"]) == ("failed", "c1")
    assert (told["provider_config_key"], told["provider"]) == ("hosted", "hosted")
    (message,) = told["messages"]
    assert message["level"] == "error"
    assert message["meta"] == {
        "kind": "configuration",
        "code": "credential_refused",
        "status": 401,
    }
    failure = world.secret().failure
    assert failure is not None
    assert (failure.kind, failure.code) == ("configuration", "credential_refused")
    assert failure.log_id == listed["id"]


def test_a_connection_whose_checks_end_leaves_nothing_in_the_due_index(world: Checking) -> None:
    refused(world)
    world.ctx.clock.advance(60)
    world.no_more_checks()
    checks.check(world.ctx, world.secret())
    row = world.ctx.store.get(world.secret().key)
    assert not {"due_at", "due_shard", "host", "failure"} & set(row)
    changed = world.read("c1", "hosted").json()["updated_at"]
    assert changed[:19] == iso(world.ctx.clock.now())[:19], "its error is over"


def test_a_check_leaves_no_lease_behind_and_uses_up_no_callers_turn(world: Checking) -> None:
    for verdict in (200, 401, 503):
        world.web.default = verdict
        checks.check(world.ctx, world.secret())
        assert (world.secret().lease_until, world.secret().forced_at) == (None, None)
