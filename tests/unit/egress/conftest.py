"""A scripted server on loopback, and an Egress that cannot reach anything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from keystow.egress.client import Egress
from tests.unit.egress.loopback import Server, loopback_only, names

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(script: Callable[[socket.socket, Server], None] | bytes) -> Server:
        if isinstance(script, bytes):
            answer = script

            def script(connection: socket.socket, server: Server) -> None:
                server.read_request(connection)
                connection.sendall(answer)

        server = Server(script)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def egress() -> Egress:
    return Egress(allow_loopback=True, resolve=names(localhost="127.0.0.1"), connect=loopback_only)
