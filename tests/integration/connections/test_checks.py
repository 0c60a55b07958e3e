"""Keys and passwords are tried once a day, and only a clear refusal is taken for one."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any, Self

import pytest

from keystow.activity import log as activity
from keystow.egress.client import Egress
from keystow.egress.errors import EgressFailed
from keystow.records.connection import StoredSecret
from keystow.refresh import lease, sweep, worker
from keystow.store import StoreUnavailable, tables
from keystow.vault import VaultError
from tests.integration.connections.world import World
from tests.support import FakeEgress, Sent

if TYPE_CHECKING:
    from collections.abc import Callable

DAY = 86_400
CHECKED: dict[str, Any] = {
    "display_name": "Checked",
    "categories": ["dev-tools"],
    "auth_mode": "API_KEY",
    "docs": "https://checked.example/docs",
    "proxy": {
        "base_url": "https://api.checked.example/v1",
        "headers": {"x-key": "${apiKey}"},
        "verification": {"endpoints": ["/me", "/account"]},
    },
}
PASSWORD: dict[str, Any] = {
    **CHECKED,
    "auth_mode": "BASIC",
    "proxy": {
        "base_url": "https://basic.checked.example",
        "verification": {"endpoints": ["/me"]},
    },
}
KEY = {"type": "API_KEY", "apiKey": "first-key"}


class Checking(World):
    """A world with one API key, ``c1``, of a provider that can be asked about it."""

    def __init__(self) -> None:
        super().__init__()
        self.web = self.ctx.egress = FakeEgress(default=200)
        for name, definition in (("checked", CHECKED), ("password", PASSWORD)):
            assert self.app.put(f"/providers/{name}", definition).status == 201
            self.integration(name, name)
        self.imported("c1", "checked", credentials=KEY)
        self.web.sent.clear()

    def answers(self, answer: Any) -> None:
        self.web.default = answer

    def work_for(self, seconds: float, step: float = 3600) -> int:
        """Let time pass with the sweep and the worker at it; return how many requests went out."""
        before = len(self.web.sent)
        for _turn in range(int(seconds / step)):
            self.ctx.clock.advance(step)
            if sweep.sweep(self.ctx):
                assert self.work() == []
        return len(self.web.sent) - before

    def refused(self) -> None:
        """Let the provider refuse the key, and a day pass."""
        self.answers(401)
        self.work_for(1.1 * DAY)
        assert self.failure() is not None

    def operations(self) -> list[tuple[str, str]]:
        """Return (id, state) of what the activity log has of checks, the newest first."""
        found = self.app.get("/activity?type=auth/connection_test")
        assert found.status == 200
        return [(each["id"], each["state"]) for each in found.json()["data"]]

    def failure(self, connection_id: str = "c1") -> Any:
        return self.secret(connection_id).failure

    def shown(self) -> list[dict[str, Any]]:
        found = self.read("c1", "checked")
        assert found.status == 200
        assert found.json()["credentials"]["apiKey"], "a key is served whatever is known of it"
        return list(found.json()["errors"])


@pytest.fixture
def world() -> Checking:
    return Checking()


def unreachable(_request: Sent) -> Any:
    raise EgressFailed("connect", sent=False)


def test_a_key_is_tried_once_a_day(world: Checking) -> None:
    assert world.work_for(0.9 * DAY) == 0
    assert world.work_for(0.2 * DAY) == 1
    assert 6 <= world.work_for(7 * DAY) <= 8
    (asked,) = {(each.url, each.headers["x-key"]) for each in world.web.sent}
    assert asked == ("https://api.checked.example/v1/me", "first-key")
    assert world.shown() == []
    assert world.events() == []


def test_a_password_is_tried_too(world: Checking) -> None:
    credentials = {"type": "BASIC", "username": "u", "password": "p"}
    world.imported("b1", "password", credentials=credentials)
    world.web.sent.clear()
    world.work_for(1.1 * DAY)
    assert {each.url for each in world.web.sent} == {
        "https://api.checked.example/v1/me",
        "https://basic.checked.example/me",
    }


def test_a_check_costs_one_request_and_three_writes(world: Checking) -> None:
    written: list[str] = []
    store = world.ctx.store
    for name in ("put", "update"):
        setattr(store, name, noting(getattr(store, name), written))
    assert world.secret("c1").host == "api.checked.example", "checks of one host go together"
    world.ctx.clock.advance(1.06 * DAY)
    assert sweep.sweep(world.ctx) == 1
    assert world.work() == []
    assert written == [tables.CONNECTION_SECRET] * 3, "due index, lease, outcome"
    assert len(world.web.sent) == 1


def noting(write: Any, written: list[str]) -> Any:
    def noted(operation: Any) -> Any:
        written.append(operation.key.sk)
        return write(operation)

    return noted


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_told_once_and_shown_until_it_works_again(
    world: Checking, status: int
) -> None:
    world.answers(status)
    world.work_for(4 * DAY)
    (error,) = world.shown()
    assert error["type"] == "auth"
    (event,) = world.events()
    body = json.loads(event["body"])
    assert (body["success"], body["operation"]) == (False, "refresh")
    assert body["error"]["type"] == "connection_test_failed"
    assert "first-key" not in event["body"]
    found = activity.read(world.ctx, world.environment, error["log_id"])
    assert found is not None
    header, messages = found
    assert (header["kind"], header["action"]) == ("auth", "connection_test")
    assert (header["state"], header["connection_id"]) == ("failed", "c1")
    assert messages[0]["details"]["status"] == status

    world.answers(200)
    world.work_for(0.3 * DAY)
    assert world.shown() == []
    assert [json.loads(each["body"])["success"] for each in world.events()].count(True) == 1
    assert world.work_for(0.6 * DAY) == 0, "once a day again"
    states = [state for _operation, state in world.operations()]
    assert states.count("success") == 1, "the log tells that it was taken again"


def test_one_refusal_is_not_believed_yet(world: Checking) -> None:
    world.answers(401)
    world.ctx.clock.advance(1.06 * DAY)
    assert sweep.sweep(world.ctx) == 1
    assert world.work() == []
    assert world.failure() is not None
    assert world.shown() == []
    assert world.events() == []
    world.answers(200)
    assert world.work_for(660, 60) == 1, "it is asked again within 10 minutes"
    assert world.failure() is None
    assert world.events() == []
    assert [state for _operation, state in world.operations()] == ["failed"]


def test_the_second_refusal_in_a_row_is_told(world: Checking) -> None:
    world.answers(401)
    world.ctx.clock.advance(1.06 * DAY)
    assert sweep.sweep(world.ctx) == 1
    assert world.work() == []
    assert world.work_for(660, 60) == 2, "both endpoints, once"
    (error,) = world.shown()
    (event,) = world.events()
    assert json.loads(event["body"])["success"] is False
    assert world.operations()[0][0] == error["log_id"]


def test_a_refused_key_is_tried_ever_more_slowly(world: Checking) -> None:
    world.refused()
    first = world.work_for(0.25 * DAY)
    world.work_for(2 * DAY)
    later = world.work_for(DAY)
    assert first > 2, "both endpoints, a few times"
    assert later <= 2 * 9, "each three to six hours"


@pytest.mark.parametrize(
    "answer",
    [500, 503, 429, 404, 302, 400, unreachable, EgressFailed("lost", sent=True), ValueError("odd")],
)
def test_what_is_no_clear_refusal_is_told_to_nobody(world: Checking, answer: Any) -> None:
    world.answers(answer)
    world.work_for(3.5 * DAY)
    assert 3 <= len(world.web.sent) <= 8
    assert world.failure() is None
    assert world.shown() == []
    assert world.events() == []


def test_one_endpoint_that_does_not_refuse_is_enough_not_to_blame_the_key(
    world: Checking,
) -> None:
    world.answers(lambda sent: 401 if sent.url.endswith("/me") else 500)
    world.work_for(1.1 * DAY)
    assert len(world.web.sent) == 2
    assert world.failure() is None


def test_an_outage_after_a_refusal_neither_forgets_nor_repeats_it(world: Checking) -> None:
    world.refused()
    before = world.failure()
    world.answers(503)
    assert world.work_for(DAY) >= 6, "both endpoints, each six hours"
    assert world.failure() == before
    assert len(world.shown()) == 1
    assert len(world.events()) == 1


def test_a_refused_key_is_served_to_force_refresh_as_ever(world: Checking) -> None:
    world.refused()
    world.web.sent.clear()
    found = world.read("c1", "checked", "&force_refresh=true")
    assert found.status == 200
    assert found.json()["credentials"]["apiKey"] == "first-key"
    assert world.web.sent == []


def test_a_key_imported_anew_is_taken_for_good_and_tried_in_a_day(world: Checking) -> None:
    world.refused()
    world.answers(200)
    world.imported("c1", "checked", credentials={**KEY, "apiKey": "second-key"})
    world.web.sent.clear()
    assert world.shown() == []
    assert world.work_for(0.9 * DAY) == 0
    assert world.work_for(0.2 * DAY) == 1
    assert world.web.sent[0].headers["x-key"] == "second-key"


def test_a_key_that_is_replaced_during_its_check_is_not_blamed(world: Checking) -> None:
    def replaced(_sent: Sent) -> int:
        world.answers(200)
        world.imported("c1", "checked", credentials={**KEY, "apiKey": "second-key"})
        world.answers(401)
        return 401

    world.answers(replaced)
    world.work_for(1.1 * DAY)
    assert world.failure() is None
    assert world.shown() == []
    assert world.events() == []


def test_deleting_during_a_check_stays_deleted(world: Checking) -> None:
    def deleted(_sent: Sent) -> int:
        place = "/connections/c1?provider_config_key=checked"
        assert world.app.delete(place).status in {200, 404}
        return 401

    world.answers(deleted)
    world.work_for(1.1 * DAY)
    assert len(world.web.sent) == 2
    assert world.ctx.store.everything()[tables.CONNECTIONS] == []
    assert world.events() == []


def test_a_change_of_metadata_during_a_check_disturbs_neither(world: Checking) -> None:
    def changed(_sent: Sent) -> int:
        body = {"connection_id": "c1", "provider_config_key": "checked", "metadata": {"a": 1}}
        assert world.app.post("/connections/metadata", body).status == 201
        return 401

    world.answers(changed)
    world.work_for(1.1 * DAY)
    assert len(world.shown()) == 1
    assert world.read("c1", "checked").json()["metadata"] == {"a": 1}


def test_a_change_of_metadata_does_not_move_the_check(world: Checking) -> None:
    due = world.secret("c1").due_at
    body = {"connection_id": "c1", "provider_config_key": "checked", "metadata": {"a": 1}}
    assert world.app.post("/connections/metadata", body).status == 201
    assert world.secret("c1").due_at == due


def test_a_connection_that_cannot_be_checked_is_never_due(world: Checking) -> None:
    world.imported("plain", "pat")
    secret = world.secret("plain")
    assert (secret.due_at, secret.due_shard) == (None, None)


def test_an_entry_that_tells_no_more_how_to_ask_ends_the_checks(world: Checking) -> None:
    silent = {**CHECKED, "proxy": {"base_url": "https://api.checked.example/v1"}}
    assert world.app.put("/providers/checked", silent).status == 200
    before = world.read("c1", "checked").json()
    assert world.work_for(1.1 * DAY) == 0
    assert world.secret("c1").due_at is None
    assert world.secret("c1").due_shard is None
    after = world.read("c1", "checked").json()
    assert after["updated_at"] == before["updated_at"], "nothing has changed that anybody sees"


def test_an_entry_that_tells_no_more_how_to_ask_ends_what_the_checks_found(
    world: Checking,
) -> None:
    world.refused()
    assert len(world.shown()) == 1
    silent = {**CHECKED, "proxy": {"base_url": "https://api.checked.example/v1"}}
    assert world.app.put("/providers/checked", silent).status == 200
    assert world.work_for(DAY) == 0
    assert world.secret("c1").due_at is None
    assert world.failure() is None
    assert world.shown() == []
    assert len(world.events()) == 1, "it is not known to work"
    assert "success" not in {state for _operation, state in world.operations()}


def test_a_refusal_whose_message_comes_twice_is_not_looked_into_at_once(world: Checking) -> None:
    world.answers(401)
    world.ctx.clock.advance(1.06 * DAY)
    assert sweep.sweep(world.ctx) == 1
    messages = list(world.ctx.queues.refresh)
    assert world.work() == []
    asked = len(world.web.sent)
    world.ctx.clock.advance(60)
    world.ctx.queues.refresh.extend(messages)
    assert world.work() == []
    assert len(world.web.sent) == asked
    assert world.failure().attempts == 1


def test_a_credential_that_does_not_open_is_looked_at_once_a_day(
    world: Checking, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unseal(_secret: StoredSecret, _vault: Any) -> Any:
        raise VaultError("does not open")

    world.rotating("r1", expires_in=DAY)
    monkeypatch.setattr(StoredSecret, "unseal", unseal)
    queued = 0
    for _turn in range(4 * 24 * 6):
        world.ctx.clock.advance(600)
        queued += sweep.sweep(world.ctx)
        assert world.work() == []
    assert 6 <= queued <= 8, "two connections, four days"
    assert world.web.sent == []


class Site:
    """A provider's host on loopback: ``answer`` gives status and headers for a key."""

    def __init__(self, answer: Callable[[str | None], tuple[int, dict[str, str]]]) -> None:
        self.answer = answer
        self.keys: list[str | None] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.keys.append(self.headers.get("x-key"))
                status, headers = site.answer(self.headers.get("x-key"))
                self.send_response(status)
                for name, value in {**headers, "content-length": "0"}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.mark.parametrize("status", [401, 200])
def test_what_another_host_answers_after_a_redirect_tells_nothing_about_a_key(status: int) -> None:
    with Site(lambda key: (200 if key else status, {})) as new, Site(lambda _key: (200, {})) as old:
        world = World(loopback_allowed=True)
        world.ctx.egress = Egress(allow_loopback=True)
        proxy = {**CHECKED["proxy"], "base_url": old.url}
        assert world.app.put("/providers/moved", {**CHECKED, "proxy": proxy}).status == 201
        world.integration("moved", "moved")
        world.imported("c1", "moved", credentials=KEY)
        before = world.secret()
        asked = len(old.keys)
        old.answer = lambda _key: (301, {"location": f"{new.url}/v2/me"})
        world.ctx.clock.advance(1.06 * DAY)
        assert sweep.sweep(world.ctx) == 1
        assert world.work() == []
        assert old.keys[asked:] == ["first-key", "first-key"], "both endpoints"
        assert new.keys == [], "nobody is followed"
        assert world.secret().failure is None
        assert (world.secret().due_at or 0) > (before.due_at or 0)
        # What stands refused is not forgiven because of a page for people either.
        old.answer = lambda _key: (401, {})
        for _turn in range(40):
            world.ctx.clock.advance(3600)
            sweep.sweep(world.ctx)
            assert world.work() == []
        assert world.secret().failure is not None
        old.answer = lambda _key: (301, {"location": f"{new.url}/login"})
        for _turn in range(10):
            world.ctx.clock.advance(3600)
            sweep.sweep(world.ctx)
            assert world.work() == []
        assert world.secret().failure is not None
        assert new.keys == []


def test_a_message_that_comes_twice_or_late_does_no_harm(world: Checking) -> None:
    world.ctx.clock.advance(1.06 * DAY)
    assert sweep.sweep(world.ctx) == 1
    messages = list(world.ctx.queues.refresh)
    assert world.work() == []
    world.ctx.clock.advance(3600)
    world.ctx.queues.refresh.extend(messages)
    assert world.work() == []
    assert len(world.web.sent) == 1


def test_a_check_leaves_the_one_who_is_at_it_alone(world: Checking) -> None:
    world.ctx.clock.advance(1.06 * DAY)
    assert sweep.sweep(world.ctx) == 1
    assert isinstance(lease.claim(world.ctx, world.secret("c1"), forced=False), lease.Claimed)
    assert world.work() == []
    assert world.web.sent == []
    assert world.work_for(1200, 600) == 1, "it comes due again"


def test_a_check_whose_outcome_cannot_be_stored_is_done_again(world: Checking) -> None:
    store, real = world.ctx.store, world.ctx.store.put

    def put(_operation: Any) -> None:
        raise StoreUnavailable("throttled")

    world.ctx.clock.advance(1.06 * DAY)
    assert sweep.sweep(world.ctx) == 1
    store.put = put
    assert world.work() == []
    store.put = real
    assert world.work_for(1200, 600) == 1


def test_a_worker_whose_time_is_nearly_over_begins_no_check(world: Checking) -> None:
    world.ctx.clock.advance(1.06 * DAY)
    assert sweep.sweep(world.ctx) == 1
    ((body, _delay),) = world.ctx.queues.take_refreshes()
    soon = world.ctx.clock.now() - 1
    assert worker.handle(world.ctx, [("m", json.dumps(body))], soon) == ["m"]
    assert world.web.sent == []
