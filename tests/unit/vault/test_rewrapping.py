"""Data keys move to another KMS key; what they sealed stays, and stays readable."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from keystow.environments import rewrapping, service
from keystow.store import Update, tables
from keystow.vault import Purpose, Vault, VaultUnavailable
from keystow.vault.kms import KmsError, KmsKeyWrapper
from keystow.vault.vault import CACHE_SECONDS
from tests.app import function
from tests.aws_server import serving
from tests.support import make_context

BINDING = ("integration", "c1", "connection#secret", "g1", "1")
FIRST = "arn:aws:kms:us-east-1:1:key/first"
SECOND = "arn:aws:kms:us-east-1:1:key/second"
THIRD = "arn:aws:kms:us-east-1:1:key/third"
EVER = float("inf")


@pytest.fixture
def ctx() -> Any:
    made: Any = make_context()
    made.environment = service.create(made, "dev", is_production=False).id
    return made


def seal(ctx: Any, purpose: Purpose = Purpose.CREDENTIAL) -> Any:
    return ctx.vault.seal(purpose, ctx.environment, BINDING, b"secret")


def fresh(ctx: Any) -> Vault:
    """A vault that has nothing in memory."""
    return Vault(ctx.store, ctx.kms, ctx.clock, ctx.random)


def days(ctx: Any, number: int) -> list[Any]:
    """What was sealed on so many days, under as many data keys."""
    sealed = []
    for _ in range(number):
        sealed.append(seal(ctx))
        ctx.clock.advance(31 * 86_400)
    return sealed


def keys(ctx: Any) -> list[str]:
    rows = ctx.store.everything()["registry"]
    return [row["key"] for row in rows if "wrapped" in row]


def test_after_it_the_former_kms_key_is_needed_no_more(ctx: Any) -> None:
    sealed = [*days(ctx, 3), seal(ctx, Purpose.INTEGRATION)]
    ctx.kms.key_id = SECOND
    sealed.append(seal(ctx))

    result = rewrapping.rewrap(ctx, None, EVER)

    assert result["next"] is None
    assert result["refused"] == []
    assert set(keys(ctx)) == {SECOND}
    ctx.kms.disabled = {FIRST}
    purposes = [*[Purpose.CREDENTIAL] * 3, Purpose.INTEGRATION, Purpose.CREDENTIAL]
    vault = fresh(ctx)
    for purpose, envelope in zip(purposes, sealed, strict=True):
        assert vault.open(purpose, ctx.environment, BINDING, envelope) == b"secret"


def test_what_is_sealed_opens_between_the_change_of_key_and_the_rewrapping(ctx: Any) -> None:
    envelope = seal(ctx)
    ctx.kms.key_id = SECOND
    ctx.clock.advance(CACHE_SECONDS)

    opened = ctx.vault.open(Purpose.CREDENTIAL, ctx.environment, BINDING, envelope)

    assert opened == b"secret"


def test_a_call_that_runs_out_of_time_is_gone_on_with(ctx: Any) -> None:
    days(ctx, 5)
    before = len(keys(ctx))
    ctx.kms.key_id = SECOND
    real, done = ctx.kms.rewrap, []

    def slow(*args: Any) -> Any:
        done.append(args)
        ctx.clock.advance(1)
        return real(*args)

    ctx.kms.rewrap = slow
    first = rewrapping.rewrap(ctx, None, ctx.clock.now() + 2)
    second = rewrapping.rewrap(ctx, rewrapping.Position(**first["next"]), EVER)

    assert first["rewrapped"] == 2
    assert (second["rewrapped"], second["next"]) == (before - 2, None)
    assert len(done) == before


def test_a_call_of_another_environments_time_goes_on_where_that_one_stopped(ctx: Any) -> None:
    days(ctx, 2)
    service.create(ctx, "prod", is_production=True)
    before = len(keys(ctx))
    ctx.kms.key_id = SECOND
    real, position, calls = ctx.kms.rewrap, None, 0

    def slow(*args: Any) -> Any:
        ctx.clock.advance(1)
        return real(*args)

    ctx.kms.rewrap = slow
    rewrapped = 0
    while calls == 0 or position is not None:
        result = rewrapping.rewrap(ctx, position, ctx.clock.now() + 1)
        rewrapped += result["rewrapped"]
        position = rewrapping.Position(**result["next"]) if result["next"] else None
        calls += 1

    assert rewrapped == before
    assert set(keys(ctx)) == {SECOND}


def test_without_another_kms_key_all_are_wrapped_by_its_newest_material(ctx: Any) -> None:
    days(ctx, 2)

    assert rewrapping.rewrap(ctx, None, EVER)["rewrapped"] == len(keys(ctx))


def test_a_container_that_still_makes_keys_the_old_way_is_not_overlooked(ctx: Any) -> None:
    ctx.kms.key_id = SECOND
    begun = int(ctx.clock.now() * 1000)
    rewrapping.rewrap(ctx, None, EVER)
    ctx.kms.key_id = FIRST
    ctx.clock.advance(31 * 86_400)
    seal(ctx)
    ctx.kms.key_id = SECOND

    goes_on = rewrapping.Position(begun, ctx.environment, "")
    assert rewrapping.rewrap(ctx, goes_on, EVER)["rewrapped"] == 1
    assert set(keys(ctx)) == {SECOND}


def test_a_data_key_destroyed_meanwhile_stays_destroyed(ctx: Any) -> None:
    envelope = seal(ctx)
    place = tables.data_key(ctx.environment, envelope.data_key)
    before = len(keys(ctx))
    real = ctx.kms.rewrap

    def late(wrapped: Any, context: Any) -> Any:
        if context["keystow:purpose"] == Purpose.CREDENTIAL:
            ctx.store.update(Update(place, remove=("wrapped",)))
        return real(wrapped, context)

    ctx.kms.rewrap = late
    ctx.clock.advance(1)
    result = rewrapping.rewrap(ctx, None, EVER)

    assert "wrapped" not in ctx.store.get(place)
    assert result["rewrapped"] == before - 1, "the others go on"


def test_a_data_key_that_was_destroyed_before_is_passed_over(ctx: Any) -> None:
    destroyed, *_ = days(ctx, 3)
    place = tables.data_key(ctx.environment, destroyed.data_key)
    ctx.store.update(Update(place, remove=("wrapped",)))
    ctx.kms.key_id = SECOND

    result = rewrapping.rewrap(ctx, None, EVER)

    assert (result["rewrapped"], result["refused"]) == (len(keys(ctx)), [])
    assert set(keys(ctx)) == {SECOND}
    assert "wrapped" not in ctx.store.get(place)


def test_one_that_kms_does_not_take_is_asked_about_once_in_an_undertaking(ctx: Any) -> None:
    broken, *_ = days(ctx, 3)
    place = tables.data_key(ctx.environment, broken.data_key)
    ctx.store.update(Update(place, set={"wrapped": b"altered"}))
    ctx.kms.key_id = SECOND
    real = ctx.kms.rewrap

    def slow(*args: Any) -> Any:
        ctx.clock.advance(1)
        return real(*args)

    ctx.kms.rewrap = slow
    refused, position, calls = [], None, 0
    while calls == 0 or position is not None:
        result = rewrapping.rewrap(ctx, position, ctx.clock.now() + 1)
        refused += result["refused"]
        position = rewrapping.Position(**result["next"]) if result["next"] else None
        calls += 1
        assert calls < 20

    assert len(refused) == 1


def test_one_that_kms_does_not_take_is_named_and_the_others_go_on(ctx: Any) -> None:
    broken, *_ = days(ctx, 3)
    place = tables.data_key(ctx.environment, broken.data_key)
    ctx.store.update(Update(place, set={"wrapped": b"altered"}))
    ctx.kms.key_id = SECOND

    result = rewrapping.rewrap(ctx, None, EVER)

    place = f"{ctx.environment}/{broken.data_key}"
    assert result["refused"] == [f"{place}: InvalidCiphertextException"]
    assert result["next"] is None
    assert keys(ctx).count(SECOND) == len(keys(ctx)) - 1


def test_one_whose_kms_key_is_gone_does_not_hold_up_the_others(ctx: Any) -> None:
    ctx.kms.key_id = THIRD
    lost = seal(ctx, Purpose.INTEGRATION)
    ctx.kms.key_id = FIRST
    days(ctx, 2)
    ctx.kms.disabled = {THIRD}
    ctx.kms.key_id = SECOND

    result = rewrapping.rewrap(ctx, None, EVER)

    assert result["refused"] == [f"{ctx.environment}/{lost.data_key}: DisabledException"]
    assert sorted(set(keys(ctx))) == [SECOND, THIRD]


def test_kms_being_away_stops_it_before_anything_is_lost(ctx: Any) -> None:
    envelope = seal(ctx)
    ctx.clock.advance(1)
    ctx.kms.failure = KmsError("ThrottlingException")

    with pytest.raises(VaultUnavailable, match="Throttling"):
        rewrapping.rewrap(ctx, None, EVER)

    ctx.kms.failure = None
    vault = fresh(ctx)
    assert vault.open(Purpose.CREDENTIAL, ctx.environment, BINDING, envelope) == b"secret"


@pytest.mark.parametrize("event", [{"since": "7"}, {"since": 7, "environment": "e"}, {"x": 1}])
def test_an_event_that_was_never_answered_is_refused(event: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="what an earlier call answered"):
        function("rewrap_data_keys").handler(event, None)


def test_it_works_with_kms_itself() -> None:
    with serving() as aws, closing(aws.client("kms")) as client:
        looking = aws.botocore("kms")
        first, second = (looking.create_key()["KeyMetadata"]["Arn"] for _ in range(2))
        ctx: Any = make_context(kms=KmsKeyWrapper(client, first))
        ctx.environment = service.create(ctx, "dev", is_production=False).id
        envelope = seal(ctx)
        ctx.kms.key_id = second

        rewrapping.rewrap(ctx, None, EVER)

        assert set(keys(ctx)) == {second}
        vault = fresh(ctx)
        assert vault.open(Purpose.CREDENTIAL, ctx.environment, BINDING, envelope) == b"secret"
