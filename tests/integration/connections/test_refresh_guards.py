"""What a refresh asks just before it takes the lease, and what a fault of ours may cost."""

from __future__ import annotations

from typing import Any

import pytest

from keystow.modes import mode_of
from keystow.refresh import engine, throttle
from keystow.refresh.lease import LEASE_MS
from tests.authorization_server import DEFINITION
from tests.integration.connections.world import Refreshing, World


@pytest.fixture
def world() -> Refreshing:
    return Refreshing()


def pause(world: World, seconds: float = 60) -> None:
    """Let two connections of the host be told to wait."""
    host = world.secret().host
    for by in ("c8", "c9"):
        throttle.note(world.ctx, world.environment, host, by, seconds)


def test_a_pause_that_others_hear_of_meanwhile_is_kept(
    world: Refreshing, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = world.ctx.vault.warm

    def warm(*place: Any) -> None:
        real(*place)
        pause(world)

    monkeypatch.setattr(world.ctx.vault, "warm", warm)
    before = world.secret()
    outcome = engine.refresh(world.ctx, before)
    assert (outcome.state, outcome.secret) == ("paused", before)
    assert outcome.until == int(world.ctx.clock.now() * 1000) + 60_000
    assert world.secret() == before, "no lease is left behind"
    assert world.provider.requests == []


def test_during_a_pause_neither_kms_nor_the_provider_is_asked(world: Refreshing) -> None:
    pause(world)
    world.ctx.clock.advance(1)
    asked = (world.ctx.kms.generated, world.ctx.kms.unwrapped)
    assert engine.refresh(world.ctx, world.secret()).state == "paused"
    assert (world.ctx.kms.generated, world.ctx.kms.unwrapped) == asked
    assert world.provider.requests == []


@pytest.mark.parametrize("until", [0, -1])
def test_a_refresh_that_could_be_cut_off_is_not_begun(world: Refreshing, until: float) -> None:
    before = world.secret()
    with pytest.raises(engine.TooLate):
        engine.refresh(world.ctx, before, until=world.ctx.clock.now() + until)
    assert world.secret() == before
    assert world.provider.requests == []


def test_after_a_fault_of_ours_nobody_asks_before_the_lease_is_over(
    world: Refreshing, monkeypatch: pytest.MonkeyPatch
) -> None:
    mode = mode_of("OAUTH2")
    assert mode is not None

    def broken(*_parts: Any) -> Any:
        raise RuntimeError("ours")

    with monkeypatch.context() as patch:
        patch.setattr(type(mode), "renew", broken)
        begun = int(world.ctx.clock.now() * 1000)
        assert engine.refresh(world.ctx, world.secret()).state == "failed"
    secret = world.secret()
    assert secret.failure is not None
    assert (secret.failure.kind, secret.failure.code) == ("unknown_fate", "fault")
    assert secret.failure.description == "RuntimeError"
    assert secret.lease_until == begun + LEASE_MS
    assert secret.failure.next_at >= begun + LEASE_MS + 5_000
    assert engine.refresh(world.ctx, secret).state == "busy"
    world.ctx.clock.advance(66)
    assert world.token() == "at-1"


def test_a_refresh_token_is_not_sent_to_a_host_that_the_entry_does_not_allow() -> None:
    world = World()
    site = {"title": "Site", "description": "Your site", "example": "beta", "pattern": "^[a-z]+$"}
    entry = {
        **DEFINITION,
        "token_url": "https://${connectionConfig.site}.rotating.example/token",
        "connection_config": {"site": site},
    }
    assert world.app.put("/providers/rotating", entry).status == 200
    credentials = {"type": "OAUTH2", "access_token": "at-0", "refresh_token": "rt-0"}
    world.imported("c1", "rot", credentials=credentials, connection_config={"site": "acme"})
    narrowed = {**entry, "connection_config": {"site": {**site, "pattern": "^beta$"}}}
    assert world.app.put("/providers/rotating", narrowed).status == 200
    assert engine.refresh(world.ctx, world.secret()).state == "failed"
    secret = world.secret()
    assert secret.failure is not None
    assert (secret.failure.kind, secret.failure.code) == ("configuration", "unfit_config")
    assert "site" in secret.failure.description
    assert world.provider.requests == []
    assert secret.lease_until is None
