"""Requests as a server reads them from a connection, for servers that tests act with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket


def read_request(connection: socket.socket) -> tuple[bytes, bytes] | None:
    """Return head and body of the next request; None: the other side closed before its end."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65_536)
        if not part:
            return None
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    size = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            size = int(line.partition(b":")[2])
    while len(body) < size:
        part = connection.recv(65_536)
        if not part:
            return None
        body += part
    return head, body
