"""Bodies are read as browsers read them, into what can be stored and answered."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystow.egress.client import Answer
from keystow.egress.reading import MAX_DEPTH, MAX_DIGITS, MAX_FIELDS, form_of, json_of

TOKEN = {"access_token": "new", "name": "Søren"}
TEXT = json.dumps(TOKEN, ensure_ascii=False)


def read(body: bytes, content_type: str = "application/json") -> Any:
    return Answer(200, {"content-type": content_type}, body).json()


@pytest.mark.parametrize(
    ("charset", "codec"),
    [
        ("iso-8859-1", "latin-1"),
        ("ISO-8859-15", "iso8859-15"),
        ('"latin1"', "latin-1"),
        ("windows-1252", "cp1252"),
        ("UTF-16", "utf-16"),
        ("UTF-16", "utf-16-be"),
        ("utf-8", "utf-16-le"),
        ("utf-16le", "utf-16-le"),
        ("utf-8", "utf-8"),
        ("utf-8", "utf-8-sig"),
        ("iso-8859-1", "utf-8-sig"),
        ("iso-8859-1", "utf-16"),
        ("utf-8", "utf-32"),
    ],
)
def test_a_body_is_decoded_by_its_mark_or_by_the_charset_it_declares(charset, codec) -> None:
    assert read(TEXT.encode(codec), f"application/json;charset={charset}; x=1") == TOKEN


@pytest.mark.parametrize(
    "charset",
    [
        *(
            "UTF-8",
            "utf-16",
            "utf-7",
            "idna",
            "punycode",
            "rot13",
            "zip",
            "unicode_escape",
            "base64",
        ),
        *("nonsense", "undefined", "utf-8\0", "../../x", "raw_unicode_escape", "mbcs", ""),
    ],
)
def test_a_byte_of_another_charset_does_not_cost_the_token(charset) -> None:
    found = read(TEXT.encode("latin-1"), f"application/json; charset={charset}")
    assert found == {"access_token": "new", "name": "S\ufffdren"}


@pytest.mark.parametrize("charset", ["utf-7", "unicode_escape", "rot13", "base64", "hz"])
def test_only_charsets_of_the_web_are_decoded(charset) -> None:
    body = b'{"access_token":"+AGE-","n":"~{"}'
    assert read(body, f"text/plain; charset={charset}")["access_token"] == "+AGE-"


@pytest.mark.parametrize(
    ("odd", "kept"),
    [
        ("NaN", None),
        ("-Infinity", None),
        ("1e999", None),
        ("9" * 5_000, None),
        ('"a\nb\x01\tc"', "a\nb\x01\tc"),
        ('"\\ud83d"', "?"),
        ('"\\ud83d\\ude00"', "\U0001f600"),
        ("[1, NaN, 2]", [1, None, 2]),
        ('{"a": Infinity, "b": 1}', {"b": 1}),
        ("18446744073709551615", 2**64 - 1),
        ("1.0", 1.0),
        ("undefined", None),
        ("None", None),
        ("01234", 1234),
        ("+1", 1),
        ("-007.50", -7.5),
        (".5", 0.5),
        ("-.5e1", -5.0),
        ("+0.25", 0.25),
        ("01e2", 100.0),
        ("02.50E-1", 0.25),
        ("00", 0),
        ("-", None),
        (".", None),
        ("trueish", None),
        ("[[1,],]", [[1]]),
        ('{"a":1,}', {"a": 1}),
        ('",]"', ",]"),
        ("1.", 1),
        ("0x1F", None),
        ("1,", 1),
        ("[1, 2,]", [1, 2]),
        ('"it\\\'s \\x41 \\u00e9 \\u12"', "it's \\x41 \u00e9 \\u12"),
    ],
)
def test_an_odd_value_in_another_field_is_read_over(odd, kept) -> None:
    found = read(f'{{"access_token":"new","odd":{odd}}}'.encode())
    assert found["access_token"] == "new"
    assert found.get("odd") == kept
    json.dumps(found, allow_nan=False).encode()


@pytest.mark.parametrize(
    "nest",
    [
        "[" * 200_000 + "]" * 200_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        '[{"x]}":[' * 50_000 + '"]"' + "]}]" * 50_000,
    ],
)
def test_a_nest_of_brackets_beside_the_token_is_cut_off(nest) -> None:
    found = read(f'{{"nest":{nest},"access_token":"new","after":["[",{{"a":"}}"}}]}}'.encode())
    assert (found["access_token"], found["after"]) == ("new", ["[", {"a": "}"}])
    assert _depth(found) <= MAX_DEPTH


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0


@pytest.mark.parametrize(
    "hostile",
    [
        b'{"a":' + b'"\\"' * 300_000,
        b'"' * 900_000,
        b'\\"' * 450_000,
        b"[" * 900_000,
        b'{"a":[' + b'"\\' * 450_000,
        b'{"a":' + b'\\"' * 450_000,
        b"x{" * 450_000,
        b"x" * 900_000 + b"{",
        b"{" + b"0" * 900_000,
    ],
)
def test_no_body_takes_long_to_be_found_unreadable(hostile) -> None:
    began = time.process_time()
    with pytest.raises(ValueError, match="not JSON"):
        read(b"[[" * 40 + hostile)
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "body",
    [
        b"\r\n\xef\xbb\xbf{A}",
        b"\xef\xbb\xbf\xef\xbb\xbf{A}",
        b"{A}\0\0\0",
        b"{A}\n<!-- served by web-7 -->",
        b"{A}" + b"[" * 80,
        b"\0{A}\n",
        b")]}',\n{A}",
        b"while(1);{A}",
        b"for (;;);{A}\n",
        b"<br />\n<b>Warning</b>: cannot write in <b>/srv/x.php</b> on line <b>7</b><br />\n{A}",
    ],
)
def test_what_stands_around_an_object_is_not_read(body) -> None:
    assert read(body.replace(b"{A}", b'{"access_token":"new"}')) == {"access_token": "new"}


@pytest.mark.parametrize("value", [[1, "a", {"b": 2}], [], "a", 1, 1.5, True, None])
def test_an_answer_need_not_be_an_object(value) -> None:
    assert read(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    "body", [b"null access_token", b"1 2", b'"a" b', b"[] x", b"x []", b"f({});"]
)
def test_only_an_object_may_be_followed_by_something_else(body) -> None:
    with pytest.raises(ValueError, match="not JSON"):
        read(body)


@pytest.mark.parametrize(
    "page",
    [
        b"<html><style>body { color: red }</style></html>",
        b'<script>var x = {"access_token": "a"};</script>',
        b"body { color: red }",
    ],
)
def test_a_page_is_never_taken_for_an_object(page) -> None:
    with pytest.raises(ValueError, match="not JSON"):
        read(page)


def test_a_number_alone_that_cannot_be_kept_is_no_answer() -> None:
    for body in (b"NaN", b"1e999"):
        with pytest.raises(ValueError, match="not JSON"):
            read(body)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.text(max_size=30))
def test_whatever_comes_is_read_or_refused_and_can_be_answered(body, content_type) -> None:
    for reader in (json_of, form_of):
        try:
            found = reader(body, content_type)
        except ValueError:
            continue
        json.dumps(found, allow_nan=False, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("body", "charset", "fields"),
    [
        (b"\xef\xbb\xbfaccess_token=a", "", {"access_token": "a"}),
        (b"\r\naccess_token=a&&b&c=\n", "", {"access_token": "a", "b": "", "c": ""}),
        (b"access_token=a&name=S%F8ren", "iso-8859-1", {"access_token": "a", "name": "Søren"}),
        (b"access_token=a&name=S%C3%B8ren", "utf-8", {"access_token": "a", "name": "Søren"}),
        (b"access_token=a&name=S\xf8ren%ZZ", "", {"access_token": "a", "name": "S\ufffdren%ZZ"}),
    ],
)
def test_a_form_is_read_over_a_mark_and_odd_fields(body, charset, fields) -> None:
    assert form_of(body, f"text/plain; charset={charset}" if charset else "") == fields


def test_a_form_is_read_though_its_charset_is_a_wrong_word() -> None:
    assert form_of(b"access_token=a", "text/plain; charset=utf-16") == {"access_token": "a"}
    body = "access_token=a&name=S%C3%B8ren".encode("utf-16")
    assert form_of(body) == {"access_token": "a", "name": "Søren"}


def test_the_first_value_of_a_form_may_be_a_long_token_with_signs() -> None:
    token = "a" * 1_000 + "<'>=="
    assert form_of(f"access_token={token}&x=1".encode()) == {"access_token": token, "x": "1"}


def test_marks_and_fillings_around_a_form_are_not_read() -> None:
    found = form_of(b"\xef\xbb\xbf\xef\xbb\xbf\0\naccess_token=a\0\r\n")
    assert found == {"access_token": "a"}


def test_a_number_of_a_hundred_digits_is_kept_and_a_longer_one_left_out() -> None:
    for digits, kept in ((MAX_DIGITS, True), (MAX_DIGITS + 1, False)):
        found = read(f'{{"access_token":"new","n":{"9" * digits}}}'.encode())
        assert ("n" in found) is kept


def test_a_form_of_very_many_fields_is_read_up_to_a_limit() -> None:
    body = b"access_token=a" + b"&x=1" * 100_000
    assert form_of(body)["access_token"] == "a"
    assert len(form_of(b"&".join(b"f%d=1" % n for n in range(5_000)))) == MAX_FIELDS


@pytest.mark.parametrize(
    "page", [b"<a href='/x?a=1&access_token=2&b'>", b"{}&access_token=1", b"", b"plain words"]
)
def test_a_page_is_never_taken_for_a_form(page) -> None:
    with pytest.raises(ValueError, match="not a form"):
        form_of(page)
