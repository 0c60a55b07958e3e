"""Data keys that several threads need at once, or that are had beside other work, ahead of it."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

import pytest

from keystow.vault import Purpose, VaultUnavailable
from keystow.vault import vault as vault_module
from keystow.vault.kms import KmsError
from keystow.vault.vault import CACHE_SECONDS
from tests.support import make_context, run_in_parallel
from tests.unit.vault.sealing import BINDING, sealed

BOTH = (Purpose.CREDENTIAL, Purpose.INTEGRATION)


def all_but_one_wait(monkeypatch: pytest.MonkeyPatch, threads: int) -> threading.Barrier:
    """Return what the thread that asks KMS waits at, until all others wait for its answer."""
    meeting = threading.Barrier(threads)

    class Noticed(Future[bytes]):
        def result(self, timeout: float | None = None) -> bytes:
            meeting.wait(10)
            return super().result(timeout)

    monkeypatch.setattr(vault_module, "Future", Noticed)
    return meeting


def test_threads_that_need_one_data_key_at_once_ask_kms_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ctx: Any = make_context()
    envelope = sealed(ctx)
    ctx.clock.advance(CACHE_SECONDS)
    others_wait = all_but_one_wait(monkeypatch, 8)
    unwrap = ctx.kms.unwrap

    def last(*args: Any) -> bytes:
        others_wait.wait(10)
        return bytes(unwrap(*args))

    ctx.kms.unwrap = last

    def work(_number: int) -> bytes:
        return bytes(ctx.vault.open(Purpose.CREDENTIAL, "env1", BINDING, envelope))

    assert run_in_parallel(8, work) == [b"secret"] * 8
    assert ctx.kms.unwrapped == 1


def test_the_fault_of_whoever_asks_kms_is_that_of_all_who_wait_and_is_asked_about_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ctx: Any = make_context()
    envelope = sealed(ctx)
    ctx.clock.advance(CACHE_SECONDS)
    others_wait = all_but_one_wait(monkeypatch, 4)
    unwrap, asked = ctx.kms.unwrap, []

    def failing(*_args: Any) -> bytes:
        asked.append(1)
        others_wait.wait(10)
        raise KmsError("ThrottlingException")

    ctx.kms.unwrap = failing

    def work(_number: int) -> str:
        try:
            ctx.vault.open(Purpose.CREDENTIAL, "env1", BINDING, envelope)
        except VaultUnavailable as error:
            return str(error)
        return ""

    assert run_in_parallel(4, work) == ["ThrottlingException"] * 4
    assert asked == [1]
    ctx.kms.unwrap = unwrap
    assert ctx.vault.open(Purpose.CREDENTIAL, "env1", BINDING, envelope) == b"secret"


def test_a_data_key_is_fetched_beside_other_work() -> None:
    ctx: Any = make_context()
    envelope = sealed(ctx)
    ctx.clock.advance(CACHE_SECONDS)
    unwrap, unwrapped = ctx.kms.unwrap, threading.Event()

    def told(*args: Any) -> bytes:
        found = bytes(unwrap(*args))
        unwrapped.set()
        return found

    ctx.kms.unwrap = told

    with ctx.vault.fetching_ahead(Purpose.CREDENTIAL, "env1"):
        assert unwrapped.wait(10), "nothing within has asked for it"

    assert ctx.vault.open(Purpose.CREDENTIAL, "env1", BINDING, envelope) == b"secret"
    assert ctx.kms.unwrapped == 1


def test_a_data_key_that_cannot_be_fetched_ahead_stops_no_other_work() -> None:
    ctx: Any = make_context()
    sealed(ctx)
    ctx.clock.advance(CACHE_SECONDS)
    ctx.kms.failure = KmsError("ThrottlingException")

    with ctx.vault.fetching_ahead(Purpose.CREDENTIAL, "env1"):
        done = True

    assert done
    with ctx.vault.fetching_ahead(Purpose.CREDENTIAL, "env-without-any"):
        pass
    assert ctx.kms.generated == 1, "nothing is made ahead"


def cold(ctx: Any) -> dict[Any, Any]:
    """Data keys of two purposes as a container finds them that has none at hand."""
    sealed(ctx)
    ctx.vault.seal(Purpose.INTEGRATION, "env1", BINDING, b"secret")
    ctx.clock.advance(CACHE_SECONDS)
    places = ctx.vault.missing("env1", *BOTH)
    return dict(zip(places, ctx.store.get_all(places), strict=True))


def test_data_keys_that_were_read_with_other_rows_are_unwrapped_beside_other_work() -> None:
    ctx: Any = make_context()
    rows = cold(ctx)
    assert [key.sk.partition("-")[0] for key in rows] == ["credential", "integration"]
    read: list[Any] = []
    get = ctx.store.get
    ctx.store.get = lambda key: read.append(key) or get(key)
    with ctx.vault.unwrapping_ahead("env1", rows):
        pass
    assert ctx.kms.unwrapped == 2
    assert ctx.vault.missing("env1", *BOTH) == []
    envelope = sealed(ctx)
    assert ctx.vault.open(Purpose.CREDENTIAL, "env1", BINDING, envelope) == b"secret"
    assert (ctx.kms.unwrapped, read) == (2, [])


def test_whoever_is_quicker_than_what_is_beside_it_reads_no_row_again() -> None:
    ctx: Any = make_context()
    envelope = sealed(ctx)
    rows = cold(ctx)
    read: list[Any] = []
    get, unwrap, late = ctx.store.get, ctx.kms.unwrap, threading.Event()
    ctx.store.get = lambda key: read.append(key) or get(key)

    def held_up(*args: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            assert late.wait(10)
        return unwrap(*args)

    ctx.kms.unwrap = held_up
    with ctx.vault.unwrapping_ahead("env1", dict(reversed(rows.items()))):
        # The thread is at the other key.
        assert ctx.vault.open(Purpose.CREDENTIAL, "env1", BINDING, envelope) == b"secret"
        late.set()
    assert (ctx.kms.unwrapped, read) == (2, [])
    # The rows are of one request: the next one reads anew.
    ctx.clock.advance(CACHE_SECONDS)
    ctx.vault.open(Purpose.CREDENTIAL, "env1", BINDING, envelope)
    assert len(read) == 1


def test_sealing_waits_for_what_is_unwrapped_beside_it() -> None:
    ctx: Any = make_context()
    rows = cold(ctx)
    unwrap, began, late = ctx.kms.unwrap, threading.Event(), threading.Event()

    def held_up(*args: Any) -> Any:
        began.set()
        assert late.wait(10)
        return unwrap(*args)

    ctx.kms.unwrap = held_up
    with ctx.vault.unwrapping_ahead("env1", rows):
        assert began.wait(10)
        threading.Timer(0.05, late.set).start()
        sealed(ctx)
    assert ctx.kms.unwrapped == 2


def test_a_data_key_that_does_not_unwrap_ahead_stops_neither_work_nor_the_next_one() -> None:
    ctx: Any = make_context()
    rows = cold(ctx)
    unwrap, refused = ctx.kms.unwrap, [KmsError("ThrottlingException")]

    def once(*args: Any) -> Any:
        if refused:
            raise refused.pop()
        return unwrap(*args)

    ctx.kms.unwrap = once
    with ctx.vault.unwrapping_ahead("env1", rows):
        pass
    assert [key.sk.partition("-")[0] for key in ctx.vault.missing("env1", *BOTH)] == ["credential"]
    assert ctx.vault.open(Purpose.CREDENTIAL, "env1", BINDING, sealed(ctx)) == b"secret"


def test_a_data_key_that_was_not_made_yet_or_is_destroyed_is_not_unwrapped_ahead() -> None:
    ctx: Any = make_context()
    (place,) = ctx.vault.missing("env1", Purpose.CREDENTIAL)
    for row in (None, {"pk": place.pk, "sk": place.sk, "key": "k", "wrapped": b""}):
        with ctx.vault.unwrapping_ahead("env1", {place: row}):
            pass
        assert ctx.vault.missing("env1", Purpose.CREDENTIAL) == [place]
    assert ctx.kms.generated == 0, "nothing is made ahead"
