"""What a trace tells of a call, and that telling it never harms the call."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from keystow import tracing
from keystow.aws import clients as aws
from keystow.aws.client import Client
from keystow.aws.credentials import Credentials
from keystow.aws.errors import AwsRefused, AwsUnanswered
from keystow.context import Context
from keystow.egress.client import Answer, Egress
from keystow.egress.errors import EgressFailed
from keystow.egress.traced import TracedEgress
from keystow.settings import Settings
from tests.aws_server import REGION, VARIABLES, serving

ROOT = "1-67891233-abcdef012345678912345678"
SAMPLED = f"Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=1;Lineage=1:2:3"
SECRET = "https://user:pa55@hooks.example.com/t0ps3cr3t?token=t0ps3cr3t"


@pytest.fixture
def heard(monkeypatch):
    """What the X-Ray daemon hears next."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        daemon.settimeout(5)
        monkeypatch.setenv("AWS_XRAY_DAEMON_ADDRESS", f"127.0.0.1:{daemon.getsockname()[1]}")
        monkeypatch.setenv("_X_AMZN_TRACE_ID", SAMPLED)

        def next_document() -> dict[str, Any]:
            header, _, document = daemon.recv(65_536).partition(b"\n")
            assert json.loads(header) == {"format": "json", "version": 1}
            return dict(json.loads(document))

        yield next_document


@pytest.fixture
def aws_url(monkeypatch):
    """AWS, where functions look for it."""
    monkeypatch.setattr(aws, "_clients", {})
    monkeypatch.setattr(aws, "_credentials", None)
    monkeypatch.setenv("AWS_REGION", REGION)
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    with serving() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        yield server.url
        for client in aws._clients.values():
            client.close()


@pytest.mark.usefixtures("aws_url")
def test_a_call_of_aws_shows_by_service_and_operation_and_nothing_else(heard, monkeypatch):
    monkeypatch.setenv("KEYSTOW_TRACING", "Active")
    client = aws.client("dynamodb")
    key = {"pk": {"S": "t0ps3cr3t"}}
    with pytest.raises(AwsRefused, match="ResourceNotFoundException"):
        client.call("GetItem", {"TableName": "nope", "Key": key})
    told = heard()
    assert (told["trace_id"], told["parent_id"]) == (ROOT, "53995c3f42cd8ad8")
    assert (told["name"], told["namespace"]) == ("DynamoDB", "aws")
    assert told["aws"] == {"operation": "GetItem"}
    assert (told["error"], told["fault"], told["throttle"]) == (True, False, False)
    assert told["end_time"] >= told["start_time"]
    assert "t0ps3cr3t" not in str(told)
    client.call("ListTables", {})
    assert heard()["http"] == {"response": {"status": 200}}


@pytest.mark.usefixtures("heard")
def test_a_call_of_aws_that_brought_no_answer_shows_as_a_fault(heard, monkeypatch):
    told: list[Any] = []
    service = aws.SERVICES["kms"]
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}"
    client = Client(
        service, REGION, url, Credentials(VARIABLES), told=tracing.tell_of_call, sleep=told.append
    )
    with pytest.raises(AwsUnanswered, match="ConnectFailed"):
        client.call("Decrypt", {})
    document = heard()
    assert (document["name"], document["fault"]) == ("KMS", True)
    assert document["aws"] == {"operation": "Decrypt"}


@pytest.mark.parametrize(
    ("status", "error", "fault", "throttle"),
    [
        (200, False, False, False),
        (401, True, False, False),
        (429, True, False, True),
        (503, False, True, False),
    ],
)
def test_an_exchange_shows_by_host_method_and_status(
    heard, monkeypatch, status, error, fault, throttle
):
    monkeypatch.setattr(Egress, "send", lambda *_, **__: Answer(status, {}, b""))
    assert TracedEgress(allow_loopback=True).send("post", SECRET).status == status
    told = heard()
    assert (told["name"], told["namespace"]) == ("hooks.example.com", "remote")
    assert told["http"] == {"request": {"method": "POST"}, "response": {"status": status}}
    assert (told["error"], told["fault"], told["throttle"]) == (error, fault, throttle)
    assert not [each for each in ("t0ps3cr3t", "pa55") if each in str(told)]


@pytest.mark.parametrize("url", ["https://[broken/", "", "https://"])
def test_an_exchange_without_a_readable_host_shows_as_one_of_an_unknown_host(
    heard, monkeypatch, url
):
    monkeypatch.setattr(Egress, "send", lambda *_, **__: Answer(200, {}, b""))
    TracedEgress(allow_loopback=True).send("GET", url)
    assert heard()["name"] == "unknown"


def test_an_exchange_is_handed_on_as_it_is_and_shows_how_long_it_took(heard, monkeypatch):
    sent: list[Any] = []
    moments = iter((100.0, 107.5))

    def send(_egress: Egress, *call: Any, **options: Any) -> Answer:
        sent.append((*call, options))
        return Answer(200, {}, b"")

    monkeypatch.setattr(Egress, "send", send)
    monkeypatch.setattr(tracing.time, "time", lambda: next(moments))
    TracedEgress(allow_loopback=True).send("put", SECRET, body=b"x", deadline=3)
    assert sent == [("put", SECRET, {"body": b"x", "deadline": 3})]
    told = heard()
    assert (told["start_time"], told["end_time"]) == (100.0, 107.5)


def test_an_exchange_that_failed_shows_as_a_fault_and_fails_as_before(heard, monkeypatch):
    def fail(*_: Any, **__: Any) -> Answer:
        raise EgressFailed("timeout", sent=True)

    monkeypatch.setattr(Egress, "send", fail)
    with pytest.raises(EgressFailed):
        TracedEgress(allow_loopback=True).send("GET", "https://a.example/")
    told = heard()
    assert told["fault"] is True
    assert told["http"] == {"request": {"method": "GET"}}


@pytest.mark.parametrize(
    ("trace", "daemon"),
    [
        (SAMPLED.replace("Sampled=1", "Sampled=0"), "127.0.0.1:9"),
        ("", "127.0.0.1:9"),
        (SAMPLED, ""),
        (SAMPLED, "nonsense"),
        ("Root=x;Sampled=1", "127.0.0.1:9"),
        (SAMPLED, "127.0.0.1:9"),  # nobody listens
    ],
)
def test_no_trace_and_no_daemon_harm_nothing(monkeypatch, trace, daemon):
    monkeypatch.setenv("_X_AMZN_TRACE_ID", trace)
    monkeypatch.setenv("AWS_XRAY_DAEMON_ADDRESS", daemon)
    monkeypatch.setattr(Egress, "send", lambda *_, **__: Answer(200, {}, b""))
    for url in ("https://a.example/", "https://[broken/", ""):
        assert TracedEgress(allow_loopback=True).send("GET", url).status == 200


@pytest.mark.usefixtures("aws_url", "heard")
def test_only_active_tracing_tells_of_calls(monkeypatch):
    told: list[Any] = []
    monkeypatch.setattr(tracing, "tell_of_call", lambda *call: told.append(call))
    aws.client("dynamodb").call("ListTables", {})
    assert told == []
    assert type(Context(Settings()).egress) is Egress
    assert type(Context(Settings(tracing="Active")).egress) is TracedEgress
