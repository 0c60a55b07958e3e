"""Who gets which event, and how it is stored beside the change."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keystow.context import Context
from keystow.events import endpoints, outbox
from keystow.events.outbox import AuthEvent
from keystow.store import ConditionFailed, Put, tables
from keystow.store.operations import NEW
from tests.support import make_context, seed_environment
from tests.unit.events.sending import turn_on

PRIMARY = "https://hooks.example.com/keystow"
SECONDARY = "https://second.example.com/x"
OVERRIDE = "https://tenant.example.com/y?secret=1"


def plan(
    ctx: Context,
    operation: Any = "creation",
    success: bool = True,
    override: str | None = None,
    **settings: Any,
) -> outbox.Planned | None:
    environment = seed_environment(ctx, **settings).environment
    event = AuthEvent(
        environment,
        "github",
        "OAUTH2",
        "gh",
        "c1",
        operation,
        success,
        tags={},
        webhook_url_override=override,
    )
    return outbox.plan(ctx, event)


def urls(planned: outbox.Planned | None) -> list[str]:
    if planned is None:
        return []
    puts = [each for each in planned.writes if isinstance(each, Put)]
    return [each.item["url"] for each in puts if "url" in each.item]


@pytest.mark.parametrize(
    ("operation", "success", "gates", "expected"),
    [
        ("creation", True, {}, 1),
        ("creation", False, {}, 1),
        ("creation", True, {"on_auth_creation": False}, 0),
        ("creation", False, {"on_auth_creation": False}, 0),
        ("creation", True, {"on_auth_refresh_error": False}, 1),
        ("override", True, {"on_auth_creation": False, "on_auth_refresh_error": False}, 1),
        ("override", False, {"on_auth_creation": False, "on_auth_refresh_error": False}, 1),
        ("refresh", False, {}, 1),
        ("refresh", True, {}, 1),
        ("refresh", False, {"on_auth_refresh_error": False}, 0),
        ("refresh", True, {"on_auth_refresh_error": False}, 0),
        ("refresh", False, {"on_auth_creation": False}, 1),
        ("deletion", True, {}, 0),
        ("deletion", True, {"on_connection_deletion": True}, 1),
    ],
)
def test_settings_decide_who_hears_of_what(
    operation: str, success: bool, gates: dict[str, Any], expected: int
) -> None:
    assert len(urls(plan(make_context(), operation, success, **gates))) == expected


def test_both_urls_get_every_event() -> None:
    assert urls(plan(make_context(), secondary_url=SECONDARY)) == [PRIMARY, SECONDARY]


def test_nobody_hears_without_a_url() -> None:
    assert plan(make_context(), primary_url=None) is None


def test_a_secondary_url_alone_is_enough() -> None:
    assert urls(plan(make_context(), primary_url=None, secondary_url=SECONDARY)) == [SECONDARY]


def test_an_override_replaces_the_primary_url_and_drops_the_secondary() -> None:
    assert urls(plan(make_context(), secondary_url=SECONDARY, override=OVERRIDE)) == [OVERRIDE]


def test_an_override_is_delivered_even_without_a_primary_url() -> None:
    assert urls(plan(make_context(), primary_url=None, override=OVERRIDE)) == [OVERRIDE]


def test_an_override_does_not_pass_the_gates() -> None:
    assert plan(make_context(), on_auth_creation=False, override=OVERRIDE) is None


def test_an_endpoint_turned_off_gets_nothing_until_it_is_turned_on() -> None:
    ctx = make_context()
    environment = seed_environment(ctx, secondary_url=SECONDARY).environment
    event = AuthEvent(environment, "github", "OAUTH2", "gh", "c1", "creation", True)

    endpoints.disable(ctx, environment.id, PRIMARY)
    while_off = urls(outbox.plan(ctx, event))
    turn_on(ctx)

    assert while_off == [SECONDARY]
    assert urls(outbox.plan(ctx, event)) == [PRIMARY, SECONDARY]


def test_the_event_is_stored_with_the_change_or_not_at_all() -> None:
    ctx = make_context()
    planned = plan(ctx)
    assert planned is not None
    taken = tables.connection("env1", "i", "c1")
    ctx.store.put(Put(taken, {"a": 1}))

    with pytest.raises(ConditionFailed):
        ctx.store.transact([Put(taken, {"a": 2}, NEW), *planned.writes])

    assert ctx.store.get(tables.event(planned.event_id)) is None
    assert ctx.store.get(tables.delivery(planned.event_id, 0)) is None


def test_a_stored_event_is_queued_at_once() -> None:
    ctx: Any = make_context()
    planned = plan(ctx, secondary_url=SECONDARY)
    assert planned is not None
    ctx.store.transact(planned.writes)

    outbox.dispatch(ctx, planned)

    assert ctx.queues.webhook == [
        ({"event_id": planned.event_id, "endpoint": 0, "attempt": 1}, 0),
        ({"event_id": planned.event_id, "endpoint": 1, "attempt": 1}, 0),
    ]


def test_a_queue_that_is_away_does_not_break_the_flow() -> None:
    ctx: Any = make_context()
    planned = plan(ctx)
    ctx.queues.unavailable = True

    outbox.dispatch(ctx, planned)
    outbox.dispatch(ctx, None)

    assert ctx.queues.webhook == []


def test_the_event_keeps_its_body_and_expires() -> None:
    ctx = make_context()
    planned = plan(ctx)
    assert planned is not None
    ctx.store.transact(planned.writes)

    item = ctx.store.get(tables.event(planned.event_id))

    assert item is not None
    assert json.loads(item["body"])["connectionId"] == "c1"
    assert item["ttl"] - ctx.clock.now() > 33 * 86_400
    listed = ctx.store.query(tables.EVENTS, "env1", index="by_environment").items
    assert [each["pk"] for each in listed] == [planned.event_id]
