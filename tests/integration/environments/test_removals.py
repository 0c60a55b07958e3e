"""Removals finish: however many, at once or one after another, and after a killed function."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from keystow import metrics
from keystow.environments import keys, removal, service
from keystow.errors import ApiError
from keystow.integrations import removal as integration_removal
from keystow.integrations import service as integrations
from keystow.registry import integrations as registry
from keystow.store import ConditionFailed, Put, StoreUnavailable, tables
from keystow.store.operations import THERE
from tests.app import App, invoke
from tests.integration.environments.erasing import INDEX_LAG_SECONDS, Erasing, LateIndexes
from tests.support import make_context, run_in_parallel, seed_environment

MANY = 300
TIME = SimpleNamespace(get_remaining_time_in_millis=lambda: 60_000)


class Account:
    """An environment with integrations of a connection each, and the account's key."""

    def __init__(self, store: Any = None) -> None:
        self.ctx: Any = make_context()
        if store is not None:
            self.ctx = make_context(store=store(self.ctx.clock), clock=self.ctx.clock)
        self.app = App(self.ctx, seed_environment(self.ctx).secret_key)
        _key, text, writes = keys.new_key(self.ctx, keys.ACCOUNT, "account", keys.ACCOUNT_SCOPES)
        self.ctx.store.transact(list(writes))
        self.account = str(text.reveal())
        claim = {"environment": "env1", "number": 1}
        self.ctx.store.put(Put(tables.environment_name("dev"), claim))

    def integration(self, key: str, connections: int = 1) -> None:
        body = {"provider": "unauthenticated", "unique_key": key}
        assert self.app.post("/integrations", body).status == 200
        for number in range(connections):
            self.connection(key, f"{key}-c{number}")

    def connection(self, key: str, connection_id: str) -> None:
        body = {
            "provider_config_key": key,
            "connection_id": connection_id,
            "credentials": {"type": "NONE"},
        }
        assert self.app.post("/connections", body).status == 201

    def rows(self, table: str = tables.CONNECTIONS) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ctx.store.everything()[table]
        return found

    def marks(self) -> list[str]:
        rows = self.rows(tables.REGISTRY)
        return [each["sk"] for each in rows if each["sk"].startswith("removed_integration#")]

    def environment(self, name: str) -> int:
        made = self.app.post("/environments", {"name": name}, key=self.account)
        assert made.status == 200, made.body
        return int(made.json()["data"]["id"])

    def finish(self) -> Any:
        return invoke(self.ctx, "manage_environment", {}, TIME)


def test_three_hundred_integrations_can_be_deleted_one_after_another() -> None:
    account = Account()
    for number in range(MANY):
        account.integration(f"k{number}")
    answers = [account.app.delete(f"/integrations/k{number}").status for number in range(MANY)]
    assert answers == [200] * MANY
    assert account.rows() == []


def test_three_hundred_integrations_can_be_deleted_at_once() -> None:
    account = Account()
    for number in range(MANY):
        account.integration(f"k{number}")
    answers = run_in_parallel(MANY, lambda place: account.app.delete(f"/integrations/k{place}"))
    assert [each.status for each in answers] == [200] * MANY
    assert account.rows() == []


def test_three_hundred_connections_can_be_deleted_one_after_another_and_at_once() -> None:
    account = Account()
    account.integration("k", 2 * MANY)

    def delete(place: int) -> int:
        return account.app.delete(f"/connections/k-c{place}?provider_config_key=k").status

    assert [delete(place) for place in range(MANY)] == [200] * MANY
    assert run_in_parallel(MANY, lambda place: delete(MANY + place)) == [200] * MANY
    assert account.rows() == []


def test_all_environments_can_be_deleted_one_after_another_and_at_once() -> None:
    account = Account()
    for again in range(2):
        numbers = [account.environment(f"e{number}") for number in range(99)]
        assert account.app.post("/environments", {"name": "x"}, key=account.account).status == 400

        def delete(place: int, numbers: list[int] = numbers) -> int:
            path = f"/environments/{numbers[place]}"
            return account.app.delete(path, key=account.account).status

        everyone = range(len(numbers))
        found = run_in_parallel(99, delete) if again else [delete(place) for place in everyone]
        assert found == [204] * 99


def test_an_integration_goes_though_hundreds_were_deleted_before_it() -> None:
    account = Account()
    for number in range(40):
        account.integration(f"k{number}", 0)
        assert account.app.delete(f"/integrations/k{number}").status == 200
    account.integration("large", 250)
    assert account.app.delete("/integrations/large").status == 200
    assert account.rows() == []


def test_what_is_left_of_one_integration_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    account = Account()
    account.integration("large", 30)
    account.integration("small")
    monkeypatch.setattr(integration_removal, "BATCH", 2)
    large = account.app.delete("/integrations/large")
    assert (large.status, large.code) == (503, "temporarily_unavailable")
    assert account.app.delete("/integrations/small").status == 200
    assert account.app.delete("/integrations/large").status in {200, 404}
    assert account.rows() == []


def test_a_removal_leaves_to_another_call_what_that_call_may_be_at() -> None:
    account = Account()
    account.integration("at_work")
    account.integration("other")
    found = registry.by_unique_key(account.ctx, "env1", "at_work", fresh=True)
    assert found is not None
    account.ctx.store.transact(integration_removal.mark(account.ctx, "env1", found))
    assert account.app.delete("/integrations/other").status == 200
    assert {row["pk"].rpartition("#")[2] for row in account.rows()} == {"at_work-c0"}
    account.ctx.clock.advance(integration_removal.SETTLED_MS / 1000 + 1)
    account.integration("another")
    assert account.app.delete("/integrations/another").status == 200
    assert account.rows() == []


def test_marks_of_removals_do_not_pile_up() -> None:
    account = Account()
    for number in range(60):
        account.integration(f"k{number}")
        assert account.app.delete(f"/integrations/k{number}").status == 200
        account.ctx.clock.advance(30)
    assert len(account.marks()) < 6
    account.ctx.clock.advance(120)
    account.app.delete("/integrations/none")
    account.finish()
    assert account.marks() == []


def test_an_integration_that_is_made_again_keeps_its_connections() -> None:
    account = Account()
    account.integration("k")
    assert account.app.delete("/integrations/k").status == 200
    account.integration("k", 2)
    account.ctx.clock.advance(3600)
    account.integration("other")
    assert account.app.delete("/integrations/other").status == 200
    account.finish()
    assert len(account.app.get("/connections").json()["connections"]) == 2


def test_a_removal_that_was_killed_is_ended_by_the_schedule(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    account = Account()
    account.integration("k", 3)

    def killed(*_: Any) -> bool:
        raise StoreUnavailable("killed")

    monkeypatch.setattr(integration_removal, "purge", killed)
    assert account.app.delete("/integrations/k").status == 503
    number = account.environment("staging")
    monkeypatch.setattr(removal, "_remove_registry_rows", killed)
    assert account.app.delete(f"/environments/{number}", key=account.account).status == 503
    monkeypatch.undo()
    assert account.rows() != []
    account.ctx.clock.advance(integration_removal.SETTLED_MS / 1000 + 1)

    found = account.finish()
    assert (found["environments"], found["deleted"]) == (1, 1)

    assert account.rows() == []
    assert account.finish()["environments"] == 0
    gone = account.app.delete(f"/environments/{number}", key=account.account)
    assert gone.code == "not_found"


def test_a_schedule_that_fails_is_counted_as_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    account, counted = Account(), list[str]()

    def broken(*_: Any) -> Any:
        raise TypeError("a mistake of ours")

    monkeypatch.setattr(service, "claims", broken)
    monkeypatch.setattr(metrics, "count", counted.append)
    with pytest.raises(TypeError):
        account.finish()
    assert counted == [metrics.FAULTS]


def test_one_environment_that_cannot_be_ended_now_holds_up_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    account = Account()
    first, second = account.environment("a"), account.environment("b")
    listed = removal._remove_listed_rows
    refuse = ApiError("temporarily_unavailable", "more is left")

    def away(*_: Any) -> None:
        raise refuse

    monkeypatch.setattr(removal, "_remove_listed_rows", away)
    for number in (first, second):
        answer = account.app.delete(f"/environments/{number}", key=account.account)
        assert answer.status == 503
    times = iter([True, False, False])

    def once(*args: Any) -> None:
        if next(times):
            raise refuse
        listed(*args)

    monkeypatch.setattr(removal, "_remove_listed_rows", once)
    found = account.finish()
    assert (found["environments"], found["deleted"]) == (2, 1)


def test_nothing_new_is_stored_under_an_integration_that_is_being_deleted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = Erasing()
    browser, state = world.begun
    get_all = world.ctx.store.get_all
    connections = len(world.rows(tables.CONNECTIONS))

    def deleted_behind_it(keys: Any) -> Any:
        found = get_all(keys)
        monkeypatch.undo()
        integrations.delete(world.ctx, "env1", "rot")
        return found

    monkeypatch.setattr(world.ctx.store, "get_all", deleted_behind_it)

    assert world.popup.back(browser, state).status == 400

    assert connections
    assert world.rows(tables.CONNECTIONS) == []


def test_a_token_that_lost_a_race_is_not_kept_for_a_connection_that_is_gone() -> None:
    world = Erasing()
    writer = world.writers()["journal"]
    gone = world.app.delete("/connections/first?provider_config_key=rot")
    assert gone.status == 200
    writer(1)
    assert world.rows(tables.CONNECTIONS) == []


def test_a_connection_that_the_index_shows_late_goes_with_its_integration() -> None:
    account = Account(LateIndexes)
    account.integration("k")
    assert account.app.delete("/integrations/k").status == 200
    assert account.rows() != []  # stored in the last moment, not yet shown

    account.ctx.clock.advance(INDEX_LAG_SECONDS + 120)
    account.integration("other", 0)
    assert account.app.delete("/integrations/other").status == 200

    assert account.rows() == []


def test_a_mark_that_another_call_has_removed_does_not_come_back() -> None:
    account = Account()
    account.integration("k", 0)
    assert account.app.delete("/integrations/k").status == 200
    (mark,) = [each for each in account.rows(tables.REGISTRY) if each["sk"] in account.marks()]
    account.ctx.store.delete(tables.Key(tables.REGISTRY, mark["pk"], mark["sk"]))

    integration_removal._finish(account.ctx, {**mark, "left_of": "k"}, settled=False)

    assert account.marks() == []
    with pytest.raises(ConditionFailed):
        account.ctx.store.put(Put(tables.Key(tables.REGISTRY, "env1", mark["sk"]), {}, THERE))
