"""The activity log tells what happened, keeps no secret, and never stands in the way."""

from __future__ import annotations

import time
from typing import Any

import pytest

from keystow.activity import log, masking
from keystow.activity.log import Message
from keystow.secret import Secret
from keystow.store import (
    ConditionFailed,
    ItemTooLarge,
    StoreUnavailable,
    TransactionConflict,
    tables,
)
from keystow.store.memory import MemoryStore
from tests.moto_tables import moto_store
from tests.support import make_context


def test_an_operation_tells_its_story_in_order() -> None:
    ctx: Any = make_context()

    operation = log.begin(ctx, "env1", "auth", "create_connection", integration_key="gh")
    ctx.clock.advance(1)
    log.note(ctx, "env1", operation, Message("info", "Redirecting", {"scopes": ["a", "b"]}))
    ctx.clock.advance(1)
    log.finish(
        ctx,
        "env1",
        operation,
        "success",
        Message("debug", "Received callback"),
        Message("info", "Connected"),
        connection_id="c1",
        end_user="u1",
    )

    found = log.read(ctx, "env1", operation)
    assert found is not None
    header, messages = found
    assert (header["kind"], header["action"]) == ("auth", "create_connection")
    assert (header["state"], header["integration_key"]) == ("success", "gh")
    assert (header["connection_id"], header["end_user"]) == ("c1", "u1")
    assert header["ended_at"] == int(ctx.clock.now() * 1000)
    texts = [message["text"] for message in messages]
    assert texts == ["Redirecting", "Received callback", "Connected"]
    assert messages[0]["details"] == {"scopes": ["a", "b"]}


def test_a_short_operation_is_one_item() -> None:
    ctx: Any = make_context()

    operation = log.record(
        ctx, "env1", "auth", "refresh_token", "failed", Message("error", "It said no")
    )

    assert len(ctx.store.everything()["activity"]) == 1
    found = log.read(ctx, "env1", operation)
    assert found is not None
    assert found[0]["state"] == "failed"
    assert [message["text"] for message in found[1]] == ["It said no"]


def test_operations_are_listed_newest_first() -> None:
    ctx: Any = make_context()
    operations = []
    for _ in range(3):
        operations.append(log.begin(ctx, "env1", "auth", "create_connection"))
        ctx.clock.advance(0.01)

    listed = ctx.store.query(tables.ACTIVITY, "env1", index="by_environment", descending=True)

    assert [item["created"] for item in listed.items] == operations[::-1]


def test_a_given_id_is_kept_and_opening_twice_keeps_one_operation() -> None:
    ctx: Any = make_context()

    first = log.begin(ctx, "env1", "auth", "create_connection", operation="given", provider="p")
    second = log.begin(ctx, "env1", "auth", "create_connection", operation="given")

    assert first == second == "given"
    (header,) = ctx.store.everything()["activity"]
    assert header["provider"] == "p"


def test_every_item_expires_after_thirty_days() -> None:
    ctx: Any = make_context()
    operation = log.begin(ctx, "env1", "auth", "create_connection")
    log.finish(ctx, "env1", operation, "success", Message("info", "Done"))

    expiries = {item["ttl"] for item in ctx.store.everything()["activity"]}

    assert expiries == {int(ctx.clock.now()) + 30 * 86_400}


def test_messages_of_one_moment_do_not_replace_each_other() -> None:
    ctx: Any = make_context()
    operation = log.begin(ctx, "env1", "auth", "create_connection")

    for number in range(20):
        log.note(ctx, "env1", operation, Message("info", f"message {number}"))

    found = log.read(ctx, "env1", operation)
    assert found is not None
    assert len(found[1]) == 20


@pytest.mark.parametrize(
    "failure",
    [
        StoreUnavailable("throttled"),
        ConditionFailed([0], [None]),
        ItemTooLarge("x"),
        TransactionConflict("x"),
    ],
)
def test_a_log_that_cannot_be_written_does_not_break_the_flow(failure: Exception) -> None:
    class Broken(MemoryStore):
        asked = 0

        def transact(self, operations: Any, token: str | None = None) -> None:
            self.asked += 1
            raise failure

    broken = Broken()
    ctx = make_context(store=broken)

    operation = log.begin(ctx, "env1", "auth", "create_connection")
    log.note(ctx, "env1", operation, Message("info", "text"))
    log.finish(ctx, "env1", operation, "success")
    log.record(ctx, "env1", "auth", "refresh_token", "failed")
    assert broken.asked == 4


def test_an_end_and_its_messages_are_one_write() -> None:
    ctx: Any = make_context()
    operation = log.begin(ctx, "env1", "auth", "create_connection")
    written: list[int] = []
    transact = ctx.store.transact

    def told(operations: Any, token: str | None = None) -> None:
        written.append(len(operations))
        transact(operations, token)

    ctx.store.transact = told
    log.finish(ctx, "env1", operation, "success", Message("info", "a"), Message("info", "b"))
    assert written == [3], "messages, header and gate"


def test_messages_that_no_row_holds_do_not_keep_an_operation_open() -> None:
    ctx: Any = make_context()
    operation = log.begin(ctx, "env1", "auth", "create_connection")
    details = {f"name{number}": "\N{GRINNING FACE}" * 500 for number in range(30)}
    messages = [Message("info", "text", details)] * 50
    log.finish(ctx, "env1", operation, "failed", *messages)
    found = log.read(ctx, "env1", operation)
    assert found is not None
    assert (found[0]["state"], found[1]) == ("failed", [])


def test_it_holds_on_dynamodb() -> None:
    with moto_store() as (store, _client):
        ctx = make_context(store=store)
        details = {"attempts": 3, "ratio": 0.5, "ok": True, "none": None, "big": 10**60}
        operation = log.begin(ctx, "env1", "auth", "create_connection")
        log.finish(ctx, "env1", operation, "failed", Message("error", "No", details))

        found = log.read(ctx, "env1", operation)

        assert found is not None
        kept = found[1][0]["details"]
        assert (kept["attempts"], kept["ratio"], kept["ok"]) == (3, "0.5", True)


MARK = "s3cr3t-marked-value"


@pytest.mark.parametrize(
    "message",
    [
        Message("info", "x", {"access_token": MARK}),
        Message("info", "x", {"clientSecret": MARK}),
        Message("info", "x", {"X-Api-Key": MARK}),
        Message("info", "x", {"Authorization": MARK}),
        Message("info", "x", {"code": MARK, "state": MARK, "code_verifier": MARK}),
        Message("info", "x", {"password": 12345, "note": Secret(MARK)}),
        Message("info", "x", {"list": [Secret(MARK), f"Bearer {MARK}"]}),
        Message("info", "x", {"answer": {"access_token": MARK}}),
        Message("info", "x", {"body": MARK.encode()}),
        Message("info", "x", {"authorization_url": f"https://a.example/x?client_secret={MARK}"}),
        Message("info", f"Sent to https://user:{MARK}@a.example/p?x={MARK}#{MARK}"),
        Message("info", f"Authorization: Bearer {MARK}"),
        Message("info", f"Basic {MARK}"),
        Message("info", f'{{"refresh_token": "{MARK}"}}'),
        Message("info", f"grant_type=x&client_secret={MARK}&y=z"),
        Message("info", f"/callback?code={MARK}&state={MARK}"),
        Message("info", f"assertion eyJhbGciOi.{MARK}.{MARK}"),
        Message("info", "x" * 495 + f" api_key={MARK}"),
        Message("info", "x", {f"password={MARK}": 1}),
    ],
)
def test_no_secret_reaches_the_table(message: Message) -> None:
    ctx: Any = make_context()

    log.record(ctx, "env1", "auth", "create_connection", "failed", message)

    everything = str(ctx.store.everything())
    assert MARK not in everything
    assert "s3cr3t" not in everything


@pytest.mark.parametrize(
    "text",
    [
        "The provider answered error code: invalid_grant",
        "Token response received",
        "Answered 410; the endpoint is turned off",
        "Sent to https://api.example.com/oauth/token",
        "state of the connection: broken",
    ],
)
def test_a_plain_sentence_stays_as_it_is(text: str) -> None:
    assert masking.clean_text(text) == text


@pytest.mark.parametrize(
    "name", ["token_url", "tokenEndpoint", "token_type", "expires_in", "status", "scopes", "host"]
)
def test_a_name_that_only_describes_a_secret_is_shown(name: str) -> None:
    assert masking.clean_details({name: "plain"}) == {name: "plain"}


@pytest.mark.parametrize(
    "text",
    ["x" * 5000, "a " * 2500, "a=" * 2500, "token" * 1000, " " * 5000, "eyJ" * 1700, "h://" * 1200],
)
def test_no_text_makes_masking_slow(text: str) -> None:
    # Quadratic time would be seconds here.
    started = time.process_time()

    masking.clean_text(text)

    assert time.process_time() - started < 0.5


def test_texts_are_bounded() -> None:
    assert len(masking.clean_text("x" * 100_000)) == 500
    assert len(masking.clean_details({f"n{n}": n for n in range(1000)})) == masking.MOST_DETAILS


@pytest.mark.parametrize("text", ["\ud800 lone", "\x00", "é" * 600])
def test_any_text_can_be_stored(text: str) -> None:
    masking.clean_text(text).encode()


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://hooks.example.com/secret?token=secret#secret", "hooks.example.com"),
        ("https://hooks.example.com?secret", "hooks.example.com"),
        ("https://user:secret@hooks.example.com:8443/secret@x", "hooks.example.com:8443"),
        ("https://[::1]:4500/secret", "[::1]:4500"),
        ("https://hooks.example.com\\secret", "hooks.example.com"),
        ("https://hooks.example.com", "hooks.example.com"),
    ],
)
def test_of_a_url_only_the_host_is_told(url: str, host: str) -> None:
    assert masking.host_of(url) == host


@pytest.mark.parametrize(
    "reason",
    [
        "invalid_grant",
        "http_403",
        "AADSTS700016",
        "network_timeout",
        "E-1005",
        "40001",
        "ratelimited",
    ],
)
def test_a_reason_is_shown_though_its_name_is_code(reason) -> None:
    assert masking.clean_details({"code": reason}) == {"code": reason}


@pytest.mark.parametrize(
    "secret",
    [
        "4/0AbCdEf",
        "SplxlOBeZQQYbYS6WxSbIA",
        "0f1e2d3c4b5a",
        "ac_9Xk2",
        "eyJhbGciOi",
        "a b",
        12345678,
    ],
)
def test_an_authorization_code_is_masked_by_what_it_is(secret) -> None:
    assert masking.clean_details({"code": secret}) == {"code": "***"}
