"""An environment that is deleted while every kind of writer goes on."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from keystow.activity import log as activity
from keystow.connections import delete, importing, pending, update
from keystow.connections.requests import ImportBody, PatchBody
from keystow.connections.save import failed_event
from keystow.egress.client import Answer
from keystow.environments import issuing, keys, removal, service
from keystow.errors import ApiError
from keystow.events import delivery, endpoints, replay
from keystow.integrations import custom
from keystow.integrations import service as integrations
from keystow.integrations.requests import CreateIntegration, UpdateIntegration
from keystow.modes.failure import AuthorizationFailed
from keystow.records.connection import Failure, Sealed, StoredSecret
from keystow.refresh import commit, engine, journal, throttle, worker
from keystow.secret import Secret
from keystow.sessions import service as sessions
from keystow.sessions.requests import ReconnectBody, SessionBody
from keystow.store import (
    ConditionFailed,
    Put,
    StoreUnavailable,
    TransactionConflict,
    tables,
)
from keystow.store.memory import MemoryStore
from keystow.value import replace
from keystow.vault import Purpose, VaultError, VaultUnavailable
from tests.app import App
from tests.authorization_server import DEFINITION, AuthorizationServer
from tests.integration.authorization.popup import World as Popup
from tests.support import Sent, make_context, seed_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from keystow.store import Item, Operation, Page

# How a writer may be told that it is too late, or should try again.
REFUSALS = (
    ApiError,
    AuthorizationFailed,
    ConditionFailed,
    StoreUnavailable,
    TransactionConflict,
    VaultError,
    VaultUnavailable,
)
INDEX_LAG_SECONDS = 1.0
LATE = Sealed(Secret({"type": "OAUTH2", "access_token": "LATE"}), Secret({}))


class LateIndexes(MemoryStore):
    """A store whose indexes show what was written a second later, as DynamoDB's may."""

    def __init__(self, clock: Any) -> None:
        super().__init__()
        self._clock = clock
        self._written: dict[tuple[str, str, str], float] = {}

    def transact(self, operations: Sequence[Operation], token: str | None = None) -> None:
        super().transact(operations, token)
        for each in operations:
            place = (each.key.table, each.key.pk, each.key.sk)
            self._written.setdefault(place, self._clock.now())

    def query(self, table: str, pk: str, **query: Any) -> Page:
        page = super().query(table, pk, **query)
        if query.get("index") is None:
            return page
        before = self._clock.now() - INDEX_LAG_SECONDS
        shown = [
            item
            for item in page.items
            if self._written.get((table, item["pk"], item["sk"]), 0.0) <= before
        ]
        return replace(page, items=shown)


class Crowded:
    """A store in which a transaction of many gates always meets another writer."""

    def __init__(self, inner: Any) -> None:
        self.refused = 0
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def transact(self, operations: Sequence[Operation], token: str | None = None) -> None:
        if sum(each.key.sk.startswith("closed#") for each in operations) > 2:
            self.refused += 1
            raise TransactionConflict("crowded")
        self._inner.transact(operations, token)


class Outside(AuthorizationServer):
    """A provider that rotates tokens, and receivers of webhooks.

    ``received`` are the webhooks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.received: list[Sent] = []

    def answer_to(self, sent: Sent) -> Answer:
        if "hooks." in sent.url:
            self.received.append(sent)
            return Answer(200, {}, b"")
        if "rotating" not in sent.url:
            return Answer(200, {}, b"{}")
        return super().answer_to(sent)


class Erasing:
    """An environment with a provider, an integration and connections, about to be deleted."""

    def __init__(self, store: Callable[[Any], MemoryStore] | None = None) -> None:
        self.provider = Outside()
        self.ctx: Any = make_context(egress=self.provider)
        if store is not None:
            made = store(self.ctx.clock)
            self.ctx = make_context(egress=self.provider, store=made, clock=self.ctx.clock)
        seeded = seed_environment(self.ctx)
        self.environment = seeded.environment
        self.maker, _text, writes = keys.new_key(
            self.ctx, keys.ACCOUNT, "maker", keys.ACCOUNT_SCOPES
        )
        self.ctx.store.transact(list(writes))
        claim = {"environment": self.environment.id, "number": self.environment.number}
        for key in (
            tables.environment_name(self.environment.name),
            service.number_claim(self.environment.number),
        ):
            self.ctx.store.put(Put(key, claim))
        self.app = App(self.ctx, seeded.secret_key)
        self.popup = Popup(self.ctx, self.app, self.provider, seeded)
        assert self.app.put("/providers/rotating", DEFINITION).status == 201
        client = {"type": "OAUTH2", "client_id": "id", "client_secret": "app-secret"}
        body = {"provider": "rotating", "unique_key": "rot", "credentials": client}
        assert self.app.post("/integrations", body).status == 200
        key = {"provider": "airtable-pat", "unique_key": "pat"}
        assert self.app.post("/integrations", key).status == 200
        free = {"provider": "airtable-pat", "unique_key": "free"}
        assert self.app.post("/integrations", free).status == 200
        self.import_one("first")
        self.token = self.popup.session()
        browser = self.popup.browser()
        self.begun = (browser, self.popup.begun(browser, self.token)["state"])
        self.secret = self.stored("first")
        self.event = next(each for each in self.rows(tables.EVENTS) if "created" in each)

    def rows(self, table: str) -> list[Item]:
        found: list[Item] = self.ctx.store.everything()[table]
        return found

    def import_one(self, connection_id: str, key: str = "rot") -> None:
        credentials = {"type": "OAUTH2", "access_token": "STRICTLY-SECRET", "refresh_token": "r"}
        body = ImportBody.model_validate(
            {
                "provider_config_key": key,
                "connection_id": connection_id,
                "end_user": {"id": "u", "email": "first@example.com"},
                "credentials": credentials,
            }
        )
        importing.import_connection(self.ctx, self.environment.id, body)

    def stored(self, connection_id: str) -> StoredSecret:
        rows = self.rows(tables.CONNECTIONS)
        found = (
            StoredSecret.from_item(each)
            for each in rows
            if each["pk"].endswith(f"#{connection_id}") and each["sk"] == tables.CONNECTION_SECRET
        )
        return next(found, None) or self.secret

    def shred(self, batches: int = removal.BATCHES_A_CALL) -> bool:
        """Call for the deletion once; return whether it is done."""
        try:
            removal.shred(self.ctx, self.environment, batches)
        except ApiError as error:
            if error.code != "temporarily_unavailable":
                raise
            return False
        return True

    def cold(self) -> Any:
        """Return a context of another container: nothing is in its memory."""
        return make_context(
            store=self.ctx.store, kms=self.ctx.kms, clock=self.ctx.clock, egress=self.provider
        )

    def envelopes(self) -> list[dict[str, Any]]:
        """Return every sealed value that stands anywhere."""
        return list(_envelopes(self.ctx.store.everything()))

    def writers(self) -> Mapping[str, Callable[[int], object]]:
        """Return each kind of writer, to be called with a new number each time."""
        writers = Writers(self)
        return {name: getattr(writers, name) for name in vars(Writers) if name[0] != "_"}


class Writers:
    """Each kind of what writes in an environment."""

    def __init__(self, world: Erasing) -> None:
        self._world = world
        self._ctx = world.ctx
        self._env = world.environment.id
        self._confirmed = world.popup.session(confirm=True)

    def import_of_a_connection(self, number: int) -> None:
        self._world.import_one(f"late-{number}")

    def typed_credentials(self, _number: int) -> None:
        path = f"/api-auth/api-key/pat?connect_session_token={self._world.token}"
        _require(self._world.app.post(path, {"apiKey": "STRICTLY-SECRET"}, key=None))

    def popup(self, _number: int) -> None:
        popup = self._world.popup
        _require(popup.start(popup.browser(), self._world.token))

    def callback_of_a_popup_begun_before(self, _number: int) -> None:
        browser, state = self._world.begun
        _require(self._world.popup.back(browser, state))

    def whole_popup(self, _number: int) -> None:
        popup = self._world.popup
        browser = popup.browser()
        answer = popup.start(browser, self._world.token)
        _require(answer)
        if answer.status == 302:
            state = answer.headers["location"].split("state=")[1].split("&")[0]
            _require(popup.back(browser, state))

    def authorization_that_waits(self, _number: int) -> None:
        popup = self._world.popup
        browser = popup.browser()
        answer = popup.start(browser, self._confirmed)
        _require(answer)
        if answer.status == 302:
            state = answer.headers["location"].split("state=")[1].split("&")[0]
            _require(popup.back(browser, state))

    def confirmation(self, _number: int) -> None:
        waiting = (
            tables.split_connection_pk(row["pk"])[2]
            for row in self._world.rows(tables.CONNECTIONS)
            if row["sk"] == tables.CONNECTION_PENDING
        )
        place = next(waiting, "none")
        pending.confirm(self._ctx, self._env, "rot", place, None)

    def legacy_import(self, number: int) -> None:
        body = {
            "provider_config_key": "rot",
            "connection_id": f"legacy-{number}",
            "access_token": "STRICTLY-SECRET",
            "no_expiration": True,
        }
        _require(self._world.app.post("/connection", body))

    def telemetry(self, _number: int) -> None:
        told = {"token": self._world.token, "event": "open", "timestamp": "2026-01-01T00:00:00Z"}
        _require(self._world.app.post("/connect/telemetry", told, key=None))

    def deletion_of_a_connection(self, number: int) -> None:
        self._world.import_one(f"gone-{number}")
        delete.delete(self._ctx, self._env, "rot", f"gone-{number}")

    def session(self, _number: int) -> None:
        body = SessionBody.model_validate({"end_user": {"id": "late"}})
        sessions.create(self._ctx, self._env, body)

    def reconnect_session(self, _number: int) -> None:
        found = {"connection_id": "first", "integration_id": "rot"}
        sessions.create_reconnect(self._ctx, self._env, ReconnectBody.model_validate(found))

    def integration(self, number: int) -> None:
        client = {"type": "OAUTH2", "client_id": "i", "client_secret": "STRICTLY-SECRET"}
        body = {"provider": "rotating", "unique_key": f"k{number}", "credentials": client}
        integrations.create(self._ctx, self._env, CreateIntegration.model_validate(body))

    def change_of_an_integration(self, number: int) -> None:
        body = UpdateIntegration.model_validate({"display_name": f"n{number}"})
        integrations.update(self._ctx, self._env, "rot", body)

    def rename_of_an_integration(self, number: int) -> None:
        for key, new in (("free", f"free-{number}"), (f"free-{number}", "free")):
            body = UpdateIntegration.model_validate({"unique_key": new})
            integrations.update(self._ctx, self._env, key, body)

    def removal_of_an_integration(self, number: int) -> None:
        self.integration(number)
        integrations.delete(self._ctx, self._env, f"k{number}")

    def provider(self, number: int) -> object:
        name = f"late-{number}"
        return custom.put(self._ctx, self._env, name, DEFINITION, may_read_secrets=True)

    def api_key(self, number: int) -> object:
        wish = issuing.Wish(f"late-{number}", ("environment:*",))
        return issuing.create(self._ctx, self._env, wish, self._world.maker)

    def webhook_settings(self, _number: int) -> object:
        late = {"primary_url": "https://late.example.com"}
        return service.write_webhooks(self._ctx, self._env, late)

    def signing_key(self, _number: int) -> object:
        return service.rotate_signing_key(self._ctx, self._env, None)

    def activity(self, number: int) -> None:
        ctx, message = self._ctx, activity.Message("info", "late")
        made = activity.begin(ctx, self._env, "auth", "create_connection", end_user=f"u{number}")
        activity.note(ctx, self._env, made, message)
        activity.finish(ctx, self._env, made, "success", message)
        activity.record(ctx, self._env, "auth", "refresh_token", "success", message)

    def event_of_a_failed_attempt(self, number: int) -> None:
        failed_event(
            self._ctx,
            environment=self._world.environment,
            provider_config_key="rot",
            provider=None,
            connection_id=f"c{number}",
            error=("unknown", "late"),
        )

    def replay(self, _number: int) -> object:
        row = self._world.event
        return replay.again(self._ctx, row["pk"], int(row["sk"].rpartition("#")[2]))

    def delivery(self, _number: int) -> None:
        for body, _delay in self._ctx.queues.take_webhooks():
            delivery.deliver(self._ctx, body["event_id"], body["endpoint"], body["attempt"])

    def refresh(self, _number: int) -> object:
        return engine.refresh(self._ctx, self._world.stored("first"), forced=True)

    def failed_refresh(self, number: int) -> object:
        before = self._world.secret
        failure = Failure("terminal", "invalid_grant", "late", number, 1, number, "log")
        after = replace(before, failure=failure, write_id=f"f{number}")
        return commit.store_failure(self._ctx, before, after, None, None)

    def refresh_commit(self, number: int) -> object:
        return commit.store(self._ctx, self._world.secret, self._late(number))

    def commit_from_the_queue(self, number: int) -> None:
        commit.send_to_queue(self._ctx, self._world.secret, self._late(number), 0)
        sent = self._ctx.queues.take_refreshes()
        messages = [(str(place), json.dumps(body)) for place, (body, _) in enumerate(sent)]
        worker.handle(self._ctx, messages)

    def journal(self, number: int) -> None:
        journal.park(self._ctx, self._late(number), LATE)

    def pause_of_a_host(self, number: int) -> None:
        by = self._world.secret.key.pk
        throttle.note(self._ctx, self._env, f"h{number}.example", by, None)

    def change_of_a_connection(self, number: int) -> None:
        places = (self._ctx, self._env, "rot")
        body = PatchBody.model_validate({"tags": {"late": str(number)}})
        update.patch(*places, "first", body)
        update.merge_metadata(*places, ["first"], {"late": number})

    def receiver_that_is_gone(self, number: int) -> None:
        endpoints.disable(self._ctx, self._env, f"https://hooks.example.com/{number}")

    def data_key(self, _number: int) -> object:
        return self._ctx.vault.seal(Purpose.SESSION, self._env, ("x",), b"late")

    def _late(self, number: int) -> StoredSecret:
        before = self._world.secret
        after = replace(before, version=before.version + 1, write_id=f"w{number}")
        return after.resealed(self._ctx.vault, LATE)


def _require(answer: Any) -> None:
    assert answer.status < 500, answer.body


def _envelopes(value: Any) -> Iterator[dict[str, Any]]:
    match value:
        case {"f": _, "k": _, "n": _, "c": _}:
            yield value
        case dict():
            for each in value.values():
                yield from _envelopes(each)
        case list():
            for each in value:
                yield from _envelopes(each)


def attempt(writer: Callable[[int], object], number: int) -> None:
    """Let a writer try what may be refused, but not fail."""
    with suppress(*REFUSALS):
        writer(number)


class Crowd:
    """A thread for each writer; each writes as often as it is told to.

    ``faults`` are what writers raised that is no refusal.
    """

    def __init__(self, writers: Mapping[str, Callable[[int], object]]) -> None:
        self.faults: list[tuple[str, BaseException]] = []
        self._turns = {kind: threading.Semaphore(0) for kind in writers}
        self._done = {kind: threading.Semaphore(0) for kind in writers}
        self._asked = 0
        self._over = False
        self._threads = [threading.Thread(target=self._run, args=each) for each in writers.items()]
        for thread in self._threads:
            thread.start()

    def write(self, times: int) -> None:
        """Let each writer write so many times more; does not wait for them."""
        self._asked += times
        for turns in self._turns.values():
            turns.release(times)

    def wait(self) -> None:
        """Wait until all have written as often as they were told to."""
        for done in self._done.values():
            for _ in range(self._asked):
                done.acquire()
        self._asked = 0

    def leave(self) -> None:
        """Wait likewise, and end the threads."""
        self.wait()
        self._over = True
        for turns in self._turns.values():
            turns.release()
        for thread in self._threads:
            thread.join()

    def _run(self, kind: str, writer: Callable[[int], object]) -> None:
        number = 0
        while True:
            self._turns[kind].acquire()
            if self._over:
                return
            number += 1
            try:
                attempt(writer, number)
            except Exception as error:  # noqa: BLE001 - shown by the test
                self.faults.append((kind, error))
            self._done[kind].release()
