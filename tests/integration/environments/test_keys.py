"""What a key looks like, where it lies, and what may be written of it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from keystow.environments import bootstrap, keys
from keystow.errors import ApiError
from keystow.http import auth
from keystow.http.messages import request_from
from keystow.store import Key, Put, StoreUnavailable, tables
from tests.support import OLD_KEY, make_context, seed_environment, store_key_of_old

READ = "environment:variables:read"


def ask(ctx: Any, key: str, *scopes: str) -> auth.Principal:
    event = {"headers": {"authorization": f"Bearer {key}"}}
    return auth.secret_key(ctx, request_from(event, "https://keystow.test"), *scopes)


def refusal(ctx: Any, key: str) -> str:
    with pytest.raises(ApiError) as raised:
        ask(ctx, key)
    return raised.value.code


def test_a_new_key_has_a_prefix_for_scanners_and_works():
    ctx = make_context()
    made = bootstrap.bootstrap(ctx)
    for text in (made["secret_key"], made["account_key"]):
        assert re.fullmatch(r"keystow_[0-9a-f]{48}", text)
        assert ask(ctx, text).owner


class Unasked:
    """A store that fails whoever looks into it."""

    def get(self, _key):
        raise AssertionError("a table was looked at")


def test_a_typing_mistake_is_refused_without_a_look_at_the_tables():
    text = keys.new_text(make_context().random).reveal()
    ctx = make_context(store=Unasked())
    digits = range(len("keystow_"), len(text))
    changed = [text[:at] + ("1" if text[at] == "0" else "0") + text[at + 1 :] for at in digits]
    swapped = [text[:at] + text[at + 1] + text[at] + text[at + 2 :] for at in digits[:-1]]
    cut = [text[:-1], text + "0", text.upper(), text.replace("keystow_", "")]
    for wrong in {*changed, *swapped, *cut} - {text}:
        assert refusal(ctx, wrong) == "invalid_secret_key_format", wrong


@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_a_key_of_the_earlier_form_goes_on_working(case):
    ctx = make_context()
    seeded = seed_environment(ctx)
    store_key_of_old(ctx, seeded.environment.id, ("environment:variables:*",))
    assert ask(ctx, case(OLD_KEY), READ).environment == seeded.environment.id
    assert refusal(ctx, OLD_KEY[:-1] + "7") == "unknown_account"


def test_a_row_that_looks_like_a_key_outside_of_the_keys_is_none():
    """As a function could write it that may write integrations; neither now nor after bootstrap."""
    ctx = make_context()
    made = bootstrap.bootstrap(ctx)
    key, text, _ = keys.new_key(ctx, "account", "x", ("account:*",))
    ctx.store.put(Put(Key(tables.REGISTRY, f"key#{key.key_hash}", "key"), key.as_item()))
    ctx.store.put(Put(Key(tables.REGISTRY, "account", f"apikey#{key.uuid}"), key.as_item()))
    assert refusal(ctx, text.reveal()) == "unknown_account"
    assert bootstrap.bootstrap(ctx)["already_done"]
    assert refusal(ctx, text.reveal()) == "unknown_account"
    assert ask(ctx, made["account_key"]).owner == "account"


def test_nothing_that_may_be_noted_of_a_use_lets_anybody_in():
    ctx = make_context()
    bootstrap.bootstrap(ctx)
    key, text, _ = keys.new_key(ctx, "account", "x", ("account:*",))
    for owner in ("account", key.key_hash, f"key#{key.key_hash}", f"{key.key_hash}#key"):
        for name in ("key", key.uuid, key.key_hash):
            ctx.store.put(Put(tables.api_key_use(owner, name), key.as_item()))
    assert refusal(ctx, text.reveal()) == "unknown_account"
    assert [each.display_name for each in keys.of_owner(ctx, "account")] == ["Account"]


def test_the_last_use_is_noted_once_a_day_by_all_containers_together():
    ctx = make_context()
    seeded = seed_environment(ctx)
    start = int(ctx.clock.now() * 1000)
    first = make_context(store=ctx.store, clock=ctx.clock)
    second = make_context(store=ctx.store, clock=ctx.clock)
    ask(first, seeded.secret_key)
    ctx.clock.advance(3600)
    ask(first, seeded.secret_key)
    ask(second, seeded.secret_key)
    assert keys.last_uses(ctx, "env1") == {seeded.key.uuid: start}
    ctx.clock.advance(23 * 3600 + 1)
    ask(second, seeded.secret_key)
    assert keys.last_uses(ctx, "env1") == {seeded.key.uuid: start + (24 * 3600 + 1) * 1000}


def test_a_note_that_cannot_be_written_keeps_nobody_out():
    ctx = make_context()
    seeded = seed_environment(ctx)

    def away(_operation):
        raise StoreUnavailable("away")

    ctx.store.update = away
    assert ask(ctx, seeded.secret_key, READ).environment == "env1"
