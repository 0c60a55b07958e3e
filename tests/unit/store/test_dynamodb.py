"""What DynamoDB says, in the words of the store: its errors translated, none let through."""

from __future__ import annotations

from typing import Any

import pytest

from keystow.aws.errors import AwsRefused, AwsUnanswered
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

    def call(self, name: str, request: dict[str, Any]) -> Any:
        self.requests.append((name, request))
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def store_on(*outcomes: Any) -> tuple[dynamodb.DynamoStore, Scripted]:
    client: Any = Scripted(*outcomes)
    return dynamodb.DynamoStore(client, TABLE_NAMES), client


def error(code: str, status: int = 400, message: str = "", **more: Any) -> AwsRefused:
    return AwsRefused(code, status, {"message": message, **more})


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
        (AwsUnanswered("ConnectFailed"), StoreUnavailable),
        (AwsUnanswered("ReadTimedOut"), StoreUnavailable),
        (error("ConditionalCheckFailedException"), ConditionFailed),
        (
            error(
                "ValidationException",
                message="Item size has exceeded the maximum allowed size",
            ),
            ItemTooLarge,
        ),
        (error("ValidationException", message="Invalid KeyConditionExpression"), AwsRefused),
        (error("AccessDeniedException"), AwsRefused),
    ],
)
def test_an_error_of_dynamodb_has_one_meaning(cause: Exception, expected: type) -> None:
    store, _client = store_on(cause)

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
    store, _client = store_on(cause)

    with pytest.raises(expected):
        store.transact([Put(KEY, {"a": 1})])


def conflict() -> AwsRefused:
    reasons = [{"Code": "TransactionConflict"}]
    return error("TransactionCanceledException", CancellationReasons=reasons)


def test_a_conflict_of_transactions_passes_by_itself() -> None:
    store, client = store_on(conflict(), error("TransactionInProgressException"), {})

    store.transact([Put(KEY, {"a": 1})], token="t")

    assert len(client.requests) == 3
    assert {request["ClientRequestToken"] for _, request in client.requests} == {"t"}


def test_a_conflict_that_lasts_is_handed_on() -> None:
    store, _client = store_on(*(conflict() for _ in range(8)))

    with pytest.raises(TransactionConflict):
        store.transact([Put(KEY, {"a": 1})])


def test_reads_of_the_table_are_strongly_consistent() -> None:
    store, client = store_on({"Item": {"pk": {"S": "env1"}}}, {"Items": []}, {"Items": []})

    store.get(KEY)
    store.query(tables.REGISTRY, "env1")
    store.query(tables.EVENTS, "1", index="by_due")

    assert [request.get("ConsistentRead") for _, request in client.requests] == [True, True, None]


def test_a_transaction_without_a_token_of_its_own_is_given_one_for_its_repeats() -> None:
    store, client = store_on(conflict(), {}, {})

    store.transact([Put(KEY, {"a": 1})])
    store.transact([Put(KEY, {"a": 1})])

    first, repeat, other = (request["ClientRequestToken"] for _, request in client.requests)
    assert first == repeat != other
    assert 1 <= len(first) <= 36


def batch(*rest: str) -> dict[str, Any]:
    """An answer with one row, and keys that the table had no time for."""
    keys = [{"pk": {"S": "env1"}, "sk": {"S": each}} for each in rest]
    left = {TABLE_NAMES[tables.REGISTRY]: {"ConsistentRead": True, "Keys": keys}} if keys else {}
    row = {"pk": {"S": "env1"}, "sk": {"S": "settings"}, "name": {"S": "dev"}}
    return {"Responses": {TABLE_NAMES[tables.REGISTRY]: [row]}, "UnprocessedKeys": left}


def test_what_a_table_had_no_time_for_is_asked_for_again() -> None:
    other = Key(tables.REGISTRY, "env1", "other")
    late = {
        "Responses": {TABLE_NAMES[tables.REGISTRY]: [{"pk": {"S": "env1"}, "sk": {"S": "other"}}]}
    }
    store, client = store_on(batch("other"), late)
    assert [each and each["sk"] for each in store.get_all([other, KEY])] == ["other", "settings"]
    (_, first), (_, second) = client.requests
    (asked,) = first["RequestItems"].values()
    assert asked["ConsistentRead"] is True
    assert len(asked["Keys"]) == 2
    assert second["RequestItems"] == batch("other")["UnprocessedKeys"]


def test_a_batch_that_comes_whole_at_last_is_an_answer() -> None:
    store, _ = store_on(*[batch("other")] * 7, batch())
    assert store.get_all([KEY])[0] is not None


def test_a_batch_that_never_comes_whole_is_no_answer() -> None:
    store, client = store_on(*[batch("other")] * 20)
    with pytest.raises(StoreUnavailable):
        store.get_all([Key(tables.REGISTRY, "env1", "other"), KEY])
    assert 1 < len(client.requests) < 20
