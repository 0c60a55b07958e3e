"""Deliveries by the API: what was sent where, how it was answered, and sent again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keystow.environments import keys
from keystow.events import deliveries
from keystow.store import Update, tables
from tests.app import App, Result, invoke
from tests.moto_tables import moto_store
from tests.support import FakeEgress, make_context, seed_environment

PRIMARY = "https://hooks.example.com/t0ps3cr3t/path?token=t0ps3cr3t"
OTHER = "https://tenant.example.com:8443/t0ps3cr3t"


class World:
    """An environment whose receiver answers as it is told."""

    def __init__(
        self, *answers: Any, store: Any = None, default: Any = 500, **settings: Any
    ) -> None:
        self.egress = FakeEgress(*answers, default=default)
        self.ctx: Any = make_context(store=store, egress=self.egress)
        seeded = seed_environment(self.ctx, primary_url=PRIMARY, **settings)
        self.app = App(self.ctx, seeded.secret_key)
        body = {"provider": "unauthenticated", "unique_key": "open"}
        assert self.app.post("/integrations", body).status == 200

    def connected(self, connection_id: str = "c1", **more: Any) -> None:
        """Import a connection, which is an event."""
        body = {
            "provider_config_key": "open",
            "connection_id": connection_id,
            "credentials": {"type": "NONE"},
            **more,
        }
        assert self.app.post("/connections", body).status == 201
        self.ctx.clock.advance(1)

    def send(self) -> None:
        """Deliver what is queued now, one after the other; retries stay in the queue."""
        for body, _delay in self.ctx.queues.take_webhooks():
            record = {"messageId": "1", "body": json.dumps(body)}
            done = invoke(self.ctx, "send_webhook", {"Records": [record]})
            assert done["batchItemFailures"] == []

    def listed(self, query: str = "") -> list[dict[str, Any]]:
        found = self.app.get(f"/webhook-deliveries{query}")
        assert found.status == 200, found.body
        return list(found.json()["data"])

    def one(self) -> dict[str, Any]:
        (found,) = self.listed()
        return found

    def replay(self, delivery_id: str | None = None, **options: Any) -> Result:
        place = delivery_id or self.one()["id"]
        return self.app.post(f"/webhook-deliveries/{place}/replay", **options)


def test_what_was_delivered_says_when_where_and_how_it_was_answered() -> None:
    world = World(204)
    world.connected()
    world.send()

    found = world.one()

    assert found["id"] == f"{found['webhook_id']}.0"
    assert found["webhook_id"] == world.egress.sent[0].headers["webhook-id"]
    assert {name: found[name] for name in ("type", "operation", "success")} == {
        "type": "auth",
        "operation": "creation",
        "success": True,
    }
    assert (found["connection_id"], found["provider_config_key"]) == ("c1", "open")
    assert found["target"] == {"role": "primary", "host": "hooks.example.com"}
    assert (found["state"], found["attempts"]) == ("delivered", 1)
    at = "2026-01-01T00:00:01.000Z"
    assert found["last_answer"] == {"at": at, "status": 204, "text": "Answered 204"}
    assert found["created_at"] == "2026-01-01T00:00:00.000Z"
    assert (found["delivered_at"], found["next_attempt_at"]) == (at, None)
    assert found["replayed_at"] is None


def test_what_waits_says_why_and_until_when() -> None:
    world = World(503)
    world.connected()
    untried = world.one()
    world.send()

    found = world.one()

    assert (untried["state"], untried["attempts"]) == ("pending", 0)
    assert untried["last_answer"] is None
    assert untried["next_attempt_at"] == untried["created_at"]
    assert (found["state"], found["attempts"], found["delivered_at"]) == ("pending", 1, None)
    assert found["last_answer"]["text"] == "Answered 503"
    assert "2026-01-01T00:00:05" <= found["next_attempt_at"] <= "2026-01-01T00:00:08"


def test_an_attempt_on_its_way_has_no_next_one() -> None:
    world = World()
    seen = []

    def look(_sent: Any) -> int:
        seen.append(world.one())
        return 200

    world.egress.answers = [look]
    world.connected()
    world.send()

    assert [(each["state"], each["next_attempt_at"]) for each in seen] == [("pending", None)]


def test_one_delivery_tells_its_attempts_and_its_body() -> None:
    world = World(500, 200)
    world.connected()
    world.send()
    world.ctx.clock.advance(5)
    world.send()

    found = world.app.get(f"/webhook-deliveries/{world.one()['id']}").json()["data"]

    assert [(each["number"], each["status"]) for each in found["history"]] == [(1, 500), (2, 200)]
    assert found["history"][0]["at"] < found["history"][1]["at"]
    assert {each["host"] for each in found["history"]} == {"hooks.example.com"}
    assert found["body"] == world.egress.sent[0].json()
    assert {name: found[name] for name in world.one()} == world.one()


def test_no_answer_shows_more_of_a_url_than_its_host() -> None:
    world = World(500, 410, secondary_url=OTHER)
    world.connected()
    world.connected("c2", webhook_url_override=OTHER)
    world.send()

    answers = [world.app.get("/webhook-deliveries").body.decode()]
    for each in world.listed():
        answers.append(world.app.get(f"/webhook-deliveries/{each['id']}").body.decode())
        answers.append(world.replay(each["id"]).body.decode())

    assert "tenant.example.com:8443" in answers[0]
    assert all("t0ps3cr3t" not in answer for answer in answers)


def test_each_endpoint_and_event_has_a_delivery_newest_first() -> None:
    world = World(200, 500, 200, 500, secondary_url=OTHER)
    world.connected("c1")
    world.connected("c2", webhook_url_override=OTHER)
    world.send()

    found = [(each["connection_id"], each["target"]["role"]) for each in world.listed()]

    assert found == [("c2", "override"), ("c1", "secondary"), ("c1", "primary")]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?state=delivered", ["c3", "c1"]),
        ("?state=pending", ["c2"]),
        ("?state=failed", []),
        ("?connection_id=c2", ["c2"]),
        ("?connection_id=c", []),
        ("?connection_id=c2&state=delivered", []),
        ("?limit=2", ["c3", "c2"]),
    ],
)
def test_each_filter_finds_what_it_names(query: str, found: list[str]) -> None:
    world = World(200, 500, 200)
    for name in ("c1", "c2", "c3"):
        world.connected(name)
    world.send()

    assert [each["connection_id"] for each in world.listed(query)] == found


@pytest.mark.parametrize("on_dynamodb", [False, True], ids=["memory", "dynamodb"])
def test_pages_bring_everything_once(on_dynamodb: bool) -> None:
    def walk(store: Any) -> None:
        world = World(store=store, secondary_url=OTHER)
        for number in range(5):
            world.connected(f"c{number}")
        found, cursor, pages = [], "", 0
        while cursor is not None:
            answer = world.app.get(f"/webhook-deliveries?limit=3{cursor}").json()
            found += [each["id"] for each in answer["data"]]
            cursor = answer["next_cursor"] and f"&cursor={answer['next_cursor']}"
            pages += 1
        assert found == [each["id"] for each in world.listed("?limit=500")]
        assert (len(set(found)), pages) == (10, 4)

    if on_dynamodb:
        with moto_store() as (store, _client):
            walk(store)
    else:
        walk(None)


def test_a_filter_looks_at_some_hundred_rows_and_then_answers_with_a_cursor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deliveries, "EXAMINED", 4)
    world = World()
    for number in range(6):
        world.connected(f"c{number}")

    first = world.app.get("/webhook-deliveries?connection_id=c0").json()
    cursor = first["next_cursor"]
    second = world.app.get(f"/webhook-deliveries?connection_id=c0&cursor={cursor}").json()

    assert first["data"] == []
    assert [each["connection_id"] for each in second["data"]] == ["c0"]
    assert second["next_cursor"] is None


def test_what_has_expired_is_gone_before_the_table_removes_it() -> None:
    world = World(200)
    world.connected()
    world.send()
    place = world.one()["id"]
    world.ctx.clock.advance(31 * 86_400)

    assert world.listed() == []
    assert world.app.get(f"/webhook-deliveries/{place}").status == 404
    assert world.replay(place).status == 404


def test_a_delivered_one_is_sent_again() -> None:
    world = World(200, 200)
    world.connected()
    world.send()
    world.ctx.clock.advance(60)

    answer = world.replay()
    begun = answer.json()["data"]
    world.send()

    assert answer.status == 202
    assert (begun["state"], begun["attempts"], begun["delivered_at"]) == ("pending", 0, None)
    assert begun["replayed_at"] == begun["next_attempt_at"] == "2026-01-01T00:01:01.000Z"
    first, second = world.egress.sent
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]
    found = world.app.get(f"/webhook-deliveries/{begun['id']}").json()["data"]
    assert (found["state"], len(found["history"])) == ("delivered", 2)


def test_who_may_replay_only_is_shown_no_body_and_no_attempts() -> None:
    world = World(500)
    world.connected()
    world.send()
    place = world.one()["id"]
    scope = "environment:webhook_deliveries:replay"
    _key, text, writes = keys.new_key(world.ctx, "env1", "replays", (scope,))
    world.ctx.store.transact(list(writes))

    begun = world.replay(place, key=text.reveal()).json()["data"]

    assert begun == world.one()
    assert not {"body", "history"} & begun.keys()


def test_a_replay_while_the_last_attempt_is_on_its_way_begins_after_it() -> None:
    world = World()
    answers = []

    def ask_meanwhile(_sent: Any) -> int:
        answers.append(world.replay())
        return 500

    world.egress.answers = [ask_meanwhile, 200]
    world.connected()
    place = world.one()["id"]
    row = tables.delivery(*deliveries.parts(place))
    world.ctx.store.update(Update(row, set={"attempt": 9}))
    world.ctx.queues.webhook[0][0]["attempt"] = 10
    world.send()
    waiting = world.one()
    world.ctx.clock.advance(7)
    world.send()

    assert [(each.status, each.json()["data"]["state"]) for each in answers] == [(202, "pending")]
    assert (waiting["state"], waiting["attempts"]) == ("pending", 0)
    assert "2026-01-01T00:00:05" <= waiting["next_attempt_at"] <= "2026-01-01T00:00:08"
    assert waiting["replayed_at"] == "2026-01-01T00:00:01.000Z"
    assert (world.one()["state"], world.one()["attempts"]) == ("delivered", 1)
    assert len(world.egress.sent) == 2


def test_while_an_attempt_is_on_its_way_a_replay_waits_for_its_outcome() -> None:
    world = World()
    answers = []

    def ask_meanwhile(_sent: Any) -> int:
        answers.append(world.replay())
        return 200

    world.egress.answers = [ask_meanwhile]
    world.connected()
    world.send()

    assert [(each.status, each.json()["data"]["state"]) for each in answers] == [(202, "pending")]
    assert world.ctx.queues.webhook == []
    assert len(world.egress.sent) == 1


def test_an_endpoint_that_is_off_is_named_with_what_turns_it_on() -> None:
    world = World(410, 200)
    world.connected()
    world.send()
    assert world.one()["state"] == "failed"

    refused = world.replay()
    settings = world.app.get("/environment/webhook-settings").json()["data"]
    world.app.put("/environment/webhook-settings", settings)
    begun = world.replay()
    world.send()

    assert (refused.status, refused.code) == (409, "webhook_endpoint_off")
    assert "PUT /environment/webhook-settings" in refused.json()["error"]["message"]
    assert begun.status == 202
    assert world.one()["state"] == "delivered"


def test_a_url_that_was_removed_gets_no_replay() -> None:
    world = World(200)
    world.connected()
    world.send()
    world.app.put("/environment/webhook-settings", {})

    refused = world.replay()

    assert (refused.status, refused.code) == (409, "webhook_endpoint_off")
    assert world.one()["state"] == "delivered"


@pytest.mark.parametrize(
    "place", ["nope", "evt_1.0", f"evt_{'0' * 32}.0", f"evt_{'0' * 32}.99", "evt_%00.0", "é"]
)
def test_an_unknown_delivery_is_not_found(place: str) -> None:
    world = World()
    for answer in (world.app.get(f"/webhook-deliveries/{place}"), world.replay(place)):
        assert (answer.status, answer.code) == (404, "not_found")


def test_the_deliveries_of_another_environment_are_not_found() -> None:
    world = World(200)
    world.connected()
    world.send()
    place = world.one()["id"]
    other = seed_environment(world.ctx, id="env2", name="prod").secret_key
    before = world.ctx.store.everything()["events"]

    assert world.app.get("/webhook-deliveries", key=other).json()["data"] == []
    assert world.app.get(f"/webhook-deliveries/{place}", key=other).code == "not_found"
    assert world.replay(place, key=other).code == "not_found"
    assert world.ctx.store.everything()["events"] == before


def test_reading_and_replaying_have_scopes_of_their_own() -> None:
    world = World(200)
    world.connected()
    world.send()
    place = world.one()["id"]
    scope = "environment:webhook_deliveries"
    calls = (("GET", ""), ("GET", f"/{place}"), ("POST", f"/{place}/replay"))
    may = {f"{scope}:read": [200, 200, 403], f"{scope}:replay": [403, 403, 202]}
    for granted, expected in may.items():
        _key, text, writes = keys.new_key(world.ctx, "env1", "scoped", (granted,))
        world.ctx.store.transact(list(writes))
        found = [
            world.app.call(method, f"/webhook-deliveries{rest}", key=text.reveal()).status
            for method, rest in calls
        ]
        assert found == expected


@pytest.mark.parametrize(
    ("query", "issue"),
    [
        ("state=ended", ("invalid_value", ["state"])),
        ("limit=0", ("too_small", ["limit"])),
        ("limit=501", ("too_big", ["limit"])),
        ("cursor=W10", ("invalid_format", ["cursor"])),
        ("cursor=WyJhIl0", ("invalid_format", ["cursor"])),
        ("cursor=%F0%9F%98%80", ("invalid_format", ["cursor"])),
        ("page=1", ("unrecognized_keys", [])),
    ],
)
def test_a_wrong_query_is_refused(query: str, issue: tuple[str, list[str]]) -> None:
    answer = World().app.get(f"/webhook-deliveries?{query}")

    assert (answer.status, answer.code) == (400, "invalid_query_params")
    assert answer.issues == [issue]


def test_a_replay_takes_no_body() -> None:
    world = World(200)
    world.connected()
    world.send()

    answer = world.app.post(f"/webhook-deliveries/{world.one()['id']}/replay", {"url": "x"})

    assert (answer.status, answer.code) == (400, "invalid_body")
    assert world.one()["state"] == "delivered"
