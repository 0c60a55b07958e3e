from __future__ import annotations

import secrets
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING

import pytest

from keystow.oauth import state

if TYPE_CHECKING:
    from keystow.oauth.state import NewState


def fresh() -> NewState:
    return state.new_state(secrets.token_bytes)


def browser_after(*headers: str) -> dict[str, str]:
    jar: SimpleCookie = SimpleCookie()
    for header in headers:
        jar.load(header)
    return {name: morsel.value for name, morsel in jar.items() if morsel["max-age"] != "0"}


def test_state_and_binding_are_256_independent_random_bits_each() -> None:
    asked: list[int] = []

    def random_bytes(count: int) -> bytes:
        asked.append(count)
        return bytes([len(asked)]) * count

    made = state.new_state(random_bytes)

    assert asked == [32, 32]
    assert len(made.value) == 43
    assert made.value != made.binding.reveal()


def test_only_hashes_are_for_storing() -> None:
    made = fresh()
    assert made.hash == state.hash_of(made.value)
    assert made.binding_hash == state.hash_of(made.binding.reveal())
    assert made.value not in made.hash
    shown = repr(made)
    assert made.value not in shown
    assert made.binding.reveal() not in shown


def test_the_cookie_has_all_attributes_that_its_prefix_asks_for() -> None:
    header = state.set_cookie(fresh(), secure=True, max_age=600)
    name, _, rest = header.partition("=")
    assert name.startswith("__Host-keystow-state-")
    attributes = set(rest.split("; ")[1:])
    assert attributes == {"Max-Age=600", "Path=/", "HttpOnly", "SameSite=Lax", "Secure"}


def test_on_loopback_http_the_cookie_has_a_plain_name_and_is_not_secure() -> None:
    header = state.set_cookie(fresh(), secure=False)
    assert header.startswith("keystow-state-")
    assert "Secure" not in header
    assert "HttpOnly; SameSite=Lax" in header


@pytest.mark.parametrize("secure", [True, False])
def test_several_attempts_in_one_browser_do_not_disturb_one_another(secure: bool) -> None:
    attempts = [fresh() for _ in range(3)]
    cookies = browser_after(*(state.set_cookie(a, secure=secure) for a in attempts))
    for attempt in attempts:
        assert state.is_bound(cookies, attempt.hash, attempt.binding_hash, secure=secure)


def test_another_browser_is_not_bound() -> None:
    mine, theirs = fresh(), fresh()
    cookies = browser_after(state.set_cookie(theirs, secure=True))
    assert not state.is_bound({}, mine.hash, mine.binding_hash, secure=True)
    assert not state.is_bound(cookies, mine.hash, mine.binding_hash, secure=True)


def test_knowing_the_state_does_not_help_to_forge_the_cookie() -> None:
    mine = fresh()
    name = state.cookie_name(mine.hash, secure=True)
    for guess in (mine.value, mine.hash, mine.binding_hash, "", "é\udcff"):
        assert not state.is_bound({name: guess}, mine.hash, mine.binding_hash, secure=True)


def test_a_cookie_with_the_plain_name_is_not_taken_on_https() -> None:
    mine = fresh()
    plain = browser_after(state.set_cookie(mine, secure=False))
    assert not state.is_bound(plain, mine.hash, mine.binding_hash, secure=True)


def test_an_attempt_without_a_stored_binding_is_bound_to_nobody() -> None:
    mine = fresh()
    cookies = browser_after(state.set_cookie(mine, secure=True))
    assert not state.is_bound(cookies, mine.hash, "", secure=True)


@pytest.mark.parametrize("text", ["", "x", "\udcff", "é" * 10_000, "\0"])
def test_any_text_in_a_callback_can_be_looked_up(text: str) -> None:
    assert len(state.hash_of(text)) == 64
