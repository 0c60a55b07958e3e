"""Calls of one AWS service: signed, sent, asked again where that helps, and read.

    request ─▶ sign ─▶ send ─▶ answer ─▶ success: decoded
                 ▲               │
                 │  refused for the clock, or for keys that ended: mended, once each
                 └─ transient, throttled: after a pause, from a budget (keystow.aws.retrying)

A request's body is written once, so that its token of idempotency is the same in every repeat.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit
from zlib import crc32

from keystow.aws import retrying
from keystow.aws.errors import AwsError, AwsRefused, AwsUnanswered
from keystow.aws.signing import Signer, moment_of
from keystow.aws.wire import Origin, request_of
from keystow.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from keystow.aws.credentials import Credentials, Keys
    from keystow.aws.wire import Answer

CONNECT_SECONDS: Final = 1.0
READ_SECONDS: Final = 4.0
SKEW_SECONDS: Final = 240.0  # AWS takes five minutes, either way
AGENT: Final = "keystow"

_OF_THE_CLOCK: Final = {
    "AuthFailure",
    "InvalidSignatureException",
    "RequestExpired",
    "RequestInTheFuture",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
}
_OF_THE_KEYS: Final = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "RequestExpired",
    "UnrecognizedClientException",
}
_SUCCESS: Final = range(200, 300)


class Service(Value):
    """What a service speaks.

    ``name`` of its endpoint and of credential scopes; ``title`` as traces show it; ``target``
    begins the operation's name in ``X-Amz-Target``, ``content_type`` is that of bodies (both empty:
    REST); ``checked``: answers bring a CRC-32.
    """

    name: str
    title: str
    target: str = ""
    content_type: str = ""
    checked: bool = False


class Client:
    """Calls of one service; threads may share it.

    Args:
        service: what it speaks.
        region: such as ``eu-central-1``.
        endpoint: URL, perhaps with a path before that of each call.
        credentials: what requests are signed with.
        told: hears of each call: service, operation, when it began (epoch seconds), status of the
            last answer (None: there was none).
        now: epoch seconds.
        sleep: waits.
    """

    def __init__(
        self,
        service: Service,
        region: str,
        endpoint: str,
        credentials: Credentials,
        *,
        told: Callable[[str, str, float, int | None], None] | None = None,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._service = service
        self._credentials = credentials
        self._told = told
        self._now = now
        self._sleep = sleep
        self._signer = Signer(service.name, region)
        self._origin = Origin(endpoint, CONNECT_SECONDS, READ_SECONDS)
        self._path = urlsplit(endpoint).path.rstrip("/")
        self._budget = retrying.Budget()
        self._skew = 0.0

    def open(self) -> None:
        """Open a connection for the first call to find. Raises AwsUnanswered."""
        self._origin.open()

    def close(self) -> None:
        """Close what is kept open."""
        self._origin.close()

    def call(self, operation: str, request: Mapping[str, Any]) -> Any:
        """Ask for an operation in JSON, and return the decoded answer.

        Args:
            operation: AWS's name of it, such as ``GetItem``.
            request: its parameters as JSON, bytes in Base64.

        Raises:
            AwsRefused: AWS's error.
            AwsUnanswered: nothing came that can be read, also not when asked again.
        """
        headers = {
            "content-type": self._service.content_type,
            "x-amz-target": f"{self._service.target}.{operation}",
        }
        body = json.dumps(request, separators=(",", ":"), ensure_ascii=False).encode()
        return self._repeated(operation, f"{self._path}/", headers, body, _json_of)

    def post(
        self, operation: str, path: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        """Ask for an operation by its path (REST), whose answer nobody needs.

        Args:
            operation: AWS's name of it, for the trace.
            path: after the endpoint's own; each part encoded (:func:`path_part`).
            body: as it is sent.
            headers: besides those of every call, names in lower case.

        Raises:
            AwsRefused, AwsUnanswered: as :meth:`call`.
        """
        self._repeated(operation, f"{self._path}{path}", dict(headers or {}), body, _nothing)

    def _repeated(
        self,
        operation: str,
        path: str,
        headers: dict[str, str],
        body: bytes,
        read: Callable[[Answer], Any],
    ) -> Any:
        began = self._now()
        status: int | None = None
        taken = repeats = 0
        mended: set[str] = set()
        try:
            while True:
                keys = self._credentials.current()
                answer = None
                try:
                    answer = self._sent(keys, path, headers, body)
                    status = answer.status
                    found = read(self._checked(answer))
                except AwsError as error:
                    if answer is None:
                        status = None
                    if self._is_mended(error, answer, keys, mended):
                        continue
                    repeats += 1
                    taken = self._taken(error) if repeats < retrying.MOST_ATTEMPTS else 0
                    if not taken:
                        raise
                else:
                    self._budget.give(taken)
                    return found
                self._sleep(retrying.pause_before(repeats))
        finally:
            if self._told is not None:
                self._told(self._service.title, operation, began, status)

    def _taken(self, error: AwsError) -> int:
        """Take what a repeat costs; return 0 when there shall be none."""
        return self._budget.take(error) if retrying.is_worth_repeating(error) else 0

    def _sent(self, keys: Keys, path: str, headers: dict[str, str], body: bytes) -> Answer:
        signed = {
            "host": self._origin.authority,
            "x-amz-date": moment_of(self._now() + self._skew),
            **headers,
        }
        if keys.token is not None:
            signed["x-amz-security-token"] = keys.token.reveal()
        authorization = self._signer.authorization(keys, "POST", path, signed, body)
        signed["authorization"] = authorization
        signed["user-agent"] = AGENT
        trace = os.environ.get("_X_AMZN_TRACE_ID")
        if trace:  # a hop may change it, so it is not signed
            signed["x-amzn-trace-id"] = quote(trace, safe="-=;:+&[]{}\"',")
        return self._origin.exchange(request_of("POST", path, signed, body))

    def _checked(self, answer: Answer) -> Answer:
        """Return an answer that is a success. Raises AwsError."""
        if self._service.checked:
            said = answer.headers.get("x-amz-crc32")
            if said is not None and said != str(crc32(answer.body)):
                raise AwsUnanswered("ChecksumWrong")
        if answer.status in _SUCCESS:
            return answer
        raise _refusal_of(answer)

    def _is_mended(
        self, error: AwsError, answer: Answer | None, keys: Keys, mended: set[str]
    ) -> bool:
        """Return whether what the signature was refused for is now otherwise; once for each."""
        if not isinstance(error, AwsRefused) or answer is None:
            return False
        if error.code in _OF_THE_CLOCK and "clock" not in mended:
            mended.add("clock")
            if self._is_set_right(answer):
                return True
        if error.code in _OF_THE_KEYS and "keys" not in mended:
            mended.add("keys")
            return self._credentials.renewed(keys)
        return False

    def _is_set_right(self, answer: Answer) -> bool:
        """Set the clock by the answer's; return whether it was off by so much that it matters."""
        from email.utils import parsedate_to_datetime  # slow to load, and seldom needed

        try:
            theirs = parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
        except (ValueError, TypeError, IndexError, OverflowError):
            return False
        skew = theirs - self._now()
        if abs(skew - self._skew) < SKEW_SECONDS:
            return False
        self._skew = skew
        return True


def path_part(text: str) -> str:
    """Return a text as one part of a path."""
    return quote(text, safe="-_.~")


def _json_of(answer: Answer) -> Any:
    try:
        return json.loads(answer.body.decode()) if answer.body else {}
    except (ValueError, RecursionError):
        raise AwsUnanswered("AnswerMalformed") from None


def _nothing(_answer: Answer) -> None:
    return None


def _refusal_of(answer: Answer) -> AwsRefused:
    """Return an error answer as an exception, its code without name space and address."""
    try:
        found = json.loads(answer.body.decode())
    except (ValueError, RecursionError):
        found = None
    body: dict[str, Any] = found if isinstance(found, dict) else {}
    code = answer.headers.get("x-amzn-errortype") or body.get("__type") or body.get("code")
    named = str(code).rpartition("#")[2].partition(":")[0] if code else ""
    return AwsRefused(named or str(answer.status), answer.status, body)
