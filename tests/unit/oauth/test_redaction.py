from __future__ import annotations

from base64 import b64decode, b64encode
from functools import partial
from html import escape
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystow.oauth.redaction import MASK, basic_spellings, cleaned, plain

SECRET = "s3cr3t+/value=with&signs-0123456789"


@pytest.mark.parametrize(
    "echo",
    [
        SECRET,
        quote(SECRET, safe=""),
        SECRET[:12],
        SECRET[-9:],
        SECRET[5:20] + "...",
        "s3cr3t+/value=with&amp;signs",
    ],
)
def test_a_secret_does_not_come_back_whole_in_part_or_encoded(echo: str) -> None:
    shown = cleaned(f"the token {echo} is invalid", [SECRET])
    assert shown.startswith("the token ***")
    windows = (SECRET[i : i + 8] for i in range(len(SECRET) - 7))
    assert not any(window in shown for window in windows)


@pytest.mark.parametrize("spell", [partial(quote, safe=""), quote_plus, escape])
def test_a_secret_of_many_signs_does_not_come_back_in_any_spelling(spell) -> None:
    secret = "a/b c&d/e f&g"
    assert cleaned(f"no {spell(secret)} here", [secret]) == "no *** here"


def test_basic_credentials_do_not_come_back() -> None:
    header = b64encode(f"id:{SECRET}".encode()).decode()
    assert header not in cleaned(f"got {header}", basic_spellings("id", SECRET))


def test_both_spellings_of_basic_credentials_are_known() -> None:
    plain_one, encoded = (b64decode(each) for each in basic_spellings("i d", "s&e"))
    assert (plain_one, encoded) == (b"i d:s&e", b"i+d:s%26e")


@pytest.mark.parametrize(("length", "whole"), [(299, True), (300, True), (301, False)])
def test_a_text_keeps_its_last_character_as_long_as_it_may_be(length: int, whole: bool) -> None:
    text = ("ab " * 101)[: length - 1] + "!"
    for shown in (cleaned(text), plain(text, 300)):
        assert shown == (text if whole else text[:299] + "…")


def test_secrets_side_by_side_leave_what_stands_around_them() -> None:
    assert cleaned("a12345678b87654321c", ["12345678", "87654321"]) == "a***b***c"
    assert cleaned("12345678", ["12345678"]) == "***"
    assert cleaned("x12345678", ["12345678"]) == "x***"
    assert cleaned("pin 1234!", ["1234"]) == "pin ***!"
    assert cleaned("nothing", [""]) == "nothing"


def test_a_long_opaque_run_is_masked_although_nobody_named_it() -> None:
    token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl"
    assert cleaned(f"token {token} unknown") == f"token {MASK} unknown"


def test_ids_that_support_will_ask_for_stay() -> None:
    words = "AADSTS70008: expired. Trace ID: 0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
    assert cleaned(words, [SECRET]) == words


def test_a_text_is_one_printable_line_of_bounded_length() -> None:
    shown = cleaned("a\r\n\x1b[31mb\u202e\0 \u2028" + "word " * 1000)
    assert len(shown) <= 300
    assert shown.isprintable()
    assert shown.startswith("a [31mb word")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("<b>No</b> thanks", "No thanks"),
        ("<img src=x onerror=alert(1)>", ""),
        ("<img src=x onerror=alert(1)", "img src=x onerror=alert(1)"),
        ("<scr<b>ipt>alert(1)</scr</b>ipt>", "scr ipt alert(1) /scr ipt"),
        ("<!DOCTYPE html><p>down</p>", "down"),
        ("a \u202edcba\u202c e\u2066f\u2069\u200b", "a dcba e f"),
        ("one\ntwo\x1b[31m\0", "one two [31m"),
        ("2 < 3 and 5 > 4", "2 3 and 5 4"),
        ("L'accès a été refusé", "L'accès a été refusé"),
    ],
)
def test_a_strangers_text_has_neither_markup_nor_marks_that_cannot_be_seen(
    given: str, shown: str
) -> None:
    assert plain(given, 300) == shown
    assert cleaned(given) == shown
    assert len(plain(given * 100, 40)) <= 40


@settings(max_examples=200, deadline=None)
@given(st.text(min_size=8, max_size=60), st.text(max_size=80), st.text(max_size=80))
def test_no_secret_of_eight_characters_survives_anywhere(
    secret: str, before: str, after: str
) -> None:
    shown = cleaned(before + secret + after, [secret])
    printable = "".join(c if c.isprintable() else " " for c in secret)
    if printable == secret and MASK not in secret and "…" not in secret:
        assert secret not in shown


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=5000), st.lists(st.text(max_size=20), max_size=3))
def test_nothing_makes_the_cleaning_fail(text: str, secrets: list[str]) -> None:
    assert len(cleaned(text, secrets)) <= 300
