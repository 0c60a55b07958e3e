"""Where deliveries go: turned off, corrected, removed, refused, redirected."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from keystow.egress.client import Egress
from keystow.egress.errors import EgressRefused
from keystow.events import delivery, endpoints, outbox
from keystow.events.delivery import Outcome
from keystow.events.outbox import AuthEvent
from keystow.store import tables
from tests.support import FakeEgress, make_context, run_in_parallel, seed_environment
from tests.unit.events.sending import (
    HOUR,
    PRIMARY,
    SECONDARY,
    row,
    run_for,
    set_urls,
    written_event,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_410_turns_the_endpoint_off_for_this_and_every_event() -> None:
    ctx: Any = make_context(egress=FakeEgress(410))
    first = written_event(ctx)
    environment = endpoints.current(ctx, "env1")
    assert environment is not None
    planned = outbox.plan(
        ctx, AuthEvent(environment.environment, "github", "OAUTH2", "gh", "c2", "creation", True)
    )
    assert planned is not None
    ctx.store.transact(planned.writes)

    outcomes = [delivery.deliver(ctx, name, 0, 1) for name in (first, planned.event_id)]

    assert outcomes == [Outcome.STOPPED, Outcome.STOPPED]
    assert len(ctx.egress.sent) == 1
    assert row(ctx, first)["state"] == "disabled"
    assert run_for(ctx, 100 * HOUR) == []
    assert ctx.queues.dead_webhook == []
    (hashed,) = ctx.store.get(tables.disabled_webhooks("env1"))["urls"]
    assert PRIMARY not in hashed


def test_endpoints_that_are_turned_off_at_once_are_all_off() -> None:
    ctx: Any = make_context()
    environment = seed_environment(ctx).environment
    urls = [f"https://hooks.example.com/{number}" for number in range(6)]

    run_in_parallel(6, lambda number: endpoints.disable(ctx, environment.id, urls[number]))

    found = endpoints.current(ctx, environment.id, fresh=True)
    assert found is not None
    assert all(found.is_disabled(url) for url in urls)


def test_no_more_endpoints_are_kept_off_than_a_row_holds() -> None:
    ctx: Any = make_context()
    environment = seed_environment(ctx).environment
    for number in range(210):
        endpoints.disable(ctx, environment.id, f"https://hooks.example.com/{number}")
    off = ctx.store.get(tables.disabled_webhooks(environment.id))["urls"]
    assert len(off) == 200
    found = endpoints.current(ctx, environment.id, fresh=True)
    assert found is not None
    assert found.is_disabled("https://hooks.example.com/209")
    assert not found.is_disabled("https://hooks.example.com/0")


def test_410_of_one_endpoint_leaves_the_other_on() -> None:
    ctx: Any = make_context(egress=FakeEgress(410, 200))
    event_id = written_event(ctx, secondary_url=SECONDARY)

    outcomes = [delivery.deliver(ctx, event_id, place, 1) for place in (0, 1)]

    assert outcomes == [Outcome.STOPPED, Outcome.DELIVERED]


def test_a_destination_that_the_guard_refuses_is_given_up_at_once() -> None:
    ctx: Any = make_context(egress=FakeEgress(EgressRefused("metadata")))
    event_id = written_event(ctx)

    assert delivery.deliver(ctx, event_id, 0, 1) == Outcome.FAILED
    assert row(ctx, event_id)["state"] == "failed"
    assert len(ctx.queues.dead_webhook) == 1


@pytest.fixture
def redirecting() -> Iterator[tuple[str, list[str]]]:
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            paths.append(self.path)
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(307)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: Any) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", paths
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_redirect_is_not_followed(redirecting: tuple[str, list[str]]) -> None:
    url, paths = redirecting
    ctx: Any = make_context(egress=Egress(allow_loopback=True))
    event_id = written_event(ctx, primary_url=url)

    assert delivery.deliver(ctx, event_id, 0, 1) == Outcome.RETRYING
    assert paths == ["/hook"]


def test_a_corrected_url_gets_what_is_still_waiting() -> None:
    ctx: Any = make_context(egress=FakeEgress(404, 200))
    event_id = written_event(ctx)
    delivery.deliver(ctx, event_id, 0, 1)

    set_urls(ctx, "https://right.example.com/")
    delivery.deliver(ctx, event_id, 0, 2)

    assert [sent.url for sent in ctx.egress.sent] == [PRIMARY, "https://right.example.com/"]


def test_a_removed_url_gets_nothing_more() -> None:
    ctx: Any = make_context(egress=FakeEgress(404))
    event_id = written_event(ctx)
    delivery.deliver(ctx, event_id, 0, 1)

    set_urls(ctx, None)

    assert run_for(ctx, 24 * HOUR) == [Outcome.STOPPED]
    assert len(ctx.egress.sent) == 1


def test_an_override_stands_whatever_the_settings_say() -> None:
    ctx: Any = make_context(egress=FakeEgress(404, 200))
    event_id = written_event(ctx, override="https://tenant.example.com/")
    delivery.deliver(ctx, event_id, 0, 1)

    set_urls(ctx, None)

    assert delivery.deliver(ctx, event_id, 0, 2) == Outcome.DELIVERED
    assert {sent.url for sent in ctx.egress.sent} == {"https://tenant.example.com/"}


def test_a_deleted_environment_ends_its_deliveries() -> None:
    ctx: Any = make_context()
    event_id = written_event(ctx)
    ctx.store.delete(tables.environment_settings("env1"))
    ctx.clock.advance(31)

    assert delivery.deliver(ctx, event_id, 0, 1) == Outcome.STOPPED
