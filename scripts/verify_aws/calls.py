"""Requests that anybody may send: of the HTTP API, and the first frame of the WebSocket."""

from __future__ import annotations

import base64
import http.client
import json
import os
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from verify_aws.findings import NotServed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from verify_aws.stack import Deployed

_TIMEOUT: Final = 35  # seconds; API Gateway answers within 30
_FIRST_FRAME: Final = 15  # seconds; a greeting is tried for about 4
_LOOPBACK: Final = {"127.0.0.1", "::1", "localhost"}
_SWITCHING: Final = 101
_TEXT, _CLOSE = 1, 8  # opcodes, RFC 6455 section 5.2
_LENGTH_FOLLOWS, _LONG_LENGTH_FOLLOWS = 126, 127
_MOST: Final = 128 * 1024  # bytes of a frame, as API Gateway sends at most


@dataclass(frozen=True)
class Answer:
    """What the API answered; header names in lower case, the last value of each."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def names(self, text: str) -> bool:
        """Tell whether a text stands anywhere in it."""
        return text in " ".join(self.headers.values()) or text.encode() in self.body

    def is_error(self, code: str) -> bool:
        """Tell whether it is an error of the contract, of this code."""
        try:
            return bool(json.loads(self.body)["error"]["code"] == code)
        except (ValueError, KeyError, TypeError):
            return False


def ask(
    deployed: Deployed,
    url: str,
    method: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> Answer:
    """Send a request; a ``Host`` among the headers stands in place of the URL's.

    Raises:
        NotServed: see there.
        OSError, HTTPException: no answer.
    """
    connection = _connection(deployed, url, _TIMEOUT)
    try:
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            if body is None:
                raise
            # Refused before all of it was sent; the answer may have come.
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, found, answer.read())
    finally:
        connection.close()


def first_frame(deployed: Deployed, url: str) -> Any:
    """Open a WebSocket (RFC 6455), return its first text frame as JSON, and close it.

    Returns:
        The value; None when the server closed it without a word, or said what is no JSON.

    Raises:
        NotServed: see there.
        OSError, HTTPException: no answer, no WebSocket, or silence.
    """
    secure = url.replace("wss://", "https://", 1).replace("ws://", "http://", 1)
    connection = _connection(deployed, secure, _FIRST_FRAME)
    try:
        nonce = base64.b64encode(os.urandom(16)).decode()
        wanted = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": nonce,
            "Sec-WebSocket-Version": "13",
        }
        connection.request("GET", urlsplit(url).path or "/", headers=wanted)
        answer = connection.getresponse()
        if answer.status != _SWITCHING:
            raise ConnectionError(f"the WebSocket was refused with {answer.status}")
        frame = _text(answer.fp)
        if connection.sock is not None:
            connection.sock.sendall(b"\x88\x80" + os.urandom(4))  # close, masked, empty
        return frame
    finally:
        connection.close()


def _connection(deployed: Deployed, url: str, timeout: float) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    if deployed.emulated and parts.hostname not in _LOOPBACK:
        raise NotServed("an emulator serves no such address; nothing was sent")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.netloc, timeout=timeout)


def _text(stream: Any) -> Any:
    """Return the first text frame of a stream as JSON; None: see :func:`first_frame`."""
    while head := stream.read(2):
        opcode, length = head[0] & 0x0F, head[1] & 0x7F
        if length == _LENGTH_FOLLOWS:
            length = int.from_bytes(stream.read(2), "big")
        elif length == _LONG_LENGTH_FOLLOWS:
            length = int.from_bytes(stream.read(8), "big")
        if opcode == _CLOSE or length > _MOST:
            return None
        payload = stream.read(length)
        if opcode == _TEXT:
            try:
                return json.loads(payload)
            except ValueError:
                return None
    return None
