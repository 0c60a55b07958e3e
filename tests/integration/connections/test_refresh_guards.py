"""What a refresh asks just before it takes the lease, and what a fault of ours may cost."""

from __future__ import annotations

from typing import Any

import pytest

from keystow.modes import mode_of
from keystow.records.connection import Sealed
from keystow.records.integration import Integration
from keystow.refresh import engine, throttle, worker
from keystow.refresh.lease import LEASE_MS
from keystow.registry import integrations, providers
from keystow.secret import Secret
from keystow.store import Put, StoreUnavailable, Update
from keystow.vault import VaultError, VaultUnavailable
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


def test_during_a_pause_neither_kms_nor_the_provider_is_asked(
    world: Refreshing, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause(world)
    world.ctx.clock.advance(1)
    monkeypatch.setattr(world.ctx.vault, "warm", lambda *_place: pytest.fail("no key is needed"))
    asked = (world.ctx.kms.generated, world.ctx.kms.unwrapped)
    outcome = engine.refresh(world.ctx, world.secret())
    assert (outcome.state, outcome.secret) == ("paused", world.secret())
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


@pytest.mark.parametrize("gone", [(integrations, "by_id"), (providers, "find")])
def test_a_refresh_whose_integration_or_entry_is_gone_asks_nobody_and_says_so(
    world: Refreshing, monkeypatch: pytest.MonkeyPatch, gone: tuple[Any, str]
) -> None:
    monkeypatch.setattr(*gone, lambda *_place: None)
    assert engine.refresh(world.ctx, world.secret()).state == "failed"
    secret = world.secret()
    assert secret.failure is not None
    assert (secret.failure.kind, secret.failure.code) == ("configuration", "integration_missing")
    assert secret.lease_until is None
    assert world.provider.requests == []


def test_a_refresh_whose_integration_does_not_open_asks_nobody_and_says_so(
    world: Refreshing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_parts: Any) -> Any:
        raise VaultError("of another key")

    with monkeypatch.context() as patch:
        patch.setattr(Integration, "secrets", closed)
        assert engine.refresh(world.ctx, world.secret()).state == "failed"
    secret = world.secret()
    assert secret.failure is not None
    assert (secret.failure.kind, secret.failure.code) == ("configuration", "integration_unreadable")
    assert not secret.failure.doubt
    assert secret.lease_until is None
    assert world.provider.requests == []


def test_without_a_refresh_token_nobody_is_asked_and_the_grant_is_over(world: Refreshing) -> None:
    alone = Sealed(Secret({"type": "OAUTH2", "access_token": "x"}), Secret({}))
    secret = world.secret().resealed(world.ctx.vault, alone)
    world.ctx.store.put(Put(secret.key, secret.as_item()))
    assert engine.refresh(world.ctx, world.secret()).state == "failed"
    failure = world.secret().failure
    assert failure is not None
    assert (failure.kind, failure.code) == ("terminal", "no_refresh_token")
    assert world.provider.requests == []


@pytest.mark.parametrize("error", [VaultUnavailable("away"), StoreUnavailable("away")])
def test_what_is_missing_before_anything_is_sent_passes_by_itself(
    world: Refreshing, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def away(*_parts: Any) -> Any:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(type(mode_of("OAUTH2")), "renew", away)
        assert engine.refresh(world.ctx, world.secret()).state == "failed"
    secret = world.secret()
    assert secret.failure is not None
    assert (secret.failure.kind, secret.failure.code) == ("transient", "unavailable")
    assert secret.failure.description == type(error).__name__
    assert not secret.failure.doubt, "nothing was sent, so nothing can be used up"
    assert secret.lease_until is None, "who comes next need not wait"
    world.ctx.clock.advance(60)
    assert world.token() == "at-1"


def test_a_refresh_token_that_dies_unused_is_used_before(world: Refreshing) -> None:
    kept = {**DEFINITION, "refresh_token_life_days": 30}
    assert world.app.put("/providers/rotating", kept).status == 200
    world.ctx.clock.advance(61)  # entries are remembered for a while
    world.provider.life = None
    assert engine.refresh(world.ctx, world.secret()).state == "refreshed"
    secret = world.secret()
    assert secret.expires_at is None
    assert secret.due_at == secret.issued_at + 24 * 86_400_000


def test_what_is_not_due_is_not_made_due_by_putting_it_off(world: Refreshing) -> None:
    world.ctx.store.update(Update(world.secret().key, remove=("due_at", "due_shard")))
    worker._put_off(world.ctx, world.secret(), int(world.ctx.clock.now() * 1000))
    assert world.secret().due_at is None
