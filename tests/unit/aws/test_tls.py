"""AWS proves who it is before anything is said to it."""

from __future__ import annotations

import os
import select
import ssl
import subprocess
import sys
from pathlib import Path

import certifi
import pytest

from keystow.aws import wire
from keystow.aws.errors import AwsUnanswered
from keystow.aws.wire import Origin, request_of
from tests.aws_server import REGION, VARIABLES
from tests.certificates import certificate
from tests.unit.aws.wire_server import acting, said, wait_for_its_end

LAYER = Path(__file__).parents[3] / "layers/shared"
REQUEST = request_of("POST", "/", {"host": "localhost"}, b"{}")


@pytest.fixture
def server_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return the TLS context of a server, whose certificate alone is trusted."""
    monkeypatch.setattr(wire, "_tls", None)

    def made(host: str, *, trusted: bool = True) -> ssl.SSLContext:
        chain, private = certificate(tmp_path, host)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, private)
        if trusted:
            monkeypatch.setenv("AWS_CA_BUNDLE", str(chain))
        return context

    return made


def test_a_kept_connection_needs_one_handshake(server_of) -> None:
    with acting(said({"a": 1}), tls=server_of("localhost")) as server:
        origin = Origin(server.url, 1, 1)
        answers = [origin.exchange(REQUEST).body for _ in range(3)]
        origin.close()
        assert answers == [b'{"a": 1}'] * 3
        assert server.connections == [1, 1, 1]


def test_a_kept_connection_is_used_though_session_tickets_wait_on_it(server_of) -> None:
    with acting(said({"a": 1}), tls=server_of("localhost")) as server:
        origin = Origin(server.url, 1, 5)
        origin.open()
        kept = select.poll()
        kept.register(origin._kept[0][0], select.POLLIN)
        assert kept.poll(10_000), "TLS 1.3 servers send tickets by themselves (RFC 8446 4.6.1)"

        assert origin.exchange(REQUEST).body == b'{"a": 1}'

        origin.close()
        assert (server.opened, server.connections) == (1, [1])


def test_a_kept_connection_that_was_closed_since_is_noticed(server_of) -> None:
    with acting(said({"a": 1}), tls=server_of("localhost")) as server:
        origin = Origin(server.url, 1, 5)
        origin.open()
        sock = origin._kept[0][0]
        assert server.talking.acquire(timeout=10), "the server has done its part of the handshake"
        server.close_all()
        wait_for_its_end(sock)

        assert wire._is_over(sock, 5)
        assert origin.exchange(REQUEST).body == b'{"a": 1}'
        origin.close()


@pytest.mark.parametrize(("host", "trusted"), [("elsewhere.test", True), ("localhost", False)])
def test_who_proves_nothing_gets_nothing(server_of, host: str, trusted: bool) -> None:
    with acting(said({}), tls=server_of(host, trusted=trusted)) as server:
        origin = Origin(server.url, 1, 1)
        with pytest.raises(AwsUnanswered, match="TlsFailed"):
            origin.exchange(REQUEST)
        assert server.requests == []


def test_who_never_answers_the_handshake_is_left_in_time() -> None:
    with acting(said({})) as plain:
        origin = Origin(f"https://localhost:{plain.port}", 0.2, 5)
        with pytest.raises(AwsUnanswered, match="ConnectTimedOut"):
            origin.exchange(REQUEST)


def test_roots_are_those_of_the_layer_and_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_tls", None)
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", "/dev/null")
    read: list[str] = []
    real = ssl.create_default_context

    def noted(*, cafile: str) -> ssl.SSLContext:
        read.append(cafile)
        return real(cafile=cafile)

    monkeypatch.setattr(wire.ssl, "create_default_context", noted)
    context = wire.tls_context()
    assert wire.tls_context() is context
    assert read == [certifi.where()]
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_call_loads_nothing_that_making_its_client_did_not(server_of) -> None:
    # What is loaded in the first request is loaded on a seventh of a processor.
    program = """
import os, sys
from keystow.aws.clients import client
made = client("kms")
before = set(sys.modules)
assert made.call("Decrypt", {"CiphertextBlob": "eA=="}) == {"a": 1}
print(sorted(set(sys.modules) - before))
"""
    with acting(said({"a": 1}), tls=server_of("localhost")) as server:
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={
                **os.environ,
                **VARIABLES,
                "AWS_REGION": REGION,
                "AWS_ENDPOINT_URL": server.url,
                "PYTHONPATH": str(LAYER),
            },
            check=False,
            capture_output=True,
            text=True,
        )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
