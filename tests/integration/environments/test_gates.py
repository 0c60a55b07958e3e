"""Gates are shut in one step, also where too many are writing for one transaction."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest

from keystow.environments import removal
from keystow.errors import ApiError
from keystow.integrations import removal as integration_removal
from keystow.store import Key, Put, StoreUnavailable, Update, gates, tables
from tests.integration.environments.erasing import Crowded, Erasing, LateIndexes
from tests.integration.environments.test_removals import Account

REQUESTS = ("get", "query", "put", "update", "delete", "transact")


class Counted:
    """A store that counts what it is asked."""

    def __init__(self, inner: Any) -> None:
        self.asked = Counter[str]()
        self._inner = inner
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name in REQUESTS:
            with self._lock:
                self.asked[name] += 1
        return found


def counted(account: Account, path: str, key: str | None = None) -> Counter[str]:
    """Delete something; return what the store was asked."""
    store = account.ctx.store
    account.ctx.store = Counted(store)
    answer = account.app.delete(path, **({"key": key} if key else {}))
    assert answer.status in {200, 204}, answer.body
    asked, account.ctx.store = account.ctx.store.asked, store
    return Counter(asked)


def shut(account: Account, integration: str) -> list[str]:
    prefix = f"closed#{integration}#"
    return [row["sk"] for row in account.rows(tables.REGISTRY) if row["sk"].startswith(prefix)]


def stored_late(store: Any, integration: str) -> Key:
    """Store a connection as a writer does that has looked at everything but the gates before."""
    late = tables.connection("env1", integration, "late")
    row = {"environment": "env1", "integration": f"env1#{integration}", "created": "9"}
    write = [Put(late, row)]
    gates.transact(store, write, environment="env1", integration=integration, spread="late")
    return late


def mark(account: Account) -> dict[str, Any]:
    (sk,) = account.marks()
    (row,) = (each for each in account.rows(tables.REGISTRY) if each["sk"] == sk)
    return row


def test_deleting_an_integration_takes_few_requests_and_no_more_of_them_after_many_others() -> None:
    account = Account()
    for number in range(40):
        account.integration(f"k{number}")
    first = counted(account, "/integrations/k0")
    assert (sum(first.values()), first["transact"]) == (13, 1)
    for number in range(1, 30):
        counted(account, f"/integrations/k{number}")
    account.ctx.clock.advance(integration_removal.SETTLED_MS / 1000 + 1)
    account.app.get("/integrations")  # the API key is looked up again
    # Two looks and a deletion for each of the others that a call takes on.
    later = counted(account, "/integrations/k30")
    assert sum(later.values()) <= sum(first.values()) + 3 * integration_removal.OTHERS_A_CALL


def test_deleting_an_environment_shuts_it_in_one_request() -> None:
    account = Account()
    number = account.environment("staging")
    asked = counted(account, f"/environments/{number}", account.account)
    assert asked["put"] == 0
    assert asked["transact"] == 2, "shut; its item and name"


def test_calls_at_one_moment_take_on_different_ones_of_what_others_have_left() -> None:
    account = Account()
    marks: list[dict[str, Any]] = [{"sk": f"m{number:03}"} for number in range(100)]
    taken = [integration_removal._some(account.ctx, marks) for _ in range(20)]
    assert {len(each) for each in taken} == {integration_removal.OTHERS_A_CALL}
    assert len({each[0]["sk"] for each in taken}) > 10
    assert len({each["sk"] for some in taken for each in some}) > 60


def test_an_integration_that_is_in_much_use_is_shut_gate_by_gate() -> None:
    account = Account()
    account.integration("k", 3)
    account.ctx.store = crowded = Crowded(account.ctx.store)
    assert account.app.delete("/integrations/k").status == 200
    assert (crowded.refused, account.rows()) == (1, [])
    row = mark(account)
    assert "open" not in row
    assert len(shut(account, row["sk"].removeprefix("removed_integration#"))) == gates.GATES


def test_an_integration_whose_deletion_was_killed_before_its_gates_shut_takes_nothing_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was stored in the last moment before they are shut goes with the look after that."""
    account = Account(LateIndexes)
    account.integration("k")
    account.ctx.store = Crowded(account.ctx.store)

    def killed(*_: Any) -> None:
        raise StoreUnavailable("killed")

    monkeypatch.setattr(gates, "shut_one_by_one", killed)
    assert account.app.delete("/integrations/k").status == 503
    assert mark(account)["open"] is True
    monkeypatch.undo()

    account.ctx.clock.advance(integration_removal.SETTLED_MS / 1000 + 1)
    place = mark(account)["sk"].removeprefix("removed_integration#")
    late = stored_late(account.ctx.store, place)
    account.finish()
    assert len(shut(account, place)) == gates.GATES
    assert [each["pk"] for each in account.rows()] == [late.pk], "the index does not show it yet"
    assert len(account.marks()) == 1

    account.ctx.clock.advance(integration_removal.SETTLED_MS / 1000 + 1)
    account.finish()
    assert account.rows() == []
    assert account.marks() == []


def test_an_environment_that_is_in_much_use_is_shut_gate_by_gate() -> None:
    world = Erasing()
    world.ctx.store = crowded = Crowded(world.ctx.store)
    assert world.shred()
    assert crowded.refused == 1
    assert gates.environment_shut_at(world.ctx.store, world.environment.id) is not None


def test_an_environment_is_looked_at_once_more_only_when_all_gates_have_been_shut_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The time counts from the last gate, not from the mark: writers came through until then."""
    world = Erasing(LateIndexes)
    world.ctx.store = Crowded(world.ctx.store)
    one_by_one = gates.shut_one_by_one

    def slowly(*given: Any) -> None:
        world.ctx.clock.advance(removal.SETTLED_SECONDS * 2)
        stored_late(world.ctx.store, "any")
        one_by_one(*given)

    monkeypatch.setattr(gates, "shut_one_by_one", slowly)
    assert world.shred()
    assert world.rows(tables.CONNECTIONS) == []


def test_a_repeated_call_neither_shuts_gates_again_nor_waits_again() -> None:
    world = Erasing()
    for number in range(150):
        world.import_one(f"c{number}")
    assert not world.shred(batches=0)
    world.ctx.clock.advance(removal.SETTLED_SECONDS)
    store = world.ctx.store
    world.ctx.store = Counted(store)
    before = world.ctx.clock.now()
    assert world.shred()
    assert world.ctx.store.asked["put"] == 0
    assert world.ctx.clock.now() == before


def test_a_production_environment_or_none_is_not_shut() -> None:
    world = Erasing()
    world.ctx.store.update(Update(world.environment.key, set={"is_production": True}))
    with pytest.raises(ApiError, match="no such environment"):
        removal.shred(world.ctx, world.environment)
    assert gates.environment_shut_at(world.ctx.store, world.environment.id) is None
