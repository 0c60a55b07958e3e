"""Makes the head of an answer one that a strict parser takes, without changing what it frames.

Servers send lines that are no header fields: a name with a space or a slash, no colon at all.
Nobody reads them, and browsers skip them; a strict parser gives up, and with it would go a token
that was issued already. So such lines are taken out before the parser sees them.

What decides where the body ends stays strict. White space before the colon of a framing field is
taken out (RFC 9112 section 5.1), so that the field counts; two lengths that differ, a length that
is no number, and codings that are not known are left for the parser to refuse. Nothing can follow
the answer on its connection, since each exchange has one of its own.
"""

from __future__ import annotations

import re
from typing import Final

LARGEST: Final = 256_000  # bytes of all heads of one answer, 1xx included

_END: Final = re.compile(rb"\n\r?\n")
_STATUS: Final = re.compile(rb"HTTP/1\.([01])[ \t]+([0-9]{3})(?:[ \t].*)?")
_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_INFORMATIONAL: Final = re.compile(rb"HTTP/1\.[01] 1(?!01)[0-9][0-9]")  # 101 ends HTTP


class TooLargeHead(Exception):  # noqa: N818 - an outcome, not a fault
    """The head has no end within the limit."""


class Head:
    """Takes what arrives on a connection, hands on what the parser may see."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._seen = 0
        self._over = False

    def feed(self, data: bytes) -> bytes:
        """Return the bytes that can be handed on by now; none while a head is incomplete.

        Args:
            data: what was just received; empty at the end of the connection.

        Raises:
            TooLargeHead: the head is longer than any should be.
        """
        if self._over or not data:
            self._over = True
            held, self._held = bytes(self._held), bytearray()
            return held + data
        looked_at = max(0, len(self._held) - 3)
        self._held += data
        ready = b""
        while not self._over:
            if not looked_at:
                del self._held[: len(self._held) - len(self._held.lstrip(b"\r\n"))]
            end = _END.search(self._held, looked_at)
            if end is None:
                self._bound(len(self._held))
                return ready
            self._bound(end.end())
            self._seen += end.end()
            head = _mended(bytes(self._held[: end.start()]))
            ready += head
            del self._held[: end.end()]
            looked_at = 0
            self._over = _INFORMATIONAL.match(head) is None
        rest, self._held = bytes(self._held), bytearray()
        return ready + rest

    def _bound(self, size: int) -> None:
        if self._seen + size > LARGEST:
            raise TooLargeHead


def _mended(head: bytes) -> bytes:
    first, *rest = head.split(b"\n")
    status = _STATUS.fullmatch(first.rstrip(b"\r"))
    lines = [first.rstrip(b"\r")]
    if status is not None:  # the reason phrase is for nobody
        lines = [b"HTTP/1.%s %s " % status.groups()]
    chunked = skipped = False
    for each in rest:
        line = each.removesuffix(b"\r")
        if line[:1] in (b" ", b"\t"):  # goes on with the line before (RFC 9112 section 5.2)
            if not skipped and len(lines) > 1:
                lines[-1] += b" " + _CONTROL.sub(b" ", line).strip()
            continue
        name, colon, value = line.partition(b":")
        name, value = name.rstrip(b" \t"), _CONTROL.sub(b" ", value).strip(b" \t")
        skipped = not colon or _NAME.fullmatch(name) is None
        if name.lower() == b"transfer-encoding" and not skipped:
            coding = value.lower()
            # "identity" was once a way to say nothing; "chunked" is sometimes said twice.
            skipped = coding == b"identity" or (coding == b"chunked" and chunked)
            chunked = chunked or coding == b"chunked"
        if not skipped:
            lines.append(name + b": " + value)
    return b"\r\n".join((*lines, b"", b""))
