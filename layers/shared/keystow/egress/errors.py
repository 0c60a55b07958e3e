"""What can go wrong on the way out: the guard said no, or the network did.

EgressError
├── EgressRefused   the guard's decision: this destination got nothing
└── EgressFailed    timeout · connect · tls · lost · malformed · too_large · too_many_redirects

Neither carries a URL, a header or a body in its text, since all three may hold secrets.
"""

from __future__ import annotations

from typing import Final, Literal

FailureKind = Literal[
    "timeout", "connect", "tls", "lost", "malformed", "too_large", "too_many_redirects"
]

_SENTENCES: Final[dict[str, str]] = {
    "timeout": "the other side did not answer in time",
    "connect": "no connection could be made",
    "tls": "no trusted TLS connection could be made",
    "lost": "the connection broke before the answer was whole",
    "malformed": "the answer was no valid HTTP",
    "too_large": "the answer is larger than allowed",
    "too_many_redirects": "the other side redirected too often",
}


class EgressError(Exception):
    """The common parent of both: a request brought no answer."""

    sent: bool


class EgressRefused(EgressError):  # noqa: N818 - a decision, not a fault
    """The guard does not let this request out.

    Attributes:
        reason: what is wrong with the destination, one word: ``malformed_url``, ``scheme``,
            ``userinfo``, ``port``, ``name``, ``malformed_header``, ``redirect`` or the kind of
            the address (``private``, ``loopback``, ``link_local``, ``metadata`` ...).
        sent: True only when an earlier hop of a redirect had already got the request.
    """

    def __init__(self, reason: str, *, sent: bool = False) -> None:
        super().__init__(f"this destination is not allowed: {reason.replace('_', ' ')}")
        self.reason = reason
        self.sent = sent


class EgressFailed(EgressError):  # noqa: N818 - an outcome, not a fault
    """The request was let out but brought no usable answer.

    Attributes:
        kind: ``lost``: the answer was cut off. ``malformed``, ``too_large``: it came, and cannot
            be used. The others as their names say.
        sent: False only when it is certain that no byte of the request left; a refresher that
            sees True must take it that the other side may have acted (and rotated a token).
    """

    @property
    def answered(self) -> bool:
        """Whether the other side has answered, so that nothing of it is still on its way."""
        return self.kind in ("malformed", "too_large", "too_many_redirects")

    def __init__(self, kind: FailureKind, *, sent: bool) -> None:
        fate = "the request may have arrived" if sent else "nothing was sent"
        super().__init__(f"{_SENTENCES[kind]} ({fate})")
        self.kind: FailureKind = kind
        self.sent = sent
