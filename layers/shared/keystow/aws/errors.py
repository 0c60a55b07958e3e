"""What a call of AWS can end with instead of an answer.

AwsError
├── AwsRefused      AWS answered, and what it said is no
└── AwsUnanswered   no answer came, or none that can be read; the call may have taken effect

The text of each is its code alone: messages of AWS repeat what was sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class AwsError(Exception):
    """A call of AWS that did not succeed.

    Attributes:
        code: AWS's own error code (``ThrottlingException``), or ours of an answer that did not
            come: ``ConnectFailed``, ``ConnectTimedOut``, ``TlsFailed``, ``ConnectionLost``,
            ``ReadTimedOut``, ``AnswerMalformed``, ``AnswerTooLarge``, ``ChecksumWrong``,
            ``CredentialsUnavailable``.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class AwsRefused(AwsError):  # noqa: N818 - an outcome, not a fault
    """AWS answered with an error.

    Attributes:
        status: HTTP status.
        body: the decoded answer, empty when it was none; it may hold items of a table.
    """

    def __init__(self, code: str, status: int, body: Mapping[str, Any] | None = None) -> None:
        super().__init__(code)
        self.status = status
        self.body: Mapping[str, Any] = body or {}

    @property
    def message(self) -> str:
        """What AWS says for people; it may repeat what was sent, so it is never shown."""
        return str(self.body.get("message") or self.body.get("Message") or "")


class AwsUnanswered(AwsError):  # noqa: N818 - the same
    """No answer that can be read; whether the call took effect is not known."""
