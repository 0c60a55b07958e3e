"""The proxy over real sockets, with a provider that keeps every byte and answers by a script."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from keystow.egress.client import Egress
from keystow.proxy.answers import MOST_BYTES
from tests.integration.proxy.world import Proxied
from tests.unit.egress.loopback import Server, answer, loopback_only, names

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from tests.app import Result


class Wired(Proxied):
    """A world whose provider listens on loopback; ``there`` is another name of it."""

    def __init__(self, script: Callable[[socket.socket, Server], None]) -> None:
        super().__init__(loopback_allowed=True)
        self.server = Server(script)
        known = names(localhost="127.0.0.1", there="127.0.0.1")
        self.ctx.egress = Egress(allow_loopback=True, resolve=known, connect=loopback_only)
        self.provider_of(
            "wired",
            "API_KEY",
            base_url=self.server.url("/v1", "localhost"),
            headers={"authorization": "Key ${apiKey}"},
        )
        self.connected("wired", {"type": "API_KEY", "apiKey": "secret"})

    def asked(self, method: str = "GET", path: str = "/x", **headers: Any) -> Result:
        return self.sent(method, path, of="wired", connection="wired", **headers)

    @property
    def received(self) -> bytes:
        (request,) = self.server.requests
        return request


@pytest.fixture
def wired() -> Iterator[Callable[..., Wired]]:
    made: list[Wired] = []

    def start(script: Callable[[socket.socket, Server], None] | bytes) -> Wired:
        if isinstance(script, bytes):
            reply = script

            def script(connection: socket.socket, server: Server) -> None:
                server.read_request(connection)
                connection.sendall(reply)

        made.append(Wired(script))
        return made[-1]

    yield start
    for each in made:
        each.server.close()


def test_a_request_is_on_the_wire_what_was_asked_for_and_nothing_more(wired: Any) -> None:
    world = wired(answer(b'{"a": 1}', headers="Content-Type: application/json\r\nX-Id: 7\r\n"))
    found = world.asked(
        "PATCH",
        "/it%25em%252Fs/%C3%A9//?b=2&a=%20x&a=&c[]=1",
        raw=b"\x00\xff body",
        content_type="application/octet-stream",
        accept="application/json, text/plain, */*",
        user_agent="nango-node-client/0.71.10",
        nango_proxy_x_a="b",
        x_other="not for them",
        cookie="session=1",
    )
    assert world.received == (
        b"PATCH /v1/it%25em%2Fs/%C3%A9//?b=2&a=%20x&a=&c[]=1 HTTP/1.1\r\n"
        b"Host: localhost:" + str(world.server.port).encode() + b"\r\n"
        b"User-Agent: Keystow\r\n"
        b"Accept: */*\r\n"
        b"authorization: Key secret\r\n"
        b"x-a: b\r\n"
        b"content-type: application/octet-stream\r\n"
        b"accept-encoding: identity\r\n"
        b"Content-Length: 7\r\n"
        b"Connection: close\r\n"
        b"\r\n"
        b"\x00\xff body"
    )
    assert (found.status, found.body, found.headers["x-id"]) == (200, b'{"a": 1}', "7")


@pytest.mark.parametrize("method", ["GET", "DELETE", "HEAD", "OPTIONS", "PROPFIND", "REPORT"])
def test_a_request_without_a_body_announces_none(wired: Any, method: str) -> None:
    world = wired(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert world.asked(method, content_type="application/json").status == 204
    head = world.received.lower()
    assert head.startswith(method.lower().encode())
    assert b"content-length" not in head
    assert b"content-type" not in head


@pytest.mark.parametrize("method", ["DELETE", "PROPFIND", "REPORT", "GET"])
def test_a_body_goes_with_any_method(wired: Any, method: str) -> None:
    world = wired(answer(b"ok"))
    assert world.asked(method, raw=b"<a/>", content_type="text/xml").status == 200
    assert b"Content-Length: 4" in world.received
    assert world.received.endswith(b"<a/>")


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc",
        "/%2e%2e/x",
        "/a\\b",
        "/a?",
        "/%0d%0aX-Evil:%201",
        "/\u00e9 \u2028",
        "/a#b",
    ],
)
def test_odd_paths_stay_one_request_line_below_the_base_url(wired: Any, path: str) -> None:
    world = wired(answer(b"ok"))
    assert world.asked(path=path).status == 200
    line, rest = world.received.split(b"\r\n", 1)
    method, target, version = line.split(b" ")
    assert (method, version) == (b"GET", b"HTTP/1.1")
    assert target.startswith(b"/v1/")
    assert b"evil" not in rest.lower()


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\x00b", "\x7f"])
def test_a_header_that_would_start_another_is_refused(wired: Any, value: str) -> None:
    world = wired(answer(b"ok"))
    found = world.asked(nango_proxy_x=value)
    assert (found.status, found.code) == (400, "invalid_headers")
    assert world.server.requests == []


def test_a_path_that_is_no_url_any_more_is_refused(wired: Any) -> None:
    world = wired(answer(b"ok"))
    found = world.asked(path="/" + "a" * 20_000)
    assert (found.status, found.code) == (400, "invalid_uri_params")
    assert world.server.requests == []


def test_the_length_and_frame_are_ours_whatever_the_caller_says(wired: Any) -> None:
    world = wired(answer(b"ok"))
    world.asked(
        "POST",
        raw=b"body",
        nango_proxy_content_length="999",
        nango_proxy_transfer_encoding="chunked",
        nango_proxy_host="evil.example",
        nango_proxy_connection="keep-alive, x-a",
    )
    head = world.received.lower()
    assert head.count(b"content-length:") == 1
    assert b"content-length: 4" in head
    assert b"chunked" not in head
    assert b"evil.example" not in head
    assert head.count(b"connection:") == 1


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain\r\n\r\n"


def test_a_chunked_answer_is_whole_and_no_longer_chunked(wired: Any) -> None:
    found = wired(CHUNKED + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n").asked()
    assert (found.status, found.body) == (200, b"abcde")
    assert "transfer-encoding" not in found.headers


def test_an_answer_that_ends_with_the_connection_is_whole(wired: Any) -> None:
    found = wired(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end").asked()
    assert found.body == b"until the end"


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Type: text/plain\r\n\r\nabc",
        CHUNKED + b"5\r\nab",
        b"SSH-2.0-OpenSSH\r\n\r\n",
    ],
    ids=["nothing", "half a head", "half a body", "half a chunk", "no HTTP"],
)
def test_a_broken_answer_is_told_as_one(wired: Any, reply: bytes) -> None:
    found = wired(reply).asked()
    assert (found.status, found.code) == (502, "provider_unavailable")
    assert b"secret" not in found.body


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_an_answer_without_a_body_is_passed_on_without_one(wired: Any, status: str) -> None:
    reply = f'HTTP/1.1 {status}\r\nETag: "1"\r\nContent-Length: 5\r\n\r\n'.encode()
    found = wired(reply).asked(nango_proxy_if_none_match='"1"')
    assert (found.status, found.body, found.headers["etag"]) == (int(status[:3]), b"", '"1"')


def test_the_answer_to_a_head_has_its_headers_and_no_body(wired: Any) -> None:
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\nX-Size: 9999999999\r\n\r\n"
    found = wired(reply).asked("HEAD")
    assert (found.status, found.body, found.headers["x-size"]) == (200, b"", "9999999999")


def test_a_101_is_no_answer(wired: Any) -> None:
    reply = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    found = wired(reply).asked(nango_proxy_upgrade="websocket")
    assert found.status == 502


def test_a_body_that_the_client_can_unpack_stays_packed(wired: Any) -> None:
    packed = gzip.compress(b"plain" * 100)
    world = wired(answer(packed, headers="Content-Encoding: gzip\r\nContent-Type: text/plain\r\n"))
    found = world.asked(accept_encoding="gzip, compress, deflate, br")
    assert b"accept-encoding: gzip\r\n" in world.received
    assert (found.body, found.headers["content-encoding"]) == (packed, "gzip")


@pytest.mark.parametrize(
    ("coding", "pack"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("x-gzip", gzip.compress)],
)
def test_a_body_is_unpacked_for_who_asks_for_that(wired: Any, coding: str, pack: Any) -> None:
    reply = answer(pack(b"plain"), headers=f"Content-Encoding: {coding}\r\n")
    found = wired(reply).asked(decompress="true")
    assert found.body == b"plain"
    assert "content-encoding" not in found.headers


def test_a_part_of_something_is_asked_for_as_it_is(wired: Any) -> None:
    partial = answer(b"bc", "206 Partial Content", "Content-Range: bytes 1-2/9\r\n")
    found = wired(partial).asked(accept_encoding="gzip", nango_proxy_range="bytes=1-2")
    assert (found.status, found.body) == (206, b"bc")
    assert found.headers["content-range"] == "bytes 1-2/9"


def test_several_cookies_and_repeated_headers_arrive(wired: Any) -> None:
    more = "Set-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\nLink: <1>\r\nLink: <2>\r\n"
    found = wired(answer(b"ok", headers=more)).asked()
    assert found.cookies == ("a=1; Path=/", "b=2")
    assert found.headers["link"] == "<1>, <2>"


def test_what_is_too_large_is_not_read_to_its_end(wired: Any) -> None:
    sent: list[int] = []

    def script(connection: socket.socket, server: Server) -> None:
        server.read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\n\r\n")
        for _part in range(200):
            connection.sendall(b"x" * 1_000_000)
            sent.append(1)

    found = wired(script).asked()
    assert (found.status, found.code) == (502, "response_too_large")
    assert len(sent) < 50


def test_an_announced_size_is_enough_to_know(wired: Any) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {MOST_BYTES + 1}\r\n\r\n".encode()
    assert wired(head).asked().code == "response_too_large"


def test_huge_heads_are_no_answer(wired: Any) -> None:
    found = wired(b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 300_000 + b"\r\n\r\n").asked()
    assert (found.status, found.code) == (502, "response_too_large")


def leading_to(place: str, status: str) -> Callable[[socket.socket, Server], None]:
    def script(connection: socket.socket, server: Server) -> None:
        request = server.read_request(connection)
        if b"/end" in request.split(b"\r\n")[0]:
            connection.sendall(answer(b"end"))
        else:
            where = place.replace("PORT", str(server.port))
            connection.sendall(answer(b"", status, f"Location: {where}\r\n"))

    return script


def test_a_redirect_to_another_host_carries_neither_credential_nor_headers(wired: Any) -> None:
    world = wired(leading_to("http://127.0.0.1:PORT/end", "302 Found"))
    found = world.asked(nango_proxy_x_key="mine", forward_headers_on_redirect="true")
    assert (found.status, found.body) == (200, b"end")
    first, second = world.server.requests
    assert b"Key secret" in first
    assert b"secret" not in second
    assert b"mine" not in second


def test_a_redirect_within_the_host_keeps_all(wired: Any) -> None:
    world = wired(leading_to("/end", "307 Temporary Redirect"))
    found = world.asked("POST", raw=b"body", nango_proxy_x_key="mine")
    assert found.body == b"end"
    second = world.server.requests[1]
    assert b"Key secret" in second
    assert b"mine" in second
    assert second.endswith(b"body")


@pytest.mark.parametrize(
    "place", ["http://10.0.0.1/x", "http://169.254.169.254/latest", "ftp://localhost/", "http://["]
)
def test_a_redirect_inside_is_refused(wired: Any, place: str) -> None:
    world = wired(leading_to(place, "302 Found"))
    found = world.asked()
    assert found.status == 400
    assert found.code in {"base_url_override_not_allowed", "invalid_uri_params"}
    assert len(world.server.requests) == 1


def test_a_body_is_not_sent_to_another_host(wired: Any) -> None:
    world = wired(leading_to("http://127.0.0.1:PORT/end", "308 Permanent Redirect"))
    found = world.asked("POST", raw=b"secret body")
    assert (found.status, found.code) == (400, "base_url_override_not_allowed")
    assert len(world.server.requests) == 1


def test_a_circle_of_redirects_ends(wired: Any) -> None:
    world = wired(leading_to("/again", "302 Found"))
    found = world.asked()
    assert (found.status, found.code) == (502, "provider_unavailable")
    assert len(world.server.requests) == 11
