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
from keystow.vault import Purpose
from tests.support import OLD_KEY, make_context, seed_environment, seed_key_of_old

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
    bootstrap.bootstrap(ctx)
    seed_key_of_old(ctx.store, seeded.environment.id, ("environment:variables:*",))
    seed_key_of_old(ctx.store, "account", ("account:*",), "11111111-2222-4333-8444-777777777777")
    assert refusal(ctx, OLD_KEY) == "unknown_account"  # until bootstrap has run again
    ctx.store.put(Put(tables.environment_name("dev"), claim(seeded)))
    assert bootstrap.bootstrap(ctx)["keys_moved"] == 2
    assert ask(ctx, case(OLD_KEY), READ).environment == seeded.environment.id
    assert ask(ctx, "11111111-2222-4333-8444-777777777777").owner == "account"
    left = ctx.store.everything()["registry"]
    assert not [row for row in left if "key_hash" in row]
    found = {key.display_name for key in keys.of_owner(ctx, seeded.environment.id)}
    assert found == {"test", "Of old"}


def claim(seeded):
    return {"environment": seeded.environment.id, "number": seeded.environment.number}


def test_what_was_sealed_under_data_keys_of_the_earlier_place_goes_on_opening():
    ctx = make_context()
    bootstrap.bootstrap(ctx)
    environment = ctx.store.get(tables.environment_name("dev"))["environment"]
    sealed = ctx.vault.seal(Purpose.CREDENTIAL, environment, ("c",), b"token")
    ctx.store.delete(tables.keys_moved())
    partition = tables.data_keys(environment)
    for row in ctx.store.query(tables.REGISTRY, partition).items:
        kept = {name: value for name, value in row.items() if name not in {"pk", "sk"}}
        ctx.store.put(Put(Key(tables.REGISTRY, environment, f"datakey#{row['sk']}"), kept))
        ctx.store.delete(Key(tables.REGISTRY, partition, row["sk"]))
    bootstrap.bootstrap(ctx)
    cold = make_context(store=ctx.store, kms=ctx.kms, clock=ctx.clock)
    assert cold.vault.open(Purpose.CREDENTIAL, environment, ("c",), sealed) == b"token"
    assert not ctx.store.query(tables.REGISTRY, environment, prefix="datakey#").items


def test_a_row_that_looks_like_a_key_outside_of_the_keys_is_none():
    """As a function could write it that may write integrations."""
    ctx = make_context()
    made = bootstrap.bootstrap(ctx)
    seed_key_of_old(ctx.store, "account", ("account:*",))
    ctx.store.put(Put(tables.keys_moved(), {"at": 1}))
    assert refusal(ctx, OLD_KEY) == "unknown_account"
    assert "keys_moved" not in bootstrap.bootstrap(ctx)
    assert refusal(ctx, OLD_KEY) == "unknown_account"
    assert ask(ctx, made["account_key"]).owner == "account"


def test_a_new_account_never_takes_over_keys():
    ctx = make_context()
    bootstrap.bootstrap(ctx)
    assert ctx.store.get(tables.keys_moved()) is not None


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
