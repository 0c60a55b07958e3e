"""Redirects: followed only when asked for, and every hop is checked."""

from __future__ import annotations

import socket

import pytest

from keystow.egress.client import Egress
from keystow.egress.errors import EgressRefused
from tests.unit.egress.loopback import answer, failure, loopback_only, names


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


def test_a_redirect_to_a_trusted_host_keeps_headers_and_body(serve, egress) -> None:
    server = serve(redirecting("http://localhost:PORT/end", "307 Temporary Redirect"))
    trusted = ["http://10.0.0.1/", "no url", server.url("/other", "localhost")]
    got = egress.send(
        "POST",
        server.url(),
        headers={"Authorization": "Bearer x"},
        body=b"secret",
        redirects=1,
        trusted=trusted,
    )
    assert (got.body, got.elsewhere) == (b"end", False)
    assert b"Authorization: Bearer x" in server.requests[1]
    assert server.requests[1].endswith(b"secret")


def test_another_port_of_a_trusted_host_is_not_trusted(serve, egress) -> None:
    server = serve(redirecting("http://localhost:PORT/end"))
    trusted = [f"http://localhost:{server.port + 1}/"]
    got = egress.send(
        "GET", server.url(), headers={"Authorization": "x"}, redirects=1, trusted=trusted
    )
    assert got.elsewhere
    assert b"Authorization" not in server.requests[1]


def test_who_comes_back_from_elsewhere_brings_no_credentials(serve, egress) -> None:
    def script(connection: socket.socket, server) -> None:
        request = server.read_request(connection).split(b"\r\n")[0]
        there = f"Location: http://localhost:{server.port}/there\r\n"
        back = f"Location: http://127.0.0.1:{server.port}/end\r\n"
        if b" /end" in request:
            connection.sendall(answer(b"end"))
        else:
            where = back if b" /there" in request else there
            connection.sendall(answer(b"", status="302 Found", headers=where))

    server = serve(script)
    got = egress.send("GET", server.url(), headers={"Authorization": "x"}, redirects=2)
    assert got.elsewhere
    assert [b"Authorization" in each for each in server.requests] == [True, False, False]


def test_an_answer_of_the_first_host_is_not_from_elsewhere(serve, egress) -> None:
    server = serve(redirecting("/end"))
    assert not egress.send("GET", server.url(), redirects=1).elsewhere
    assert not egress.send("GET", server.url("/end"), redirects=1).elsewhere
