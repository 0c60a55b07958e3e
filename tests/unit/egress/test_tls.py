"""A provider proves who it is before anything is said to it."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

import pytest

from keystow.egress.client import Egress
from tests import certificates
from tests.unit.egress.loopback import answer, failure, loopback_only, names

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    return certificates.certificate(tmp_path_factory.mktemp("tls"), "provider.test")


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
