"""The activity log by the API: what a log_id leads to, and what happened lately."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from keystow.activity import log, reading
from keystow.activity.log import Message
from tests.app import App
from tests.authorization_server import answer
from tests.integration.connections.world import Refreshing, World
from tests.moto_tables import moto_store
from tests.support import make_context, seed_environment


class Log:
    """An environment and its log."""

    def __init__(self, store: Any = None) -> None:
        self.ctx: Any = make_context(store=store)
        self.app = App(self.ctx, seed_environment(self.ctx).secret_key)

    def wrote(self, kind: str, action: str, state: Any = "success", **identity: Any) -> str:
        """Record an operation, and let a second pass."""
        made = log.record(
            self.ctx, "env1", kind, action, state, Message("info", "It went so"), **identity
        )
        self.ctx.clock.advance(1)
        return made

    def page(self, query: str = "") -> dict[str, Any]:
        found = self.app.get(f"/activity{query}")
        assert found.status == 200, found.body
        return dict(found.json())

    def ids(self, query: str = "") -> list[str]:
        return [each["id"] for each in self.page(query)["data"]]

    def state(self, operation: str) -> str:
        return str(self.app.get(f"/activity/{operation}").json()["data"]["state"])


def test_the_log_id_of_a_broken_connection_leads_to_its_messages() -> None:
    world = Refreshing(expires_in=-60)
    world.provider.fault = lambda _number: answer(
        400, {"error": "invalid_grant", "error_description": "It was revoked"}
    )
    broken = world.read()
    (error,) = broken.json()["error"]["payload"]["connection"]["errors"]

    found = world.app.get(f"/activity/{error['log_id']}").json()["data"]

    assert found["id"] == error["log_id"]
    assert found["operation"] == {"type": "auth", "action": "refresh_token"}
    assert (found["state"], found["connection_id"]) == ("failed", "c1")
    assert (found["provider_config_key"], found["provider"]) == ("rot", "rotating")
    assert any("It was revoked" in str(each) for each in found["messages"])
    assert {each["level"] for each in found["messages"]} <= {"debug", "info", "warn", "error"}
    (listed,) = world.app.get("/activity?connection_id=c1&state=failed").json()["data"]
    assert listed == {name: value for name, value in found.items() if name != "messages"}


def test_an_operation_tells_when_it_began_went_on_and_ended() -> None:
    world = Log()
    begun = log.begin(world.ctx, "env1", "auth", "create_connection", end_user="u1")
    world.ctx.clock.advance(2)
    log.note(world.ctx, "env1", begun, Message("info", "Redirecting", {"scopes": ["a"], "try": 1}))
    world.ctx.clock.advance(1)
    running = world.page()["data"][0]
    log.finish(world.ctx, "env1", begun, "success", Message("info", "Done"), connection_id="c1")

    found = world.app.get(f"/activity/{begun}").json()["data"]

    assert (running["state"], running["ended_at"], running["duration_ms"]) == (
        "running",
        None,
        None,
    )
    assert found["created_at"] == "2026-01-01T00:00:00.000Z"
    assert found["ended_at"] == found["updated_at"] == "2026-01-01T00:00:03.000Z"
    assert (found["duration_ms"], found["end_user_id"]) == (3000, "u1")
    assert found["messages"] == [
        {
            "created_at": "2026-01-01T00:00:02.000Z",
            "level": "info",
            "message": "Redirecting",
            "meta": {"scopes": ["a"], "try": 1},
        },
        {
            "created_at": "2026-01-01T00:00:03.000Z",
            "level": "info",
            "message": "Done",
            "meta": {},
        },
    ]


def test_an_attempt_to_connect_without_news_for_five_minutes_has_timed_out() -> None:
    world = Log()
    begun = log.begin(world.ctx, "env1", "auth", "create_connection")
    world.ctx.clock.advance(300)
    still = world.state(begun)
    world.ctx.clock.advance(1)

    assert (still, world.state(begun)) == ("running", "timeout")
    assert world.ids("?state=timeout") == [begun]
    assert world.ids("?state=running") == []
    log.finish(world.ctx, "env1", begun, "success")
    assert world.state(begun) == "success"


def test_a_delivery_that_rests_between_attempts_has_not_timed_out() -> None:
    world = Log()
    waiting = world.wrote("webhook", "connection_create", "running")

    world.ctx.clock.advance(27 * 3600)
    still = world.state(waiting)
    world.ctx.clock.advance(86_400)

    assert (still, world.state(waiting)) == ("running", "timeout")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [3, 2, 1, 0]),
        ("?connection_id=c1", [3, 0]),
        ("?connection_id=c", []),
        ("?provider_config_key=gh", [1, 0]),
        ("?type=auth", [1, 0]),
        ("?type=auth/refresh_token", [1]),
        ("?type=webhook", [3]),
        ("?state=failed", [3, 1]),
        ("?state=failed&type=auth", [1]),
        ("?limit=2", [3, 2]),
        ("?connection_id=token%3Dvery-odd-id", [2]),
    ],
)
def test_each_filter_finds_what_it_names_newest_first(query: str, found: list[int]) -> None:
    world = Log()
    made = [
        world.wrote("auth", "create_connection", connection_id="c1", integration_key="gh"),
        world.wrote("auth", "refresh_token", "failed", connection_id="c2", integration_key="gh"),
        world.wrote("events", "pre_connection_deletion", connection_id="token=very-odd-id"),
        world.wrote("webhook", "connection_refresh", "failed", connection_id="c1"),
    ]

    assert world.ids(query) == [made[place] for place in found]


@pytest.mark.parametrize("on_dynamodb", [False, True], ids=["memory", "dynamodb"])
def test_pages_bring_everything_once(on_dynamodb: bool) -> None:
    def walk(store: Any) -> None:
        world = Log(store)
        made = [world.wrote("auth", "refresh_token") for _ in range(7)]
        found, cursor, pages = [], "", 0
        while cursor is not None:
            page = world.page(f"?limit=3{cursor}")
            found += [each["id"] for each in page["data"]]
            cursor = page["next_cursor"] and f"&cursor={quote(page['next_cursor'])}"
            pages += 1
        assert (found, pages) == (made[::-1], 3)
        shown = world.app.get(f"/activity/{made[0]}").json()["data"]
        assert [each["message"] for each in shown["messages"]] == ["It went so"]

    if on_dynamodb:
        with moto_store() as (store, _client):
            walk(store)
    else:
        walk(None)


def test_a_filter_looks_at_some_hundred_rows_and_then_answers_with_a_cursor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading, "EXAMINED", 4)
    world = Log()
    wanted = world.wrote("auth", "refresh_token", connection_id="c0")
    for _ in range(5):
        world.wrote("auth", "refresh_token", connection_id="c1")

    first = world.page("?connection_id=c0")
    second = world.page(f"?connection_id=c0&cursor={first['next_cursor']}")

    assert first["data"] == []
    assert [each["id"] for each in second["data"]] == [wanted]
    assert second["next_cursor"] is None


def test_of_an_endless_log_the_beginning_is_answered_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log, "MOST_READ", 3)
    world = Log()
    begun = log.begin(world.ctx, "env1", "auth", "create_connection")
    for number in range(5):
        log.note(world.ctx, "env1", begun, Message("info", f"message {number}"))
        world.ctx.clock.advance(1)

    messages = world.app.get(f"/activity/{begun}").json()["data"]["messages"]

    texts = [each["message"] for each in messages]
    assert texts == ["message 0", "message 1", "message 2", "There is more; this is the beginning"]


def test_what_has_expired_is_gone_before_the_table_removes_it() -> None:
    world = Log()
    made = world.wrote("auth", "refresh_token")
    world.ctx.clock.advance(31 * 86_400)

    assert world.ids() == []
    assert world.app.get(f"/activity/{made}").code == "not_found"


@pytest.mark.parametrize("operation", ["nope", "0" * 13 + "_" + "0" * 16, "%00", "é", "operation"])
def test_an_unknown_operation_is_not_found(operation: str) -> None:
    found = Log().app.get(f"/activity/{operation}")

    assert (found.status, found.code) == (404, "not_found")


def test_the_log_of_another_environment_is_not_found() -> None:
    world = Log()
    made = world.wrote("auth", "refresh_token")
    other = seed_environment(world.ctx, id="env2", name="prod").secret_key

    assert world.app.get("/activity", key=other).json()["data"] == []
    assert world.app.get(f"/activity/{made}", key=other).code == "not_found"


def test_a_key_without_the_scope_reads_nothing() -> None:
    world = World()
    made = log.record(world.ctx, "env1", "auth", "refresh_token", "failed")
    may, may_not = world.key("environment:activity:read"), world.key("environment:connections:*")

    for path in ("/activity", f"/activity/{made}"):
        assert world.app.get(path, key=may).status == 200
        assert world.app.get(path, key=may_not).code == "forbidden"


@pytest.mark.parametrize(
    ("query", "issue"),
    [
        ("state=waiting", ("invalid_value", ["state"])),
        ("type=auth/unknown", ("invalid_value", ["type"])),
        ("limit=0", ("too_small", ["limit"])),
        ("limit=501", ("too_big", ["limit"])),
        ("cursor=W10", ("invalid_format", ["cursor"])),
        ("cursor=WyJhIl0", ("invalid_format", ["cursor"])),
        ("integrationId=x", ("unrecognized_keys", [])),
    ],
)
def test_a_wrong_query_is_refused(query: str, issue: tuple[str, list[str]]) -> None:
    found = Log().app.get(f"/activity?{query}")

    assert (found.status, found.code) == (400, "invalid_query_params")
    assert found.issues == [issue]
