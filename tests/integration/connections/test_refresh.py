"""Keeping tokens fresh, whatever providers, networks and tables do."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import Any

import pytest

from keystow.clock import SystemClock, iso
from keystow.context import Context
from keystow.egress.client import Answer
from keystow.modes.base import Renewed
from keystow.records.connection import Sealed, StoredSecret
from keystow.refresh import commit, engine, journal, lease, sweep, worker
from keystow.secret import Secret
from keystow.store import StoreUnavailable, TransactionConflict, tables
from keystow.value import replace
from keystow.vault import Purpose, VaultError
from keystow.vault.kms import KmsError
from tests.app import App
from tests.authorization_server import (
    DEFINITION,
    AuthorizationServer,
    answer,
    lost,
    unreachable,
)
from tests.support import Seeded, make_context, run_in_parallel, seed_environment

READ = "/connections/c1?provider_config_key=rot&refresh_token=true"


@dataclass
class World:
    """One connection at one provider."""

    ctx: Any
    app: App
    provider: AuthorizationServer
    seeded: Seeded

    def read(self, query: str = "") -> Any:
        return self.app.get(READ + query)

    def secret(self) -> StoredSecret:
        page = self.ctx.store.query(tables.CONNECTIONS, self.pk, prefix=tables.CONNECTION_SECRET)
        return StoredSecret.from_item(page.items[0])

    @property
    def pk(self) -> str:
        items = self.ctx.store.everything()[tables.CONNECTIONS]
        return str(next(item["pk"] for item in items if item["sk"] == tables.CONNECTION))

    def token(self) -> str:
        return str(self.read().json()["credentials"]["access_token"])

    def events(self) -> list[dict[str, Any]]:
        return [
            item
            for item in self.ctx.store.everything()[tables.EVENTS]
            if item["sk"] == "event" and '"operation":"refresh"' in item["body"]
        ]

    def work(self) -> list[str]:
        messages = self.ctx.queues.take_refreshes()
        return worker.handle(
            self.ctx,
            [(str(n), json.dumps(body)) for n, (body, _) in enumerate(messages)],
        )


def make_world(*, expires_in: float = -60, clock: Any = None) -> World:
    provider = AuthorizationServer()
    ctx: Any = make_context(egress=provider, clock=clock)
    seeded = seed_environment(ctx)
    app = App(ctx, seeded.secret_key)
    assert app.put("/providers/rotating", DEFINITION).status == 201
    credentials = {"type": "OAUTH2", "client_id": "id", "client_secret": "app-secret"}
    made = app.post(
        "/integrations",
        {"provider": "rotating", "unique_key": "rot", "credentials": credentials},
    )
    assert made.status == 200, made.body
    imported = app.post(
        "/connections",
        {
            "provider_config_key": "rot",
            "connection_id": "c1",
            "credentials": {
                "type": "OAUTH2",
                "access_token": "at-0",
                "refresh_token": "rt-0",
                "expires_at": iso(ctx.clock.now() + expires_in),
            },
        },
    )
    assert imported.status == 201, imported.body
    return World(ctx, app, provider, seeded)


@pytest.fixture
def world() -> World:
    return make_world()


def test_an_expired_token_is_renewed_by_the_read_that_finds_it(world: World) -> None:
    found = world.read()
    assert found.status == 200
    assert found.json()["credentials"]["access_token"] == "at-1"
    assert found.json()["credentials"]["refresh_token"] == "rt-1"
    assert found.json()["errors"] == []
    assert [each["grant_type"] for each in world.provider.requests] == ["refresh_token"]
    assert world.token() == "at-1"
    assert len(world.provider.requests) == 1


def test_a_token_with_more_than_a_minute_left_is_served_as_it_is() -> None:
    world = make_world(expires_in=61)
    assert world.token() == "at-0"
    assert world.provider.requests == []


def test_a_token_with_less_than_a_minute_left_is_renewed_first() -> None:
    world = make_world(expires_in=59)
    assert world.token() == "at-1"


def test_fifty_readers_of_an_expired_token_make_one_refresh() -> None:
    world = make_world(clock=SystemClock())  # fifty waiters would push a stopped one past the lease
    answers = run_in_parallel(50, lambda _place: world.read())
    assert {each.status for each in answers} == {200}
    assert {each.json()["credentials"]["access_token"] for each in answers} == {"at-1"}
    assert len(world.provider.requests) == 1
    assert world.provider.most_in_flight == 1


def test_a_valid_token_is_served_while_the_provider_is_down() -> None:
    world = make_world(expires_in=30)
    world.provider.fault = lambda _n: answer(503, {"error": "down"})
    for _round in range(3):
        found = world.read()
        assert found.status == 200
        assert found.json()["credentials"]["access_token"] == "at-0"
        assert [each["type"] for each in found.json()["errors"]] == ["auth"]
    assert len(world.provider.requests) == 1, "the backoff is respected"
    assert world.events() == [], "nothing is broken as long as the token is good"


def test_a_failed_refresh_of_an_expired_token_tells_the_error_once_and_then_backs_off(
    world: World,
) -> None:
    world.provider.fault = lambda _n: answer(503, {"error": "down"})
    first, second = world.read(), world.read()
    assert (first.status, first.code) == (400, "invalid_credentials")
    assert (second.status, second.code) == (424, "invalid_credentials")
    shown = second.json()["error"]["payload"]["connection"]
    assert shown["credentials"] == {}
    assert [each["type"] for each in shown["errors"]] == ["auth"]
    assert len(world.provider.requests) == 1
    assert len(world.events()) == 1


def test_transient_failures_never_end_and_a_recovery_is_told(world: World) -> None:
    world.provider.fault = lambda _n: answer(500, {})
    for _round in range(30):
        world.read()
        world.ctx.clock.advance(7 * 3600)
    assert len(world.provider.requests) == 30
    assert len(world.events()) == 1, "one event for one outage"
    world.provider.fault = None
    assert world.token() == "at-1"
    assert world.read().json()["errors"] == []
    bodies = [each["body"] for each in world.events()]
    assert sum('"success":true' in body for body in bodies) == 1


def test_an_invalid_grant_ends_the_attempts_until_the_account_is_connected_again(
    world: World,
) -> None:
    world.provider.family_dead = True
    assert (world.read().status, world.read().status) == (400, 424)
    world.ctx.clock.advance(30 * 86_400)
    assert world.read().status == 424
    assert sweep.sweep(world.ctx) == 0
    assert len(world.provider.requests) == 1
    assert len(world.events()) == 1


def test_a_lost_answer_does_not_burn_the_refresh_token(world: World) -> None:
    world.provider.fault_after = lambda n: lost(n) if n == 1 else None
    first = world.read()
    assert (first.status, first.code) == (503, "refresh_in_progress")
    assert int(first.headers["retry-after"]) <= 65
    for _round in range(5):
        assert world.read().status == 503
        world.ctx.clock.advance(10)
    assert len(world.provider.requests) == 1, "the old token is not used while its fate is unknown"
    world.ctx.clock.advance(60)
    after = world.read()
    assert (after.status, after.code) == (400, "invalid_credentials")
    assert len(world.provider.requests) == 2
    assert [each["type"] for each in after.json()["error"]["payload"]["connection"]["errors"]]


def test_a_request_that_never_left_is_not_a_lost_answer(world: World) -> None:
    world.provider.fault = lambda n: unreachable(n) if n == 1 else None
    assert world.read().status == 400
    world.ctx.clock.advance(40)
    assert world.token() == "at-1"


def test_a_killed_worker_is_followed_after_the_lease(world: World) -> None:
    claimed = lease.claim(world.ctx, world.secret(), forced=False)
    assert isinstance(claimed, lease.Claimed)
    assert world.read().status == 503
    world.ctx.clock.advance(66)
    assert world.token() == "at-1"


def test_a_reader_that_has_waited_begins_no_exchange_that_could_be_cut_off(
    world: World,
) -> None:
    claimed = lease.claim(world.ctx, world.secret(), forced=False)
    assert isinstance(claimed, lease.Claimed)
    world.ctx.clock.advance(50)  # the lease runs out while the reader waits
    found = world.read()
    assert (found.status, found.code) == (503, "refresh_in_progress")
    assert world.provider.requests == []
    assert world.token() == "at-1"


def test_a_worker_begins_nothing_when_its_time_is_nearly_over(world: World) -> None:
    body = {"refresh": [{"pk": world.pk, "generation": world.secret().generation}]}
    late = world.ctx.clock.now() - 1
    assert worker.handle(world.ctx, [("m", json.dumps(body))], late) == ["m"]
    assert world.provider.requests == []


def test_a_late_worker_cannot_overwrite_and_its_token_is_kept_in_the_journal(
    world: World,
) -> None:
    late = lease.claim(world.ctx, world.secret(), forced=False)
    assert isinstance(late, lease.Claimed)
    world.ctx.clock.advance(70)
    assert world.token() == "at-1"
    attempt = engine._Attempt(world.ctx, late.secret, None, None, None)
    sealed = Sealed(
        Secret({"type": "OAUTH2", "access_token": "late", "refresh_token": "rt-late"}), Secret({})
    )
    outcome = attempt.succeeded(Renewed(sealed, None))
    assert outcome.state == "changed"
    assert world.token() == "at-1"
    parked = journal.latest(world.ctx, world.secret())
    assert parked is not None
    assert parked.sealed.credentials.reveal()["refresh_token"] == "rt-late"
    journal.mark_used(world.ctx, parked)
    assert journal.latest(world.ctx, world.secret()) is None, "each is tried once"


def test_a_parked_token_saves_a_connection_whose_stored_token_is_refused(world: World) -> None:
    world.provider._current = "rt-parked"
    parked = {"type": "OAUTH2", "access_token": "x", "refresh_token": "rt-parked"}
    journal.park(world.ctx, world.secret(), Sealed(Secret(parked), Secret({})))
    seen: list[str] = []

    def only_parked_is_known(_n: int) -> Any:
        form = world.provider.requests[-1]
        seen.append(form["refresh_token"])
        return answer(400, {"error": "invalid_grant"}) if form["refresh_token"] == "rt-0" else None

    world.provider.fault = only_parked_is_known
    assert world.token() == "at-1"
    assert seen == ["rt-0", "rt-parked"]
    assert world.events() == []


def test_a_delete_during_a_refresh_stays_deleted_and_the_new_token_is_revoked(
    world: World,
) -> None:
    def delete(_n: int) -> None:
        assert world.app.delete("/connections/c1?provider_config_key=rot").status == 200

    world.provider.fault_after = delete
    assert world.read().status == 404
    assert world.read().status == 404
    connections = world.ctx.store.everything()[tables.CONNECTIONS]
    assert connections == []
    assert "rt-1" in world.provider.revoked


def test_an_authorization_during_a_refresh_wins_and_the_late_token_is_dropped(
    world: World,
) -> None:
    fresh = {
        "type": "OAUTH2",
        "access_token": "at-new",
        "refresh_token": "rt-new",
        "expires_at": iso(world.ctx.clock.now() + 3600),
    }

    def reimport(_n: int) -> None:
        body = {"provider_config_key": "rot", "connection_id": "c1", "credentials": fresh}
        assert world.app.post("/connections", body).status == 201

    world.provider.fault_after = reimport
    assert world.token() == "at-new"
    assert world.token() == "at-new"
    assert world.provider.revoked == [], "the new grant must not be put at risk"


def test_a_commit_that_the_table_refuses_travels_on_the_queue(world: World) -> None:
    store = world.ctx.store
    real = store.put
    down = True

    def put(operation: Any) -> None:
        if down and operation.key.sk == tables.CONNECTION_SECRET:
            raise StoreUnavailable("throttled")
        real(operation)

    store.put = put
    assert world.token() == "at-1", "the caller is served"
    (message,) = world.ctx.queues.refresh
    assert "at-1" not in str(message)
    assert "rt-1" not in str(message)
    for _round in range(10):
        assert world.work() == []
        ((again, _delay),) = world.ctx.queues.refresh
        assert again == message[0], "it comes again as long as the table is away"
    down = False
    assert world.work() == []
    assert world.token() == "at-1"
    assert len(world.provider.requests) == 1


def test_a_commit_that_comes_late_heals_a_connection_declared_dead_meanwhile(
    world: World,
) -> None:
    store = world.ctx.store
    real = store.put
    down = True

    def put(operation: Any) -> None:
        if down and operation.key.sk == tables.CONNECTION_SECRET:
            raise StoreUnavailable("throttled")
        real(operation)

    store.put = put
    assert world.token() == "at-1"
    down = False
    world.ctx.clock.advance(70)  # the lease is over, the message is still hidden
    assert world.read().status == 400, "the spent token was refused"
    assert world.secret().failure is not None
    assert world.work() == []
    assert world.token() == "at-1"
    assert world.read().json()["errors"] == []


def test_a_commit_that_comes_while_another_refresher_is_at_it_waits_for_it(world: World) -> None:
    before = world.secret()
    mine = lease.claim(world.ctx, before, forced=False)
    assert isinstance(mine, lease.Claimed)
    renewed = Sealed(
        Secret({"type": "OAUTH2", "access_token": "at-x", "refresh_token": "rt-x"}), Secret({})
    )
    after = replace(
        mine.secret, version=2, lease_until=None, write_id="w", expires_at=None
    ).resealed(world.ctx.vault, renewed)
    world.ctx.clock.advance(70)
    other = lease.claim(world.ctx, world.secret(), forced=False)
    assert isinstance(other, lease.Claimed)
    with pytest.raises(TransactionConflict):
        commit.store_again(world.ctx, mine.secret, after)
    parked = journal.latest(world.ctx, world.secret())
    assert parked is not None, "the other one finds it should its own be refused"
    world.ctx.clock.advance(70)
    assert commit.store_again(world.ctx, mine.secret, after).state == "stored"
    assert world.token() == "at-x"


def test_a_commit_whose_answer_was_lost_is_recognized_as_ones_own(world: World) -> None:
    store = world.ctx.store
    real = store.put

    def put_twice(operation: Any) -> None:
        real(operation)
        if operation.key.sk == tables.CONNECTION_SECRET:
            real(operation)  # what the client does when the first answer got lost

    store.put = put_twice
    assert world.token() == "at-1"
    assert world.secret().version == 2
    assert journal.latest(world.ctx, world.secret()) is None


def test_a_claim_whose_answer_was_lost_is_recognized_as_ones_own(world: World) -> None:
    store = world.ctx.store
    real = store.update

    def update_twice(operation: Any) -> Any:
        real(operation)
        return real(operation)

    store.update = update_twice
    assert isinstance(lease.claim(world.ctx, world.secret(), forced=False), lease.Claimed)


def test_kms_away_before_the_request_leaves_the_refresh_token_unused(world: World) -> None:
    world.ctx.clock.advance(400)  # nothing cached any more
    world.ctx.kms.failure = KmsError("ThrottlingException")
    found = world.read()
    assert (found.status, found.code) == (503, "temporarily_unavailable")
    assert world.provider.requests == []


def test_an_integration_whose_secret_does_not_open_does_not_hold_the_lease(world: World) -> None:
    real = world.ctx.vault.open

    def refusing(purpose: Any, *place: Any) -> bytes:
        if purpose == Purpose.INTEGRATION:
            raise VaultError("broken")
        return real(purpose, *place)

    world.ctx.vault.open = refusing
    assert world.read().status == 400
    assert world.secret().lease_until is None
    assert world.provider.requests == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"access_token":"at-1","refresh_token":"rt-1","expires_in":3600,"team":"caf\\ud83d"}',
        b'{"access_token":"at-1","refresh_token":"rt-1","expires_in":3600,"n":1e400}',
    ],
)
def test_odd_company_does_not_cost_a_token(world: World, body: bytes) -> None:
    world.provider.fault_after = lambda _n: Answer(200, {"content-type": "application/json"}, body)
    assert world.token() == "at-1"


def test_a_token_that_comes_with_too_much_is_stored_without_the_rest(world: World) -> None:
    noise = "".join(secrets.token_hex(32) for _ in range(10_000))
    world.provider.extra = {"profile": noise}
    assert world.token() == "at-1"
    assert world.read().json()["credentials"]["raw"] == {}
    assert world.token() == "at-1"


def test_a_parked_token_is_not_given_up_because_the_provider_was_down(world: World) -> None:
    parked = {"type": "OAUTH2", "access_token": "x", "refresh_token": "rt-parked"}
    journal.park(world.ctx, world.secret(), Sealed(Secret(parked), Secret({})))
    world.provider._current = "rt-parked"
    down = True

    def fault(_n: int) -> Any:
        if world.provider.requests[-1]["refresh_token"] == "rt-0":
            return answer(400, {"error": "invalid_grant"})
        return answer(503, {}) if down else None

    world.provider.fault = fault
    assert world.read().status == 400
    world.ctx.clock.advance(60)
    down = False
    assert world.token() == "at-1"


def test_a_corrected_integration_is_tried_at_once(world: World) -> None:
    world.provider.fault = lambda _n: answer(401, {"error": "invalid_client"})
    assert (world.read().status, world.read().status) == (400, 424)
    world.provider.fault = None
    credentials = {"type": "OAUTH2", "client_id": "id", "client_secret": "right"}
    assert world.app.patch("/integrations/rot", {"credentials": credentials}).status == 200
    world.ctx.clock.advance(31)  # integrations are remembered for 30 s
    assert world.token() == "at-1"


def test_a_valid_token_is_served_while_kms_or_the_table_refuses() -> None:
    world = make_world(expires_in=30)
    world.ctx.store.update = _unavailable
    assert world.token() == "at-0"


def _unavailable(_operation: Any) -> Any:
    raise StoreUnavailable("throttled")


def test_tokens_that_live_a_minute_are_not_renewed_by_each_read() -> None:
    world = make_world()
    world.provider.life = 60
    for _round in range(5):
        assert world.token() == "at-1"
    assert len(world.provider.requests) == 1


def test_an_expiry_in_the_past_is_taken_for_not_known(world: World) -> None:
    world.provider.life = None
    world.provider.extra = {"expires_at": 1_000_000_000}
    for _round in range(5):
        assert world.token() == "at-1"
    assert len(world.provider.requests) == 1


def test_a_forced_refresh_renews_a_valid_token_but_not_twice_in_ten_seconds() -> None:
    world = make_world(expires_in=7200)
    assert world.read("&force_refresh=true").json()["credentials"]["access_token"] == "at-1"
    assert world.read("&force_refresh=true").json()["credentials"]["access_token"] == "at-1"
    world.ctx.clock.advance(11)
    assert world.read("&force_refresh=true").json()["credentials"]["access_token"] == "at-2"


def test_a_forced_refresh_that_fails_says_so_though_the_token_is_valid() -> None:
    world = make_world(expires_in=7200)
    world.provider.fault = lambda _n: answer(503, {})
    assert world.read("&force_refresh=true").status == 400
    assert world.read("&force_refresh=true").status == 424
    assert len(world.provider.requests) == 1
    assert world.token() == "at-0", "a plain read still gets it"


def test_without_a_refresh_token_an_expired_token_is_served_as_it_is() -> None:
    world = make_world()
    body = {
        "provider_config_key": "rot",
        "connection_id": "c1",
        "credentials": {
            "type": "OAUTH2",
            "access_token": "alone",
            "expires_at": iso(world.ctx.clock.now() - 60),
        },
    }
    assert world.app.post("/connections", body).status == 201
    assert world.token() == "alone"
    assert world.read("&force_refresh=true").status == 200
    assert world.provider.requests == []


def test_an_answer_without_refresh_token_keeps_the_old_one(world: World) -> None:
    world.provider.extra = {"refresh_token": ""}
    found = world.read().json()["credentials"]
    assert found["access_token"] == "at-1"
    assert found["refresh_token"] == "rt-0"


def test_a_throttled_provider_is_given_the_time_it_asks_for(world: World) -> None:
    world.provider.fault = lambda n: answer(429, {}, {"retry-after": "3600"}) if n == 1 else None
    assert world.read().status == 400
    world.ctx.clock.advance(3500)
    assert world.read().status == 424
    world.ctx.clock.advance(120)
    assert world.token() == "at-1"


def test_the_sweep_queues_what_is_due_once_and_the_worker_refreshes_it() -> None:
    world = make_world(expires_in=3600)
    assert sweep.sweep(world.ctx) == 0
    world.ctx.clock.advance(0.75 * 3600)
    assert sweep.sweep(world.ctx) == 1
    assert sweep.sweep(world.ctx) == 0, "it is on the queue already"
    message = list(world.ctx.queues.refresh)
    assert world.work() == []
    world.ctx.queues.refresh.extend(message)
    assert world.work() == [], "a duplicate does no harm"
    assert len(world.provider.requests) == 1
    assert world.token() == "at-1"


def test_a_queue_message_that_got_lost_comes_due_again() -> None:
    world = make_world(expires_in=3600)
    world.ctx.clock.advance(0.75 * 3600)
    assert sweep.sweep(world.ctx) == 1
    world.ctx.queues.take_refreshes()
    world.ctx.clock.advance(11 * 60)
    assert sweep.sweep(world.ctx) == 1


def test_unreadable_messages_go_to_the_dead_letter_queue_and_stop_nobody(world: World) -> None:
    good = {"refresh": [{"pk": world.pk, "generation": world.secret().generation}]}
    bodies = [("bad", "{"), ("odd", "[1]"), ("good", json.dumps(good))]
    assert worker.handle(world.ctx, bodies) == ["bad", "odd"]
    assert world.provider.issued == 1


def test_a_sealed_commit_survives_the_queue_unchanged(world: World) -> None:
    before = world.secret()
    commit.send_to_queue(world.ctx, before, before)
    ((body, _delay),) = world.ctx.queues.take_refreshes()
    again, after = commit.from_queue(json.loads(json.dumps(body))["commit"])
    assert after == before
    assert again == before
    assert isinstance(world.ctx, Context)
