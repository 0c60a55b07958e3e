"""What happens on the wire, and what becomes of the call: every fault over a real connection."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from keystow.aws import wire
from keystow.aws.client import Client
from keystow.aws.clients import SERVICES
from keystow.aws.credentials import Credentials
from keystow.aws.errors import AwsError, AwsRefused, AwsUnanswered
from keystow.aws.signing import moment_of
from tests.aws_server import REGION, VARIABLES
from tests.unit.aws.wire_server import (
    Act,
    WireServer,
    acting,
    http,
    refused,
    said,
    wait_for_its_end,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = 1_790_000_000.0
GOOD = said({"Item": {"pk": {"S": "a"}}})
ITEM = {"Item": {"pk": {"S": "a"}}}
GONE = Act(closes=True)


class Calling:
    """A client of DynamoDB on a scripted server, and how long it slept."""

    def __init__(self, server: WireServer, **variables: str) -> None:
        self.slept: list[float] = []
        self.server = server
        self.now = NOW
        self.variables = {**VARIABLES, **variables}
        self.client = Client(
            SERVICES["dynamodb"],
            REGION,
            server.url,
            Credentials(self.variables, now=lambda: self.now, sleep=self.slept.append),
            now=lambda: self.now,
            sleep=self.slept.append,
        )

    def ask(self, **request: Any) -> Any:
        return self.client.call("GetItem", {"TableName": "t", **request})

    def failing(self) -> AwsError:
        with pytest.raises(AwsError) as raised:
            self.ask()
        return raised.value

    @property
    def moments(self) -> list[str]:
        return [self._header(head, b"x-amz-date") for _, head, _ in self.server.requests]

    @property
    def tokens(self) -> list[str]:
        return [self._header(head, b"x-amz-security-token") for _, head, _ in self.server.requests]

    @staticmethod
    def _header(head: bytes, name: bytes) -> str:
        lines = head.split(b"\r\n")
        (found,) = (each for each in lines if each.lower().startswith(name + b":"))
        return found.partition(b":")[2].strip().decode()


@contextmanager
def calling(*acts: Act, **variables: str) -> Iterator[Calling]:
    with acting(*acts) as server:
        made = Calling(server, **variables)
        try:
            yield made
        finally:
            made.client.close()


@pytest.fixture(autouse=True)
def _short_time_outs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keystow.aws.client.READ_SECONDS", 0.2)


# ---- connections ---------------------------------------------------------------------------


def test_one_connection_serves_one_call_after_another() -> None:
    with calling(GOOD) as made:
        assert [made.ask() for _ in range(3)] == [ITEM] * 3
        assert made.server.connections == [1, 1, 1]


def test_calls_at_one_moment_have_a_connection_each() -> None:
    both = threading.Barrier(2, timeout=5)
    meeting = Act(GOOD.sends, before=both.wait)
    with calling(meeting) as made:
        threads = [threading.Thread(target=made.ask) for _ in range(2)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert sorted(made.server.connections) == [1, 2]


def test_a_connection_closed_while_it_was_idle_is_noticed_before_it_is_used() -> None:
    with calling(Act(GOOD.sends, closes=True), GOOD) as made:
        made.ask()
        wait_for_its_end(made.client._origin._kept[0][0])
        assert made.ask() == ITEM
        assert (made.server.connections, made.slept) == ([1, 2], [])


def test_a_kept_connection_that_breaks_under_a_request_is_replaced_without_waiting() -> None:
    with calling(GOOD, GONE, GOOD) as made:
        made.ask()
        assert made.ask() == ITEM
        assert (made.server.connections, made.slept) == ([1, 1, 2], [])


def test_a_new_connection_that_breaks_is_an_attempt_that_failed() -> None:
    with calling(GONE, GOOD) as made:
        assert made.ask() == ITEM
        assert (made.server.connections, len(made.slept)) == ([1, 2], 1)


def test_a_connection_idle_for_longer_than_networks_remember_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with calling(GOOD) as made:
        made.ask()
        later = wire.time.time() + wire.IDLE_SECONDS
        monkeypatch.setattr(wire.time, "time", lambda: later)
        made.ask()
        assert made.server.connections == [1, 2]


def test_a_connection_whose_answer_says_close_is_not_used_again() -> None:
    body = json.dumps(ITEM).encode()
    with calling(Act(http(body, headers={"connection": "close"}))) as made:
        made.ask()
        made.ask()
        assert made.server.connections == [1, 2]


def test_a_connection_that_says_more_than_it_was_asked_is_not_used_again() -> None:
    with calling(Act(GOOD.sends + b"HTTP/1.1 200 OK\r\n\r\n"), GOOD) as made:
        assert made.ask() == ITEM
        assert made.ask() == ITEM
        assert made.server.connections == [1, 2]


def test_nobody_listening_is_tried_again_and_then_told() -> None:
    with calling(GOOD) as made:
        pass
    error = made.failing()
    assert (type(error), error.code) == (AwsUnanswered, "ConnectFailed")
    assert len(made.slept) == 3


# ---- answers that are none --------------------------------------------------------------------

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
CUT_HEAD = Act(b"HTTP/1.1 200 OK\r\ncontent-le", closes=True)
CUT_BODY = Act(http(b'{"Item": {', length="400"), closes=True)


@pytest.mark.parametrize(
    ("act", "code"),
    [
        (GONE, "ConnectionLost"),
        (CUT_HEAD, "ConnectionLost"),
        (CUT_BODY, "ConnectionLost"),
        (Act(silent=True), "ReadTimedOut"),
        (Act(GOOD.sends[:-5], silent=True), "ReadTimedOut"),
        (Act(b"SSH-2.0-OpenSSH\r\n\r\n", closes=True), "AnswerMalformed"),
        (Act(b"HTTP/1.1 20 Short\r\n\r\n", closes=True), "AnswerMalformed"),
        (Act(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"), "AnswerMalformed"),
        (Act(b"HTTP/1.1 200 OK\r\na: b\r\n folded: c\r\n\r\n"), "AnswerMalformed"),
        (Act(http(b"{}", length="2, 2")), "AnswerMalformed"),
        (Act(http(b"{}", length="-2")), "AnswerMalformed"),
        (Act(http(b"{}", headers={"Content-Length": "5"})), "AnswerMalformed"),
        (Act(http(b"{}", headers={"transfer-encoding": "chunked"})), "AnswerMalformed"),
        (Act(b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n{}"), "AnswerMalformed"),
        (
            Act(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0x2\r\n{}\r\n"),
            "AnswerMalformed",
        ),
        (Act(http(b'{"Item"')), "AnswerMalformed"),
        (Act(http(b"\xff\xfe")), "AnswerMalformed"),
        (Act(http(b"[" * 100_000)), "AnswerMalformed"),
        (Act(http(b"{}", headers={"x-amz-crc32": "1"})), "ChecksumWrong"),
    ],
)
def test_an_answer_that_cannot_be_read_is_asked_for_again_and_then_told(
    act: Act, code: str
) -> None:
    with calling(act, GOOD) as made:
        assert made.ask() == ITEM
        assert len(made.slept) == 1
    with calling(act) as made:
        error = made.failing()
        assert (type(error), str(error)) == (AwsUnanswered, code)
        assert len(made.server.requests) == 4
        assert len({body for _, _, body in made.server.requests}) == 1


@pytest.mark.parametrize(
    "act",
    [
        Act(http(b"", length=str(wire.LARGEST + 1))),
        Act(http(b"", length="9" * 5000)),
        Act(CHUNKED + b"ffffffff\r\n"),
        Act(b"HTTP/1.1 200 OK\r\nx: " + b"x" * 200_000),
        Act(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (wire.LARGEST + 100_000), closes=True),
    ],
)
def test_an_answer_without_bounds_is_given_up_at_once(act: Act) -> None:
    with calling(act) as made:
        assert made.failing().code == "AnswerTooLarge"
        assert len(made.server.requests) == 1


def test_an_answer_that_drips_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "WHOLE_SECONDS", -1.0)
    with calling(GOOD) as made:
        assert made.failing().code == "ReadTimedOut"


IN_CHUNKS = b'5;x=y\r\n{"Ite\r\n1a\r\nm": {"pk": {"S": "a"}}}   \r\n0\r\nTrailer: x\r\n\r\n'


@pytest.mark.parametrize(
    "sends",
    [
        CHUNKED + IN_CHUNKS,
        b"HTTP/1.1 100 Continue\r\n\r\n" + GOOD.sends,
        GOOD.sends.replace(b"x-amz-crc32", b"X-Amz-Crc32"),
    ],
    ids=["chunks", "continue", "capitals"],
)
def test_what_http_allows_is_read(sends: bytes) -> None:
    with calling(Act(sends)) as made:
        assert made.ask() == ITEM
        assert made.ask() == ITEM
        assert made.server.connections == [1, 1]


def test_an_answer_that_ends_with_its_connection_is_read() -> None:
    body = json.dumps(ITEM).encode()
    with calling(Act(b"HTTP/1.0 200 OK\r\n\r\n" + body, closes=True)) as made:
        assert made.ask() == ITEM


# ---- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("ProvisionedThroughputExceededException", 400),
        ("ThrottlingException", 400),
        ("RequestLimitExceeded", 400),
        ("TransactionInProgressException", 400),
        ("RequestTimeoutException", 408),
        ("InternalServerError", 500),
        ("ServiceUnavailable", 503),
    ],
)
def test_what_passes_is_tried_again(code: str, status: int) -> None:
    with calling(refused(code, status), GOOD) as made:
        assert made.ask() == ITEM
        assert len(made.slept) == 1
    with calling(refused(code, status)) as made:
        error: Any = made.failing()
        assert (error.code, error.status, len(made.server.requests)) == (code, status, 4)


@pytest.mark.parametrize(
    "code",
    ["ConditionalCheckFailedException", "ValidationException", "AccessDeniedException"],
)
def test_what_stays_is_told_at_once(code: str) -> None:
    with calling(refused(code)) as made:
        assert made.failing().code == code
        assert (len(made.server.requests), made.slept) == (1, [])


def test_a_refusal_carries_what_the_caller_needs_and_shows_none_of_it() -> None:
    reasons = [{"Code": "ConditionalCheckFailed", "Item": {"pk": {"S": "t0ps3cr3t"}}}]
    act = refused("TransactionCanceledException", message="t0ps3cr3t", CancellationReasons=reasons)
    with calling(act) as made:
        error: Any = made.failing()
    assert isinstance(error, AwsRefused)
    assert error.body["CancellationReasons"] == reasons
    assert error.message == "t0ps3cr3t"
    assert "t0ps3cr3t" not in f"{error} {error!r}"


@pytest.mark.parametrize(
    ("sends", "code"),
    [
        (http(b"<html>Bad gateway</html>", 400), "400"),
        (http(b"[]", 403), "403"),
        (http(b"", 404), "404"),
        (http(b"{}", 404, {"x-amzn-errortype": "GoneException:http://x/"}), "GoneException"),
        (http(b'{"code": "ValidationException"}', 400), "ValidationException"),
        (http(b"", 301, {"location": "http://169.254.169.254/"}), "301"),
    ],
    ids=["html", "list", "empty", "header", "code", "redirect"],
)
def test_a_refusal_has_a_code_whatever_its_form(sends: bytes, code: str) -> None:
    with calling(Act(sends)) as made:
        assert made.failing().code == code
        assert len(made.server.requests) == 1


def test_pauses_grow_and_are_drawn_by_lot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keystow.aws.retrying.LOTS.random", lambda: 0.5)
    with calling(refused("ThrottlingException")) as made:
        made.failing()
        assert made.slept == [0.5, 1.0, 2.0]


def test_an_outage_is_not_answered_with_a_storm() -> None:
    with calling(refused("InternalServerError", 500)) as made:
        for _ in range(40):
            made.failing()
        # 500 of a budget, 5 for each repeat: a hundred repeats, then none.
        assert len(made.server.requests) == 40 + 100


def test_successes_fill_the_budget_of_repeats_up_again() -> None:
    acts = [refused("InternalServerError", 500)] * 133  # 33 calls of four, and one more
    with calling(*acts, GOOD) as made:
        for _ in range(33):
            made.failing()
        assert made.ask() == ITEM
        for _ in range(10):
            made.ask()
        made.server.acts.clear()
        made.server.acts.append(refused("InternalServerError", 500))
        before = len(made.server.requests)
        made.failing()
        assert len(made.server.requests) - before == 4


# ---- clock and keys -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code", ["InvalidSignatureException", "RequestTimeTooSkewed", "SignatureDoesNotMatch"]
)
@pytest.mark.parametrize("off", [-3600, 3600])
def test_a_clock_that_is_wrong_is_set_by_the_answer_and_stays_set(code: str, off: int) -> None:
    with calling(refused(code, 403, date=NOW + off), GOOD) as made:
        assert made.ask() == ITEM
        made.ask()
        assert made.slept == []
        assert made.moments == [moment_of(each) for each in (NOW, NOW + off, NOW + off)]


@pytest.mark.parametrize("date", [NOW, NOW + 100, None])
def test_a_signature_refused_for_anything_but_the_clock_is_told_at_once(
    date: float | None,
) -> None:
    with calling(refused("InvalidSignatureException", 403, date=date)) as made:
        assert made.failing().code == "InvalidSignatureException"
        assert len(made.server.requests) == 1


def test_a_clock_is_set_once_in_a_call() -> None:
    acts = [refused("RequestTimeTooSkewed", 403, date=NOW + 3600 * n) for n in (1, 2, 3)]
    with calling(*acts) as made:
        assert made.failing().code == "RequestTimeTooSkewed"
        assert len(made.server.requests) == 2


def test_a_date_that_is_none_sets_no_clock() -> None:
    body = b'{"__type": "RequestTimeTooSkewed"}'
    with calling(Act(http(body, 403, {"date": "whenever"}))) as made:
        assert made.failing().code == "RequestTimeTooSkewed"


def test_keys_that_ended_are_read_anew_and_the_call_goes_on() -> None:
    with calling(refused("ExpiredTokenException"), GOOD) as made:
        made.server.acts[0] = Act(
            refused("ExpiredTokenException").sends,
            before=lambda: made.variables.update(AWS_SESSION_TOKEN="newer"),
        )
        assert made.ask() == ITEM
        assert made.tokens == ["testing-token", "newer"]
        assert made.slept == []


def test_keys_that_ended_without_others_are_told_at_once() -> None:
    with calling(refused("ExpiredTokenException")) as made:
        assert made.failing().code == "ExpiredTokenException"
        assert len(made.server.requests) == 1


def test_without_keys_nothing_is_sent() -> None:
    with calling(GOOD, AWS_ACCESS_KEY_ID="") as made:
        assert made.failing().code == "CredentialsUnavailable"
        assert made.server.requests == []


def test_no_secret_is_in_what_an_error_or_the_client_shows() -> None:
    with calling(refused("ExpiredTokenException"), AWS_SECRET_ACCESS_KEY="t0ps3cr3t") as made:
        error = made.failing()
        shown = f"{error!r} {error.__cause__!r} {vars(made.client)!r}"
        credentials = vars(made.client)["_credentials"]
        assert not [each for each in ("t0ps3cr3t", "testing-token") if each in shown]
        assert "t0ps3cr3t" not in repr(credentials.current())
