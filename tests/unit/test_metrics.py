"""What an invocation counted is one line that CloudWatch makes metrics of."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keystow import metrics
from keystow.aws.errors import AwsRefused
from keystow.events.delivery import Outcome
from keystow.vault.kms import KmsError, KmsKeyWrapper, Wrapped


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict]:
    metrics.flush()
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture(autouse=True)
def nothing_counted(monkeypatch, capsys) -> None:
    monkeypatch.setenv("KEYSTOW_STACK_NAME", "mine")
    lines(capsys)


def test_nothing_is_written_when_nothing_happened(capsys) -> None:
    assert lines(capsys) == []


def test_what_happened_is_one_line_with_the_stack_as_its_only_dimension(capsys) -> None:
    for host in ("a.example", "a.example", "b.example"):
        metrics.count(metrics.REFRESHED, host)
    metrics.count(metrics.REFRESH_FAILED, "b.example")
    metrics.longest(metrics.OLDEST_DUE, 70)
    metrics.longest(metrics.OLDEST_DUE, 65)
    (line,) = lines(capsys)
    (described,) = line["_aws"]["CloudWatchMetrics"]
    assert described["Namespace"] == "Keystow"
    assert described["Dimensions"] == [["service"]]
    assert line["service"] == "mine"
    assert (line["Refreshed"], line["RefreshFailed"], line["OldestDueSeconds"]) == (
        [3.0],
        [1.0],
        [70.0],
    )
    assert line["hosts"] == {
        "Refreshed a.example": 2,
        "Refreshed b.example": 1,
        "RefreshFailed b.example": 1,
    }
    assert lines(capsys) == []


def test_hosts_of_end_users_make_no_line_endless(capsys) -> None:
    for number in range(100):
        metrics.count(metrics.REFRESHED, f"h{number}.example")
    (line,) = lines(capsys)
    assert len(line["hosts"]) == metrics.HOSTS_SHOWN


def test_each_outcome_of_a_delivery_is_counted_but_a_skipped_one(capsys) -> None:
    for outcome in Outcome:
        metrics.webhook(outcome)
    (line,) = lines(capsys)
    names = ("WebhooksDelivered", "WebhooksRetried", "WebhooksFailed")
    assert [line[name] for name in names] == [[1.0], [1.0], [2.0]]


@pytest.mark.parametrize("code", ["DisabledException", "KMSInvalidStateException"])
def test_a_key_that_is_disabled_or_about_to_be_deleted_is_told(capsys, code: str) -> None:
    class Kms:
        def call(self, *_: object) -> None:
            raise AwsRefused(code, 400)

    kms: Any = Kms()
    with pytest.raises(KmsError):
        KmsKeyWrapper(kms, "arn").unwrap(Wrapped(b"x", "arn"), {})
    (line,) = lines(capsys)
    assert line["KeyUnusable"] == [1.0]
