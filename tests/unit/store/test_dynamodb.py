"""What DynamoDB says, in the words of the store: its errors translated, none let through."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from keystow.store import (
    ConditionFailed,
    ItemTooLarge,
    Key,
    Put,
    StoreUnavailable,
    TransactionConflict,
    dynamodb,
    tables,
)
from tests.support import TABLE_NAMES

KEY = Key(tables.REGISTRY, "env1", "settings")


class Scripted:
    """A client whose every call takes the next of a list of outcomes."""

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = list(outcomes)
        self.requests: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        def call(**request: Any) -> Any:
            self.requests.append((name, request))
            outcome = self.outcomes.pop(0)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        return call


def error(code: str, status: int = 400, message: str = "", **more: Any) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
        **more,
    }
    return ClientError(response, "Operation")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keystow.store.dynamodb.time.sleep", lambda _seconds: None)


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (error("ProvisionedThroughputExceededException"), StoreUnavailable),
        (error("RequestLimitExceeded"), StoreUnavailable),
        (error("ThrottlingException"), StoreUnavailable),
        (error("InternalServerError", 500), StoreUnavailable),
        (error("ServiceUnavailable", 503), StoreUnavailable),
        (EndpointConnectionError(endpoint_url="https://dynamodb"), StoreUnavailable),
        (ReadTimeoutError(endpoint_url="https://dynamodb"), StoreUnavailable),
        (error("ConditionalCheckFailedException"), ConditionFailed),
        (
            error(
                "ValidationException",
                message="Item size has exceeded the maximum allowed size",
            ),
            ItemTooLarge,
        ),
        (error("ValidationException", message="Invalid KeyConditionExpression"), ClientError),
        (error("AccessDeniedException"), ClientError),
    ],
)
def test_an_error_of_dynamodb_has_one_meaning(cause: Exception, expected: type) -> None:
    store = dynamodb.DynamoStore(Scripted(cause), TABLE_NAMES)

    with pytest.raises(expected):
        store.put(Put(KEY, {"a": 1}))


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        ([{"Code": "None"}, {"Code": "ConditionalCheckFailed"}], ConditionFailed),
        ([{"Code": "ThrottlingError"}], StoreUnavailable),
        ([{"Code": "ProvisionedThroughputExceeded"}], StoreUnavailable),
        (
            [
                {
                    "Code": "ValidationError",
                    "Message": "Item size to update has exceeded the maximum allowed size",
                }
            ],
            ItemTooLarge,
        ),
        (
            [
                {
                    "Code": "ValidationError",
                    "Message": "The document path provided in the update expression is invalid",
                }
            ],
            ValueError,
        ),
    ],
)
def test_a_cancelled_transaction_says_why(
    reasons: list[dict[str, str]], expected: type[Exception]
) -> None:
    cause = error("TransactionCanceledException", CancellationReasons=reasons)
    store = dynamodb.DynamoStore(Scripted(cause), TABLE_NAMES)

    with pytest.raises(expected):
        store.transact([Put(KEY, {"a": 1})])


def conflict() -> ClientError:
    reasons = [{"Code": "TransactionConflict"}]
    return error("TransactionCanceledException", CancellationReasons=reasons)


def test_a_conflict_of_transactions_passes_by_itself() -> None:
    client = Scripted(conflict(), error("TransactionInProgressException"), {})
    store = dynamodb.DynamoStore(client, TABLE_NAMES)

    store.transact([Put(KEY, {"a": 1})], token="t")

    assert len(client.requests) == 3
    assert {request["ClientRequestToken"] for _, request in client.requests} == {"t"}


def test_a_conflict_that_lasts_is_handed_on() -> None:
    store = dynamodb.DynamoStore(Scripted(*(conflict() for _ in range(8))), TABLE_NAMES)

    with pytest.raises(TransactionConflict):
        store.transact([Put(KEY, {"a": 1})])


def test_reads_of_the_table_are_strongly_consistent() -> None:
    client = Scripted({"Item": {"pk": {"S": "env1"}}}, {"Items": []}, {"Items": []})
    store = dynamodb.DynamoStore(client, TABLE_NAMES)

    store.get(KEY)
    store.query(tables.REGISTRY, "env1")
    store.query(tables.EVENTS, "1", index="by_due")

    assert [request.get("ConsistentRead") for _, request in client.requests] == [True, True, None]
