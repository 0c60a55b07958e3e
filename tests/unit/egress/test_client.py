from __future__ import annotations

import datetime as dt
import gzip
import logging
import socket
import ssl
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from keystow.egress.client import Answer, Egress, Timer
from keystow.egress.errors import EgressFailed, EgressRefused
from keystow.egress.head import LARGEST, Head, TooLargeHead
from tests.unit.egress.loopback import answer, loopback_only, names

if TYPE_CHECKING:
    from pathlib import Path


class Ticking:
    """A clock that moves by one second whenever somebody looks at it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        self.seconds += 1.0
        return self.seconds


def failure(egress: Egress, url: str, **kwargs) -> EgressFailed:
    with pytest.raises(EgressFailed) as failed:
        egress.send("POST", url, body=b"refresh_token=marked-secret", **kwargs)
    assert "marked" not in f"{failed.value} {failed.value!r}"
    return failed.value


def test_a_request_arrives_as_given_and_its_answer_comes_back(serve, egress) -> None:
    server = serve(answer(b'{"a": 1}', headers="X-Rate: 1\r\nX-Rate: 2\r\n"))

    got = egress.send(
        "post",
        server.url("/token?q=a b".replace(" ", "%20")),
        headers={"X-Own": "yes"},
        body=b"a=1",
    )

    assert (got.status, got.json(), got.headers["x-rate"]) == (200, {"a": 1}, "1, 2")
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /token?q=a%20b HTTP/1.1"
    assert f"Host: 127.0.0.1:{server.port}" in lines
    assert "X-Own: yes" in lines
    for line in (
        "User-Agent: Keystow",
        "Accept: */*",
        "Accept-Encoding: identity",
        "Content-Length: 3",
        "Connection: close",
    ):
        assert line in lines
    assert body == b"a=1"


def test_an_answer_of_any_status_is_an_answer(serve, egress) -> None:
    server = serve(answer(b"no", status="503 Busy", headers="Retry-After: 7\r\n"))
    got = egress.send("GET", server.url())
    assert (got.status, got.headers["retry-after"], got.body) == (503, "7", b"no")


def test_proxies_of_the_environment_are_ignored(serve, egress, monkeypatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert egress.send("GET", serve(answer()).url()).status == 200


def test_a_slow_drip_does_not_pass_the_deadline(serve) -> None:
    def drip(connection: socket.socket, server) -> None:
        server.read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not server.stopped.is_set():
            connection.sendall(b"a")

    ticking = Egress(allow_loopback=True, connect=loopback_only, monotonic=Ticking())
    # Every read succeeds at once; only their number, a second each, can end this exchange.
    failed = failure(ticking, serve(drip).url(), deadline=20.0, connect_timeout=20.0)
    assert failed.kind in {"timeout", "lost"}
    assert failed.sent is True


def test_a_drip_of_body_bytes_ends_with_the_deadline(serve) -> None:
    def drip(connection: socket.socket, server) -> None:
        server.read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while not server.stopped.wait(0.02):
            connection.sendall(b"a")

    patient = Egress(allow_loopback=True, connect=loopback_only)
    failed = failure(patient, serve(drip).url(), deadline=0.3)
    assert (failed.kind, failed.sent) == ("timeout", True)


def test_a_silent_server_runs_into_the_deadline_after_the_request_was_sent(serve, egress) -> None:
    def silent(connection: socket.socket, server) -> None:
        server.read_request(connection)
        server.stopped.wait(5)

    failed = failure(egress, serve(silent).url(), deadline=0.2)
    assert (failed.kind, failed.sent) == ("timeout", True)


def test_a_look_up_that_hangs_counts_against_the_deadline() -> None:
    release = threading.Event()

    keeping: list[bool] = []

    def hanging(*_: object, **__: object) -> list[tuple[object, ...]]:
        keeping.append(not threading.current_thread().daemon)
        release.wait(5)
        return []

    failed = failure(
        Egress(resolve=hanging, connect=loopback_only), "https://slow.example", deadline=0.1
    )
    release.set()
    assert (failed.kind, failed.sent) == ("timeout", False)
    assert keeping == [False], "it keeps no program from ending"


@pytest.mark.parametrize(("seconds", "status"), [(19.9, 200), (20, None)])
def test_who_names_no_limits_gets_twenty_seconds_three_of_them_to_connect(
    serve, seconds, status
) -> None:
    now, patience = [0.0], []

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        patience.append(timeout)
        now[0] += seconds
        return loopback_only(address, 3)

    out = Egress(allow_loopback=True, connect=connect, monotonic=lambda: now[0])
    url = serve(answer()).url()
    if status is None:
        assert (failure(out, url).kind, patience) == ("timeout", [3.0])
    else:
        assert (out.send("GET", url).status, patience) == (status, [3.0])


def test_who_names_no_limit_gets_a_megabyte(serve, egress) -> None:
    assert len(egress.send("GET", serve(answer(bytes(1_000_000))).url()).body) == 1_000_000
    assert failure(egress, serve(answer(bytes(1_000_001))).url()).kind == "too_large"


def test_a_timer_is_over_at_its_end_and_a_part_of_it_not_later() -> None:
    now = [0.0]
    timer = Timer(2, lambda: now[0])
    part, long_part = timer.part(1), timer.part(5)
    assert (timer.left(), part.left(), long_part.left()) == (2, 1, 2)
    for seconds, over in ((1, [part]), (2, [timer, part, long_part])):
        now[0] = seconds
        for each in over:
            with pytest.raises(EgressFailed) as failed:
                each.left()
            assert failed.value.kind == "timeout"


def test_an_unknown_name_is_a_failure_with_nothing_sent() -> None:
    failed = failure(Egress(resolve=names(), connect=loopback_only), "https://nowhere.example")
    assert (failed.kind, failed.sent) == ("connect", False)


def test_a_closed_port_is_a_failure_with_nothing_sent(egress) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    failed = failure(egress, f"http://127.0.0.1:{port}/")
    assert (failed.kind, failed.sent) == ("connect", False)


def test_the_next_address_is_tried_when_the_first_does_not_answer(serve) -> None:
    server = serve(answer(b"second"))
    tried: list[str] = []

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        tried.append(address[0])
        if address[0] == "::1":
            raise TimeoutError
        return loopback_only(address, timeout)

    two = Egress(
        allow_loopback=True, resolve=names(provider_test=["::1", "127.0.0.1"]), connect=connect
    )
    assert two.send("GET", server.url(host="provider.test")).body == b"second"
    assert tried == ["::1", "127.0.0.1"]


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


class Broken:
    """A connection that takes a part of the request only; ``answer`` came before it broke."""

    def __init__(self, answer: bytes) -> None:
        self.taken = b""
        self.closed = False
        self._answer = answer

    def setsockopt(self, *_option: object) -> None:
        pass

    def settimeout(self, _seconds: float) -> None:
        pass

    def send(self, data: bytes) -> int:
        if self.taken:
            raise BrokenPipeError
        self.taken = bytes(data[:20])
        return len(self.taken)

    def recv(self, _most: int) -> bytes:
        found, self._answer = self._answer, b""
        if not found:
            raise ConnectionResetError
        return found

    def close(self) -> None:
        self.closed = True


def test_an_answer_that_comes_before_the_whole_request_was_taken_counts() -> None:
    broken = Broken(answer(b"too much", status="413 Too Large"))
    out = Egress(allow_loopback=True, connect=lambda *_where: broken)  # type: ignore[arg-type]
    got = out.send("POST", "http://127.0.0.1:9/", body=b"x" * 1000, deadline=3)
    assert (got.status, got.body, broken.closed) == (413, b"too much", True)


def test_a_request_that_was_taken_in_part_and_not_answered_is_lost_and_was_sent() -> None:
    broken = Broken(b"")
    out = Egress(allow_loopback=True, connect=lambda *_where: broken)  # type: ignore[arg-type]
    failed = failure(out, "http://127.0.0.1:9/", deadline=3)
    assert (failed.kind, failed.sent, broken.closed) == ("lost", True, True)


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


def test_a_connection_reset_after_the_request_says_that_it_was_sent(serve, egress) -> None:
    def reset(connection: socket.socket, server) -> None:
        server.read_request(connection)
        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    failed = failure(egress, serve(reset).url())
    assert (failed.kind, failed.sent) == ("lost", True)


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


def test_no_redirect_is_followed_unless_asked_for(serve, egress) -> None:
    server = serve(answer(b"", status="302 Found", headers="Location: http://10.0.0.1/\r\n"))
    got = egress.send("POST", server.url(), body=b"secret")
    assert (got.status, server.connections) == (302, 1)


def redirecting(location: str, status: str = "302 Found"):
    def script(connection: socket.socket, server) -> None:
        request = server.read_request(connection)
        if b" /end" in request.split(b"\r\n")[0]:
            connection.sendall(answer(b"end"))
        else:
            where = location.replace("PORT", str(server.port))
            connection.sendall(answer(b"", status=status, headers=f"Location: {where}\r\n"))

    return script


def test_a_followed_redirect_keeps_headers_at_the_same_origin(serve, egress) -> None:
    server = serve(redirecting("/end"))
    got = egress.send("GET", server.url(), headers={"Authorization": "Bearer x"}, redirects=1)
    assert got.body == b"end"
    assert b"Authorization: Bearer x" in server.requests[1]


def test_a_redirect_to_another_host_carries_no_credentials(serve, egress) -> None:
    server = serve(redirecting("http://localhost:PORT/end"))
    headers = {"Authorization": "Bearer x", "X-Api-Key": "k", "Cookie": "c=1", "Accept": "a/b"}
    got = egress.send("GET", server.url(), headers=headers, redirects=1)
    assert got.body == b"end"
    for secret in (b"Bearer x", b"X-Api-Key", b"c=1"):
        assert secret not in server.requests[1]
    assert b"Accept: a/b" in server.requests[1]


def test_a_redirected_post_becomes_a_get_without_its_body(serve, egress) -> None:
    server = serve(redirecting("http://localhost:PORT/end"))
    egress.send("POST", server.url(), body=b"secret", redirects=1)
    assert server.requests[1].startswith(b"GET /end")
    assert b"secret" not in server.requests[1]


def test_a_body_is_never_sent_again_to_another_host(serve, egress) -> None:
    server = serve(redirecting("http://localhost:PORT/end", status="307 Temporary Redirect"))
    with pytest.raises(EgressRefused) as refused:
        egress.send("POST", server.url(), body=b"secret", redirects=1)
    assert (refused.value.reason, refused.value.sent) == ("redirect", True)
    assert server.connections == 1


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://169.254.169.254/latest", "metadata"),
        ("https://10.0.0.1/", "private"),
        ("http://provider.test/", "private"),
        ("ftp://127.0.0.1/", "scheme"),
        ("http://user@127.0.0.1/", "userinfo"),
    ],
)
def test_every_hop_of_a_redirect_is_checked(serve, location, reason) -> None:
    hops = Egress(
        allow_loopback=True, resolve=names(provider_test="10.0.0.1"), connect=loopback_only
    )
    with pytest.raises(EgressRefused) as refused:
        hops.send("GET", serve(redirecting(location)).url(), redirects=3)
    assert (refused.value.reason, refused.value.sent) == (reason, True)


def test_a_circle_of_redirects_ends(serve, egress) -> None:
    server = serve(redirecting("/again"))
    failed = failure(egress, server.url(), redirects=3)
    assert (failed.kind, failed.sent) == ("too_many_redirects", True)
    assert server.connections == 4


def test_a_failure_at_a_later_hop_says_that_something_was_sent(serve, egress) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    failed = failure(egress, serve(redirecting(f"http://127.0.0.1:{port}/")).url(), redirects=1)
    assert (failed.kind, failed.sent) == ("connect", True)


def test_a_hundred_threads_share_one_egress(serve, egress) -> None:
    def echo(connection: socket.socket, server) -> None:
        connection.sendall(answer(server.read_request(connection).partition(b"\r\n\r\n")[2]))

    server = serve(echo)
    bodies = [f"request-{number}".encode() for number in range(100)]
    with ThreadPoolExecutor(100) as pool:
        got = list(pool.map(lambda b: egress.send("POST", server.url(), body=b).body, bodies))
    assert got == bodies


def test_debug_logging_shows_neither_request_nor_answer(serve, egress, caplog) -> None:
    server = serve(answer(b"{}", headers="Set-Cookie: marked-cookie\r\n"))
    with caplog.at_level(logging.DEBUG):
        egress.send("GET", server.url("/?marked-query"), headers={"Authorization": "marked-key"})
    assert "marked" not in caplog.text


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


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "provider.test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("provider.test")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    chain, private = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return chain, private


def tls_script(certificate, seen: list[str | None]):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.sni_callback = lambda _sock, name, _context: seen.append(name)

    def script(connection: socket.socket, server) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            server.read_request(secured)
            secured.sendall(answer(b"sealed"))

    return script


def test_tls_names_the_host_while_connecting_to_the_checked_address(serve, certificate) -> None:
    seen: list[str | None] = []
    server = serve(tls_script(certificate, seen))
    egress = Egress(
        allow_loopback=True, resolve=names(provider_test="127.0.0.1"), connect=loopback_only
    )
    egress._tls = ssl.create_default_context(cafile=str(certificate[0]))

    got = egress.send("GET", f"https://provider.test:{server.port}/")

    assert (got.body, seen) == (b"sealed", ["provider.test"])
    assert f"Host: provider.test:{server.port}".encode() in server.requests[0]


def test_tls_speaks_http_1_1_and_is_not_older_than_1_2(serve, certificate, monkeypatch) -> None:
    spoken: list[tuple[str | None, str | None]] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.set_alpn_protocols(["h2", "http/1.1"])

    def script(connection: socket.socket, server) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            spoken.append((secured.selected_alpn_protocol(), secured.version()))
            server.read_request(secured)
            secured.sendall(answer())

    monkeypatch.setattr("certifi.where", lambda: str(certificate[0]))
    egress = Egress(
        allow_loopback=True, resolve=names(provider_test="127.0.0.1"), connect=loopback_only
    )
    url = f"https://provider.test:{serve(script).port}/"
    assert egress.send("GET", url).status == 200
    assert spoken == [("http/1.1", "TLSv1.3")]
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert egress.send("GET", url).status == 200
    assert spoken[1:] == [("http/1.1", "TLSv1.2")]
    assert egress._tls_context().minimum_version == ssl.TLSVersion.TLSv1_2


def test_an_untrusted_certificate_ends_the_exchange_before_anything_is_sent(
    serve, certificate
) -> None:
    server = serve(tls_script(certificate, []))
    egress = Egress(
        allow_loopback=True, resolve=names(provider_test="127.0.0.1"), connect=loopback_only
    )
    failed = failure(egress, f"https://provider.test:{server.port}/")
    assert (failed.kind, failed.sent, server.requests) == ("tls", False, [])


def test_a_certificate_of_another_name_is_not_accepted(serve, certificate) -> None:
    server = serve(tls_script(certificate, []))
    egress = Egress(
        allow_loopback=True, resolve=names(other_test="127.0.0.1"), connect=loopback_only
    )
    egress._tls = ssl.create_default_context(cafile=str(certificate[0]))
    failed = failure(egress, f"https://other.test:{server.port}/")
    assert (failed.kind, failed.sent, server.requests) == ("tls", False, [])


def test_a_trust_store_named_by_the_environment_is_ignored(serve, certificate, monkeypatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    server = serve(tls_script(certificate, []))
    egress = Egress(
        allow_loopback=True, resolve=names(provider_test="127.0.0.1"), connect=loopback_only
    )
    assert failure(egress, f"https://provider.test:{server.port}/").kind == "tls"


def test_a_tls_handshake_that_never_ends_is_cut_off_with_nothing_sent(serve) -> None:
    server = serve(lambda _connection, server: server.stopped.wait(5))

    def connect(address: tuple[str, int], _timeout: float) -> socket.socket:
        return loopback_only(address, 60)

    egress = Egress(allow_loopback=True, connect=connect)
    failed = failure(egress, f"https://127.0.0.1:{server.port}/", connect_timeout=0.2, deadline=4)
    assert (failed.kind, failed.sent) == ("timeout", False)


def test_tls_is_not_begun_after_the_deadline_and_the_connection_is_closed(serve) -> None:
    server = serve(lambda _connection, server: server.stopped.wait(5))
    now, opened = [0.0], []

    def connect(address: tuple[str, int], _timeout: float) -> socket.socket:
        opened.append(loopback_only(address, 3))
        now[0] += 3
        return opened[0]

    out = Egress(allow_loopback=True, connect=connect, monotonic=lambda: now[0])
    url = f"https://127.0.0.1:{server.port}/"
    failed = failure(out, url, connect_timeout=5, deadline=3)
    assert (failed.kind, failed.sent, opened[0].fileno()) == ("timeout", False, -1)
