"""Answers as providers send them: odd heads and framing, packed bodies, limits; broken ones."""

from __future__ import annotations

import gzip
import socket
import zlib

import pytest

from keystow.egress.client import Answer
from keystow.egress.head import LARGEST, Head, TooLargeHead
from tests.unit.egress.loopback import answer, failure


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1234",
        b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n["a"]',
        b'HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n{"a":1}\n{"b":',
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{half}",
    ],
)
def test_an_answer_that_was_cut_off_is_lost_and_the_request_was_sent(serve, egress, broken) -> None:
    failed = failure(egress, serve(broken).url())
    assert (failed.kind, failed.sent, failed.answered) == ("lost", True, False)


@pytest.mark.parametrize(
    "garbled",
    [
        b"this is no HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length : 3\r\n\r\n{}}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\x00 3\r\n\r\n{}}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n 3\r\n\r\n{}}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_an_answer_whose_end_is_not_clear_is_refused_whole(serve, egress, garbled) -> None:
    failed = failure(egress, serve(garbled).url())
    assert (failed.kind, failed.sent, failed.answered) == ("malformed", True, True)


TOKEN = b'{"access_token":"a"}'
LENGTH = b"Content-Length: 20\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nget ban result: not supported\r\n" + LENGTH,
        b"HTTP/1.1 200 OK\r\ncache-result/forum.php: userdata\r\n" + LENGTH,
        b"HTTP/1.1 200 OK\r\nStrict-Transport-Security : max-age=1\r\n" + LENGTH,
        b"HTTP/1.1 200 OK\r\nno colon at all\r\n" + LENGTH,
        b"HTTP/1.1 200 OK\r\n: no name\r\n" + LENGTH,
        b"HTTP/1.1 200 OK\r\n  begins with a space: x\r\n" + LENGTH,
        b"HTTP/1.1 200 OK\r\n(odd): x\r\n and its second line\r\n" + LENGTH,
        b"HTTP/1.1 200 OK\r\nX-Folded: a\r\n\tb\r\n" + LENGTH,
        b"HTTP/1.1 200 OK\r\n" + LENGTH + b"(odd): x\r\n 5\r\n",
        "HTTP/1.1 200 OK\r\nX-N\u00e4me: x\r\n".encode() + LENGTH,
        b"HTTP/1.1 200 OK\r\nX-Null: a\x00b\r\nX-Return: a\rb\r\n" + LENGTH,
        b"HTTP/1.1 200 OK\r\nX-Null\x00: b\r\n" + LENGTH,
        b"HTTP/1.1 200 OK\r\nContent-Length\x00: 3\r\nContent-Length\x01 : 4\r\n" + LENGTH,
        b"HTTP/1.1 200 \x00\x01\xff\r\n" + LENGTH,
        b"HTTP/1.1  200\r\n" + LENGTH,
        b"\r\n\r\nHTTP/1.1 200 OK\r\n" + LENGTH,
        b"HTTP/1.1 200 OK\nbad name: x\n" + LENGTH.replace(b"\r", b""),
        b"HTTP/1.1 200 OK\r\nContent-Length : 20\r\n",
        b"HTTP/1.1 200 OK\r\n" + LENGTH + LENGTH,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n" + LENGTH,
        b"HTTP/1.0 200 OK\r\nbad name: x\r\n",
        b"HTTP/1.1 100 Continue\r\nbad name: x\r\n\r\nHTTP/1.1 200 OK\r\nbad/too: x\r\n" + LENGTH,
        b"HTTP/1.1 103 Early\r\n\r\n" * 20 + b"HTTP/1.1 200 OK\r\nbad/too: x\r\n" + LENGTH,
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=" + b"x" * 65_536 + b"\r\n" + LENGTH,
    ],
)
@pytest.mark.parametrize("piece", [1, 3, 100_000])
def test_an_illegal_line_of_the_head_does_not_cost_the_answer(serve, egress, head, piece) -> None:
    if len(head) > 10_000 and piece < 10_000:
        piece *= 20_000

    def script(connection: socket.socket, server) -> None:
        server.read_request(connection)
        data = head + b"\r\n" + TOKEN
        for start in range(0, len(data), piece):
            connection.sendall(data[start : start + piece])

    got = egress.send("POST", serve(script).url(), body=b"x=1")
    assert (got.status, got.body) == (200, TOKEN)


def test_a_field_that_goes_on_over_lines_is_one(serve, egress) -> None:
    head = b"HTTP/1.1 200 OK\r\nX-Folded: a\r\n\tb: 1\r\n  c\r\nX-Next: d\r\n" + LENGTH
    got = egress.send("GET", serve(head + b"\r\n" + TOKEN).url())
    assert (got.headers["x-folded"], got.headers["x-next"]) == ("a b: 1 c", "d")
    second = b"HTTP/1.1 200 OK\r\nX-First: a\r\nX-Second: b\r\n c\r\n" + LENGTH
    got = egress.send("GET", serve(second + b"\r\n" + TOKEN).url())
    assert (got.headers["x-first"], got.headers["x-second"]) == ("a", "b c")


def test_words_of_framing_in_other_fields_are_words(serve, egress) -> None:
    head = b"HTTP/1.1 200 OK\r\nX-Kind: identity\r\nX-A: chunked\r\nX-B: chunked\r\n" + LENGTH
    got = egress.send("GET", serve(head + b"\r\n" + TOKEN).url())
    found = [got.headers.get(name) for name in ("x-kind", "x-a", "x-b")]
    assert found == ["identity", "chunked", "chunked"]
    assert got.body == TOKEN


def test_a_head_may_be_as_long_as_its_limit_and_no_longer() -> None:
    whole = b"HTTP/1.1 200 OK\r\nX: ".ljust(LARGEST - 4, b"a") + b"\r\n\r\n"
    assert Head().feed(whole)
    early = b"HTTP/1.1 103 Early\r\n\r\n"
    for longer in (whole.replace(b"X: ", b"X: a"), early + whole):
        with pytest.raises(TooLargeHead):
            Head().feed(longer)


def test_a_body_in_chunks_stays_one_when_the_head_says_so_oddly_or_twice(serve, egress) -> None:
    chunks = b"a  \r\n" + TOKEN[:10] + b"\r\nA;ext=1\r\n" + TOKEN[10:] + b"\r\n0\r\n\r\n"
    for framing in (
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: Chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
    ):
        head = b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n"
        assert egress.send("GET", serve(head + chunks).url()).body == TOKEN


def test_a_trailer_that_is_no_header_field_does_not_cost_the_body(serve, egress) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    for trailer in (b"bad trailer: x\r\n", b"X-Check: 1\r\n", b"no colon\r\n"):
        body = b"14\r\n" + TOKEN + b"\r\n0\r\n" + trailer + b"\r\n"
        assert egress.send("GET", serve(head + body).url()).body == TOKEN


def test_a_trailer_that_is_no_header_field_does_not_cost_a_body_that_is_no_object(
    serve, egress
) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"e\r\naccess_token=a\r\n0\r\nbad trailer: x\r\n\r\n"
    assert egress.send("GET", serve(head + chunks).url()).body == b"access_token=a"


@pytest.mark.parametrize(
    "framed",
    [
        b"Transfer-Encoding: chunked\r\n\r\n14\r\n" + TOKEN + b"\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n14\r\n" + TOKEN + b"\r\n0\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n14\r\n" + TOKEN + b"\n0\n\n",
        b"Content-Length: 21\r\n\r\n" + TOKEN,
    ],
)
def test_an_object_that_is_closed_counts_although_its_framing_has_no_end(
    serve, egress, framed
) -> None:
    assert egress.send("GET", serve(b"HTTP/1.1 200 OK\r\n" + framed).url()).body == TOKEN


def test_what_looks_like_a_head_within_the_body_is_left_alone(serve, egress) -> None:
    body = b"HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n"
    assert egress.send("GET", serve(answer(body)).url()).body == body


def test_a_head_without_an_end_is_cut_off_at_a_limit(serve, egress) -> None:
    for endless in (b"X-Long: " + b"a" * 300_000, b"HTTP/1.1 103 Early\r\n\r\n" * 15_000):
        failed = failure(egress, serve(b"HTTP/1.1 103 Early\r\n\r\n" + endless).url())
        assert failed.kind == "too_large"


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", TOKEN),
        ("deflate", TOKEN),
        ("x-gzip", gzip.compress(TOKEN, mtime=0)),
        ("deflate", zlib.compress(TOKEN)),
        ("deflate", zlib.compress(TOKEN)[2:-4]),
        ("identity", TOKEN),
        ("unknown", TOKEN),
    ],
)
def test_a_wrong_word_on_how_a_body_is_packed_does_not_cost_it(
    serve, egress, encoding, body
) -> None:
    server = serve(answer(body, headers=f"Content-Encoding: {encoding}\r\n"))
    assert egress.send("GET", server.url()).body == TOKEN


@pytest.mark.parametrize(
    "large",
    [
        answer(b"a" * 2000),
        b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * 2000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n" + b"a" * 2000,
        answer(gzip.compress(b"a" * 100_000), headers="Content-Encoding: gzip\r\n"),
    ],
)
def test_an_answer_over_the_limit_fails(serve, egress, large) -> None:
    failed = failure(egress, serve(large).url(), max_bytes=1000)
    assert (failed.kind, failed.sent) == ("too_large", True)


def test_a_body_that_is_announced_too_large_is_not_waited_for(serve, egress) -> None:
    def slow(connection: socket.socket, server) -> None:
        server.read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n")
        server.stopped.wait(5)

    failed = failure(egress, serve(slow).url(), max_bytes=1000, deadline=3)
    assert (failed.kind, failed.sent) == ("too_large", True)


def test_an_answer_of_just_the_limit_passes(serve, egress) -> None:
    assert len(egress.send("GET", serve(answer(b"a" * 1000)).url(), max_bytes=1000).body) == 1000


def test_an_answer_packed_without_being_asked_is_unpacked(serve, egress) -> None:
    server = serve(answer(gzip.compress(b'{"a":1}'), headers="Content-Encoding: gzip\r\n"))
    assert egress.send("GET", server.url()).json() == {"a": 1}


def test_a_body_that_is_packed_is_unpacked_whatever_its_head_says(serve, egress) -> None:
    for headers, packed in (
        ("", gzip.compress(TOKEN)),
        ("Content-Encoding: none\r\n", gzip.compress(TOKEN)),
        ("Content-Encoding: gzip\r\n", gzip.compress(TOKEN[:9]) + gzip.compress(TOKEN[9:])),
    ):
        server = serve(answer(packed, headers=headers))
        assert egress.send("GET", server.url()).body == TOKEN


def test_an_answer_does_not_show_itself() -> None:
    shown = repr(Answer(200, {"set-cookie": "marked"}, b"marked"))
    assert "marked" not in shown


def test_a_body_that_is_not_json_or_form_raises_a_value_error_without_its_text() -> None:
    for body in (b"<html>marked", b"\xff\xfe", b"[" * 100_000):
        with pytest.raises(ValueError, match="not JSON") as error:
            Answer(200, {}, body).json()
        assert "marked" not in str(error.value)
    with pytest.raises(ValueError, match="not a form"):
        Answer(200, {}, b"<html>").form()
    latin = Answer(200, {"content-type": "text/plain; charset=latin1"}, b"access_token=a&of=M%E9")
    assert latin.form()["of"] == "M\u00e9"
    assert Answer(200, {}, b"access_token=a%20b&scope=").form() == {
        "access_token": "a b",
        "scope": "",
    }


def test_a_packed_body_can_be_had_as_it_was_received(serve, egress) -> None:
    packed = gzip.compress(b"a" * 5_000)
    server = serve(answer(packed, headers="Content-Encoding: gzip\r\n"))
    got = egress.send("GET", server.url(), unpack=False, max_bytes=1_000)
    assert got.body == packed
    assert failure(egress, server.url(), max_bytes=1_000).kind == "too_large"
