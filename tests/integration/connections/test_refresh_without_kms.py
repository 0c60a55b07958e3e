"""KMS may stop answering at any moment of a refresh; a token that was rotated is kept all the same.

The data key for the answer is had before the lease is taken and anything is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from keystow.records.connection import Sealed
from keystow.refresh import commit, engine, journal
from keystow.secret import Secret
from keystow.value import replace
from keystow.vault import Purpose, VaultUnavailable
from keystow.vault.kms import KmsError
from tests.integration.connections.world import Refreshing

if TYPE_CHECKING:
    from keystow.egress.client import Answer

AWAY = KmsError("ThrottlingException")
MONTH = 31 * 86_400


def kms_fails_during_the_exchange(world: Refreshing, seconds: float = 15) -> None:
    """Let the answer take its time, and KMS be away when it comes."""

    def late(_number: int) -> Answer | None:
        world.ctx.clock.advance(seconds)
        world.ctx.kms.failure = AWAY
        return None

    world.provider.fault_after = late


def kept(world: Refreshing) -> bool:
    """Return whether the rotated token is the one that is stored."""
    world.ctx.kms.failure = None
    sealed = world.secret().unseal(world.ctx.vault)
    return str(sealed.credentials.reveal()["refresh_token"]) == "rt-1"


def test_a_token_rotated_in_a_month_without_a_data_key_yet_is_kept_when_kms_then_fails() -> None:
    world = Refreshing()
    world.ctx.clock.advance(2 * MONTH)
    kms_fails_during_the_exchange(world)
    assert world.token() == "at-1"
    assert kept(world)


@pytest.mark.parametrize("left", [1, 14, 20, 89])
def test_a_data_key_about_to_be_forgotten_is_had_anew_before_the_exchange(left: int) -> None:
    world = Refreshing()
    world.ctx.clock.advance(400)
    world.ctx.vault.warm(Purpose.CREDENTIAL, world.environment)
    world.ctx.clock.advance(300 - left)
    kms_fails_during_the_exchange(world, seconds=50)
    assert world.token() == "at-1"
    assert kept(world)


@pytest.mark.parametrize("months", [1, 2])
def test_without_a_data_key_for_the_answer_nothing_is_sent_and_no_lease_is_taken(
    monkeypatch: pytest.MonkeyPatch, months: int
) -> None:
    world = Refreshing()
    world.ctx.clock.advance(months * MONTH)

    def away(_context: Any) -> Any:
        raise AWAY

    monkeypatch.setattr(world.ctx.kms, "generate", away)
    before = world.secret()
    found = world.read()
    assert (found.status, found.code) == (503, "temporarily_unavailable")
    assert world.provider.requests == []
    assert world.secret() == before, "no lease is left behind"
    monkeypatch.undo()
    assert world.token() == "at-1"


def test_without_the_integrations_data_key_nothing_is_sent_and_no_lease_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = Refreshing()
    world.ctx.clock.advance(400)
    real = world.ctx.kms.unwrap

    def away(wrapped: Any, context: Any) -> Any:
        if context["keystow:purpose"] == Purpose.INTEGRATION:
            raise AWAY
        return real(wrapped, context)

    monkeypatch.setattr(world.ctx.kms, "unwrap", away)
    before = world.secret()
    with pytest.raises(VaultUnavailable):
        engine.refresh(world.ctx, before)
    assert world.secret() == before, "neither a lease nor a failure"
    assert world.provider.requests == []


@pytest.mark.parametrize("left", [1, 89])
def test_a_valid_token_is_read_while_its_data_key_is_at_hand_though_kms_is_away(left: int) -> None:
    seconds = 300 - left
    world = Refreshing(expires_in=seconds + 30)
    world.ctx.clock.advance(seconds)
    world.ctx.kms.failure = AWAY
    for _ in range(2):
        assert world.token() == "at-0"
    assert world.provider.requests == []


def test_a_token_for_the_journal_goes_to_the_queue_when_kms_is_away() -> None:
    world = Refreshing()
    before = world.secret()
    assert world.token() == "at-1"
    late = Sealed(Secret({"access_token": "late", "refresh_token": "rt-late"}), Secret({}))
    after = replace(before, version=2, write_id="late").resealed(world.ctx.vault, late)
    world.ctx.clock.advance(300)
    world.ctx.kms.failure = AWAY

    assert commit.store(world.ctx, before, after).state == "queued"

    world.ctx.kms.failure = None
    assert world.work() == []
    parked = journal.latest(world.ctx, world.secret())
    assert parked is not None
    assert parked.sealed.credentials.reveal()["refresh_token"] == "rt-late"
