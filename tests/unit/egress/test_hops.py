"""What a hop takes along and what it leaves, and what is said of one that fails."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest

from keystow.egress.errors import EgressFailed, EgressRefused
from keystow.egress.receiving import read_body, unpacked
from tests.unit.egress.loopback import answer

SENT = {"Content-Type": "text/plain", "Content-Language": "en", "X-Kept": "yes"}


def redirecting(status: int, location: str = "/end"):
    def script(connection, server) -> None:
        request = server.read_request(connection)
        if b" /end" in request.split(b"\r\n")[0]:
            connection.sendall(answer(b"end"))
        else:
            head = f"Location: {location}\r\n"
            connection.sendall(answer(b"", status=f"{status} Elsewhere", headers=head))

    return script


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (301, "PUT", "PUT"),
        (302, "DELETE", "DELETE"),
        (307, "POST", "POST"),
        (308, "PATCH", "PATCH"),
    ],
)
def test_a_redirect_changes_the_method_as_browsers_do(serve, egress, status, method, then) -> None:
    server = serve(redirecting(status))
    body = None if method == "HEAD" else b"body"
    egress.send(method, server.url(), headers=SENT, body=body, redirects=1)
    request = server.requests[1]
    assert request.startswith(f"{then} /end ".encode())
    assert b"X-Kept: yes" in request
    keeps_body = method == then and body is not None
    assert request.endswith(b"body") == keeps_body
    keeps_kind = method == then and (status != 303 or method == "HEAD")
    assert (b"text/plain" in request, b"Content-Language" in request) == (keeps_kind, keeps_kind)


@pytest.mark.parametrize("status", [300, 304, 305])
def test_other_statuses_are_no_redirects(serve, egress, status) -> None:
    server = serve(redirecting(status))
    assert egress.send("GET", server.url(), redirects=1).status == status
    assert server.connections == 1


@pytest.mark.parametrize("location", ["http://[::1/end", "http://127.0.0.1:99999/"])
def test_a_location_that_is_no_address_says_that_something_was_sent(
    serve, egress, location
) -> None:
    server = serve(redirecting(302, location))
    with pytest.raises(EgressRefused) as refused:
        egress.send("GET", server.url(), redirects=1)
    assert refused.value.sent is True
    assert refused.value.reason.startswith("malformed") or refused.value.reason == "port"


def failure_of(call) -> EgressFailed:
    with pytest.raises(EgressFailed) as raised:
        call()
    return raised.value


@pytest.mark.parametrize(
    "call",
    [
        lambda: read_body([], "11", 10),
        lambda: read_body([b"12345", b"678901"], None, 10),
        lambda: read_body([b"12345", b"678901"], "5", 10),
        lambda: unpacked(gzip.compress(b"x" * 11), "gzip", 10),
        lambda: unpacked(zlib.compress(b"x" * 11), "deflate", 10),
    ],
)
def test_what_is_too_large_was_sent_all_the_same(call) -> None:
    failed = failure_of(call)
    assert (failed.kind, failed.sent) == ("too_large", True)


def test_a_body_of_just_the_largest_size_is_read() -> None:
    assert read_body([b"12345", b"67890"], "10", 10) == b"1234567890"
    assert unpacked(gzip.compress(b"x" * 10), "gzip", 10) == b"x" * 10


@pytest.mark.parametrize("before", [b"", b"x" * 999, b"x" * 1_000])
def test_a_packed_bomb_is_never_unpacked_whole_not_even_behind_something_small(
    before: bytes,
) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    if before:
        bomb = gzip.compress(before) + bomb
    tracemalloc.start()
    try:
        failed = failure_of(lambda: unpacked(bomb, "gzip", 1_000))
        _now, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert failed.kind == "too_large"
    assert most < 1_000_000


def test_a_body_packed_in_parts_may_be_just_as_large_as_one_in_one() -> None:
    parts = gzip.compress(b"x" * 4) + gzip.compress(b"y" * 5) + gzip.compress(b"z")
    assert unpacked(parts, "gzip", 10) == b"xxxxyyyyyz"
    assert failure_of(lambda: unpacked(parts, "gzip", 9)).kind == "too_large"


def test_what_is_not_announced_as_packed_is_left_as_it_is() -> None:
    packed = zlib.compress(b"text")  # nothing shows that it is packed, as gzip does
    assert unpacked(packed, "identity", 1_000) == packed
    assert unpacked(packed, "", 1_000) == packed
    assert unpacked(b"", "gzip", 1_000) == b""


def test_what_is_packed_without_a_mark_is_told_from_text_by_its_end_and_its_name() -> None:
    raw = zlib.compress(b"text of some length, of some length")[2:-4]
    assert unpacked(raw, "deflate", 1_000).startswith(b"text")
    assert unpacked(raw[:-3], "deflate", 1_000) == raw[:-3], "it has no end, so it may be text"
    assert unpacked(raw, "gzip", 1_000) == raw, "nobody said that it is packed that way"


def no_tls(connection, server) -> None:
    connection.recv(1)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def silence(connection, server) -> None:
    server.stopped.wait(5)


@pytest.mark.parametrize(("script", "kind"), [(no_tls, "tls"), (silence, "timeout")])
def test_without_tls_nothing_counts_as_sent(serve, egress, script, kind) -> None:
    url = f"https://localhost:{serve(script).port}/"
    failed = failure_of(lambda: egress.send("POST", url, body=b"secret", connect_timeout=0.5))
    assert (failed.kind, failed.sent) == (kind, False)
