"""Nothing of a deleted environment opens, whoever was writing while it was deleted."""

from __future__ import annotations

from typing import Any

import pytest

from keystow.environments import removal, service
from keystow.errors import ApiError
from keystow.events import delivery
from keystow.store import Key, StoreUnavailable, gates, tables
from keystow.store.memory import MemoryStore
from keystow.vault import Purpose, VaultError
from tests.integration.environments.erasing import Crowd, Crowded, Erasing, LateIndexes, attempt

KINDS = sorted(Erasing().writers())


def left_of(world: Erasing) -> list[tuple[str, str, str]]:
    """Return what stands in the tables of the environment, but for the gates that stay shut."""
    found = []
    for table, rows in world.ctx.store.everything().items():
        for row in rows:
            of = str(row.get("environment", row["pk"])).partition("#")[0]
            if of != "env1" and "env1" not in row["pk"]:
                continue
            if not gates.is_of_environment(row["sk"]):
                found.append((table, row["pk"], row["sk"]))
    return found


def assert_nothing_opens(world: Erasing) -> None:
    rows = world.rows(tables.REGISTRY)
    assert [row for row in rows if "wrapped" in row] == []
    cold = world.cold()
    for envelope in world.envelopes():
        purpose = Purpose(envelope["k"].rpartition("-")[0])
        with pytest.raises(VaultError, match="data key"):
            cold.vault._key("env1", purpose, envelope["k"], create=False)


@pytest.mark.parametrize("kind", KINDS)
def test_a_deleting_environment_takes_nothing_new(kind: str) -> None:
    world = Erasing()
    writer = world.writers()[kind]
    assert not world.shred(0)
    before = world.ctx.store.everything()
    # What was there may change until it is removed, but nothing is added.
    places = {(t, row["pk"], row["sk"]) for t, rows in before.items() for row in rows}

    for number in range(3):
        attempt(writer, number)

    after = world.ctx.store.everything()
    found = {(t, row["pk"], row["sk"]) for t, rows in after.items() for row in rows}
    # How often somebody tried is counted, under hashes, and is over by itself.
    assert {each for each in found if not each[2].startswith("quota#")} <= places
    assert_nothing_opens(world)
    assert world.shred()


@pytest.mark.parametrize("kind", KINDS)
def test_a_deleted_environment_takes_nothing_new(kind: str) -> None:
    world = Erasing()
    writer = world.writers()[kind]
    assert world.shred()
    before = world.ctx.store.everything()

    for number in range(3):
        attempt(writer, number)

    after = world.ctx.store.everything()
    del before[tables.SESSIONS], after[tables.SESSIONS]  # an attempt is used up
    assert after == before
    assert_nothing_opens(world)


@pytest.mark.parametrize("crowded", [False, True])
def test_nothing_opens_after_a_deletion_however_many_write_all_along(crowded: bool) -> None:
    world = Erasing()
    if crowded:
        world.ctx.store = Crowded(world.ctx.store)
    crowd = Crowd(world.writers())
    crowd.write(2)
    crowd.wait()
    crowd.write(10)
    while not world.shred():
        pass
    crowd.wait()
    crowd.write(3)
    crowd.leave()

    assert crowd.faults == []
    assert_nothing_opens(world)
    uses = tables.api_key_uses("env1")
    assert [each for each in left_of(world) if each[0] != tables.SESSIONS and each[1] != uses] == []


def test_what_the_indexes_show_late_is_removed_too() -> None:
    world = Erasing(LateIndexes)
    world.ctx.clock.advance(60)
    world.import_one("in-the-last-moment")

    assert world.shred()

    assert [each for each in left_of(world) if each[0] != tables.SESSIONS] == []


def test_a_request_that_comes_between_the_last_two_steps_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = Erasing()
    writers = world.writers().values()
    remove, came = removal._remove_data_keys, []

    def late(*args: Any) -> None:
        for writer in writers:
            attempt(writer, 7)
        with pytest.raises(ApiError) as error:
            world.import_one("late")
        came.append(error.value.code)
        remove(*args)

    monkeypatch.setattr(removal, "_remove_data_keys", late)

    assert world.shred()

    assert came
    assert_nothing_opens(world)
    assert [each for each in left_of(world) if each[0] != tables.SESSIONS] == []


class _Killed(BaseException):
    """The function's time is over."""


class _KilledAfter(MemoryStore):
    """A store that lets so many writes pass, and then the function dies."""

    left: int | None = None

    def transact(self, *args: Any, **options: Any) -> None:
        if self.left is not None:
            if self.left == 0:
                self.left = None
                raise _Killed
            self.left -= 1
        super().transact(*args, **options)


def test_a_deletion_that_is_cut_off_at_any_write_is_ended_by_the_next_call() -> None:
    world, writes = Erasing(lambda _clock: _KilledAfter()), 0
    done = False
    while not done:
        world = Erasing(lambda _clock: _KilledAfter())
        world.ctx.store.left = writes
        try:
            done = world.shred()
        except _Killed:
            # The account still finds it under its number, to call again.
            again = service.by_reference(world.ctx, world.environment.number)
            assert again.id == "env1"
            assert world.shred()
        world.ctx.store.left = None
        assert_nothing_opens(world)
        assert [each for each in left_of(world) if each[0] != tables.SESSIONS] == []
        writes += 1
    assert writes > 25


def test_a_deletion_that_meets_an_outage_at_any_write_is_ended_by_the_next_call() -> None:
    class Away(_KilledAfter):
        def transact(self, *args: Any, **options: Any) -> None:
            try:
                super().transact(*args, **options)
            except _Killed:
                raise StoreUnavailable("away") from None

    for writes in range(0, 40, 3):
        world = Erasing(lambda _clock: Away())
        world.ctx.store.left = writes
        try:
            world.shred()
        except StoreUnavailable:
            assert world.shred()
        assert_nothing_opens(world)


def test_an_environment_made_under_the_name_of_a_deleted_one_shares_nothing_with_it() -> None:
    world = Erasing()
    assert not world.shred(0)
    with pytest.raises(ApiError) as error:
        service.create(world.ctx, world.environment.name, is_production=False)
    assert error.value.code == "conflict"
    assert world.shred()

    made = service.create(world.ctx, world.environment.name, is_production=False)

    assert made.id != "env1"
    assert world.ctx.vault.seal(Purpose.CREDENTIAL, made.id, ("x",), b"new")
    with pytest.raises(VaultError):
        world.cold().vault.seal(Purpose.CREDENTIAL, "env1", ("x",), b"old")


def test_what_waits_for_a_receiver_is_not_sent_once_its_environment_is_being_deleted() -> None:
    world = Erasing()
    sent = world.ctx.queues.take_webhooks()
    assert sent
    assert not world.shred(0)
    for body, _delay in sent:
        delivery.deliver(world.cold(), body["event_id"], body["endpoint"], body["attempt"])
    assert world.provider.received == []


def test_a_data_key_that_was_being_made_when_the_deletion_began_is_not_stored() -> None:
    world = Erasing()
    cold = world.cold()
    generate = cold.kms.generate

    def slow(context: Any) -> Any:
        found = generate(context)
        assert not world.shred(0)
        return found

    cold.vault._wrapper = type("Slow", (), {"generate": staticmethod(slow)})()
    world.ctx.clock.advance(31 * 86_400)

    with pytest.raises(VaultError):
        cold.vault.seal(Purpose.CREDENTIAL, "env1", ("x",), b"late")

    assert world.ctx.store.get(tables.data_key("env1", "credential-202602")) is None
    assert world.ctx.store.get(Key(tables.REGISTRY, "env1", "settings"))["deleting"] is True
