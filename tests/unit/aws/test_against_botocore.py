"""What botocore and our client put on the wire for the same call, held against each other."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from keystow.aws.client import Client
from keystow.aws.clients import SERVICES
from keystow.aws.credentials import Credentials
from keystow.aws.errors import AwsError
from keystow.queues import SqsQueues
from keystow.sockets import ApiGatewaySockets, invoke_later
from keystow.store import Check, Delete, Equals, Key, Missing, Put, Update, tables
from keystow.store.dynamodb import DynamoStore
from keystow.vault.kms import KmsKeyWrapper, Wrapped
from tests.aws_server import REGION, VARIABLES, AwsServer, Reference, Seen, serving
from tests.moto_tables import create_tables
from tests.support import TABLE_NAMES
from tests.unit.aws.wire_server import Act, acting, http, refused

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = Key(tables.REGISTRY, "env1", "settings")
ITEM = {"text": "grüße 🗝", "bytes": b"\x00\xff", "list": [1, None, True], "map": {"a": -1}}
CONTEXT = {"keystow:environment": "env1", "keystow:purpose": "credential"}
FUNCTION = "arn:aws:lambda:eu-central-1:123456789012:function:keystow-browser_socket"

# What botocore sends and we do not: ids for AWS's support and hints for its own statistics.
# What both send differently: who is speaking.
NOT_COMPARED = {
    "accept-encoding",  # "identity": what goes without saying
    "amz-sdk-invocation-id",
    "amz-sdk-request",
    "authorization",  # compared without its signature: the signed headers differ by these
    "connection",
    "user-agent",
    "x-amz-user-agent",
    "x-amzn-query-mode",  # asks SQS for error codes as of its older protocol
}


@pytest.fixture(scope="module")
def aws() -> Iterator[AwsServer]:
    with serving() as made:
        create_tables(made.botocore("dynamodb"))
        yield made


def normal(seen: Seen) -> dict[str, Any]:
    """A request in a form in which two of them can be equal."""
    headers = {name: text for name, text in seen.headers.items() if name not in NOT_COMPARED}
    headers["x-amz-date"] = re.sub(r"\d", "0", headers["x-amz-date"])
    found = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=(\S+), SignedHeaders=(\S+), Signature=[0-9a-f]{64}",
        seen.headers["authorization"],
    )
    assert found is not None
    scope = re.sub(r"/\d{8}/", "/day/", found[1])
    signed = set(found[2].split(";"))
    assert signed >= {name for name in headers if name.startswith("x-amz-")} | {"host"}
    body: Any = seen.body
    if seen.headers.get("content-type", "").startswith("application/x-amz-json"):
        body = json.loads(seen.body)
        if "ClientRequestToken" in body:
            body["ClientRequestToken"] = "drawn"
        headers.pop("content-length")
    return {
        "line": (seen.method, seen.path),
        "headers": headers,
        "scope": scope,
        "body": body,
    }


def exchanged(aws: AwsServer, call: Any) -> Any:
    aws.seen.clear()
    call()
    return [normal(each) for each in aws.seen]


def store_calls(store: DynamoStore) -> None:
    store.put(Put(KEY, ITEM, Missing("pk")))
    store.get(KEY)
    update = Update(
        KEY,
        set={"a": 1},
        set_entries={("map", "b"): b"x"},
        add={"n": 2},
        remove=("list",),
        condition=Equals("text", ITEM["text"]),
    )
    store.update(update)
    store.query(tables.REGISTRY, "env1", prefix="s", limit=5, descending=True)
    store.query(tables.EVENTS, "1", index="by_due", at_most=9)
    other = Key(tables.REGISTRY, "env1", "other")
    store.transact([Put(other, {"x": 1}), Check(KEY, Equals("a", 1))], token="t" * 32)
    store.transact([Delete(other)])
    store.delete(KEY)


def test_the_store_asks_dynamodb_as_botocore_would(aws: AwsServer) -> None:
    ours: Any = aws.client("dynamodb")
    theirs: Any = aws.reference("dynamodb")
    made = exchanged(aws, lambda: store_calls(DynamoStore(ours, TABLE_NAMES)))
    ours.close()
    assert len(made) == 8
    assert made == exchanged(aws, lambda: store_calls(DynamoStore(theirs, TABLE_NAMES)))


def test_data_keys_are_asked_for_as_botocore_would(aws: AwsServer) -> None:
    key = aws.botocore("kms").create_key()["KeyMetadata"]["Arn"]
    _, fixed = KmsKeyWrapper(aws.reference("kms"), key).generate(CONTEXT)  # type: ignore[arg-type]

    def calls(client: Any) -> None:
        wrapper = KmsKeyWrapper(client, key)
        plain, wrapped = wrapper.generate(CONTEXT)
        assert wrapper.unwrap(wrapped, CONTEXT) == plain
        aws.seen.pop()  # of a random key
        wrapper.unwrap(Wrapped(fixed.blob, key), CONTEXT)
        wrapper.rewrap(fixed, CONTEXT)

    ours: Any = aws.client("kms")
    made = exchanged(aws, lambda: calls(ours))
    ours.close()
    assert len(made) == 3
    assert made == exchanged(aws, lambda: calls(aws.reference("kms")))


def test_messages_are_queued_as_botocore_would(aws: AwsServer) -> None:
    url = aws.botocore("sqs").create_queue(QueueName="refresh")["QueueUrl"]

    def calls(client: Any) -> None:
        queues = SqsQueues(client, url, url, url)
        queues.send_refresh({"a": "grüße"}, 12.5, "env1/host")
        queues.send_webhook({"b": 1})
        queues.send_dead_webhook({"c": None})

    ours: Any = aws.client("sqs")
    made = exchanged(aws, lambda: calls(ours))
    ours.close()
    assert len(made) == 3
    assert made == exchanged(aws, lambda: calls(aws.reference("sqs")))


@pytest.mark.parametrize("connection", ["abc=", "a/b+c d~é"])
def test_frames_are_pushed_as_botocore_would(aws: AwsServer, connection: str) -> None:
    aws.before = lambda _seen: (200, {}, b"")
    url = f"{aws.url}/live"
    theirs = aws.botocore("apigatewaymanagementapi", endpoint_url=url)
    service = SERVICES["execute-api"]
    ours = Client(service, REGION, url, Credentials(VARIABLES))
    store: Any = None
    frame = {"message_type": "connection_ack", "ws_client_id": "x"}
    data = json.dumps(frame, separators=(",", ":")).encode()
    made = exchanged(aws, lambda: ApiGatewaySockets(ours, store).push(connection, frame))
    ours.close()
    assert len(made) == 1
    assert made == exchanged(
        aws, lambda: theirs.post_to_connection(ConnectionId=connection, Data=data)
    )
    aws.before = None


def test_a_function_is_invoked_as_botocore_would(
    aws: AwsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.before = lambda _seen: (202, {}, b"")
    ours = aws.client("lambda")
    monkeypatch.setattr("keystow.aws.clients.client", lambda _service: ours)
    event = {"acknowledge": {"client_id": "é"}}
    made = exchanged(aws, lambda: invoke_later(FUNCTION, event))
    ours.close()
    assert len(made) == 1
    theirs = aws.botocore("lambda")
    assert made == exchanged(
        aws,
        lambda: theirs.invoke(
            FunctionName=FUNCTION, InvocationType="Event", Payload=json.dumps(event).encode()
        ),
    )
    aws.before = None


def test_the_trace_goes_on_as_with_botocore(
    aws: AwsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "f")
    monkeypatch.setenv("_X_AMZN_TRACE_ID", 'Root=1-2-3;Parent=4;Sampled=1;Lineage="a:0|é\n"')
    ours: Any = aws.client("dynamodb")
    made = exchanged(aws, lambda: DynamoStore(ours, TABLE_NAMES).get(KEY))
    ours.close()
    theirs: Any = aws.reference("dynamodb")
    assert "x-amzn-trace-id" in made[0]["headers"]
    assert made == exchanged(aws, lambda: DynamoStore(theirs, TABLE_NAMES).get(KEY))


# ---- what is asked again ------------------------------------------------------------------------
#
# On purpose otherwise: a head that was cut off is an answer to botocore, and so is, at last, one
# whose checksum is wrong (test_faults.py).

GOOD = Act(http(b"{}", headers={"x-amz-crc32": "2745614147"}))


@pytest.mark.parametrize(
    "act",
    [
        GOOD,
        refused("ProvisionedThroughputExceededException"),
        refused("ThrottlingException"),
        refused("RequestLimitExceeded"),
        refused("LimitExceededException"),
        refused("TransactionInProgressException"),
        refused("RequestTimeoutException", 408),
        refused("InternalServerError", 500),
        refused("ServiceUnavailable", 503),
        refused("Anything", 501),
        refused("ConditionalCheckFailedException"),
        refused("ValidationException"),
        refused("AccessDeniedException"),
        refused("ResourceNotFoundException"),
        refused("ReplicatedWriteConflictException"),
        refused("TransactionCanceledException", CancellationReasons=[{"Code": "ThrottlingError"}]),
        Act(http(b"<html>", 502)),
        Act(http(b"<html>", 400)),
        Act(closes=True),
        Act(http(b"{", length="400"), closes=True),
        Act(silent=True),
    ],
)
def test_the_same_is_asked_again_as_often_as_by_botocore(
    act: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.config import Config

    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    monkeypatch.setattr("keystow.aws.client.READ_SECONDS", 0.2)
    counts, codes = [], []
    for which in ("ours", "theirs"):
        with acting(act) as server:
            found = AwsServer(server.url)
            made: Any = found.client("dynamodb", sleep=lambda _seconds: None)
            if which == "theirs":
                # As this client was configured while botocore was in its place.
                config = Config(
                    connect_timeout=1,
                    read_timeout=0.2,
                    retries={"mode": "standard", "max_attempts": 3},
                    parameter_validation=False,
                    proxies={},
                )
                made.close()
                made = Reference(found.botocore("dynamodb", config=config))
            try:
                made.call("DeleteItem", {"TableName": "t", "Key": {"pk": {"S": "a"}}})
                codes.append("")
            except AwsError as error:
                codes.append(error.code)
            counts.append(len(server.requests))
            if which == "ours":
                made.close()
    assert counts[0] == counts[1], codes
    assert (codes[0] == "") == (codes[1] == "")
