"""What a check asks before it sends a secret or writes anything."""

from __future__ import annotations

from typing import Any

import pytest

from keystow.records.connection import StoredSecret
from keystow.refresh import checks, engine, lease
from keystow.registry import integrations
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


def test_a_check_without_its_integration_ends_the_checks(
    world: Checking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integrations, "by_id", lambda *_place: None)
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
