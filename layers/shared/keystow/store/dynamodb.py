"""The tables in DynamoDB: operations compiled to expressions, items to attribute values."""

from __future__ import annotations

import os
import time
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

from keystow.aws.errors import AwsRefused, AwsUnanswered
from keystow.aws.retrying import LOTS
from keystow.store import bounds
from keystow.store.operations import (
    Above,
    All,
    Any_,
    AtMost,
    Below,
    Check,
    Condition,
    Counted,
    Delete,
    Equals,
    Exists,
    Item,
    Key,
    Missing,
    Operation,
    Page,
    Put,
    Update,
)
from keystow.store.store import (
    ConditionFailed,
    ItemTooLarge,
    StoreUnavailable,
    TransactionConflict,
)
from keystow.store.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from keystow.aws.client import Client

_COMPARISONS = {Below: "<", AtMost: "<=", Above: ">", Equals: "="}
_CONFLICT_ATTEMPTS = 8
# How often the rest of a batch is asked for.
_PARTS = 8
_TOO_LARGE = ("item size", "exceeded the maximum", "collection size")


def to_attribute(value: Any) -> dict[str, Any]:
    """Return a value as a DynamoDB attribute value, in JSON: bytes are Base64.

    Raises:
        TypeError: for a type that items do not hold.
    """
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": value}
        case int():
            return {"N": str(value)}
        case bytes():
            return {"B": b64encode(value).decode()}
        case dict():
            return {"M": {name: to_attribute(entry) for name, entry in value.items()}}
        case list() | tuple():
            return {"L": [to_attribute(entry) for entry in value]}
        case _:
            raise TypeError(f"no attribute value for {type(value).__name__}")


def from_attribute(attribute: Mapping[str, Any]) -> Any:
    """Return the value of a DynamoDB attribute value in JSON."""
    ((kind, value),) = attribute.items()
    match kind:
        case "B":
            return b64decode(value)
        case "N":
            return int(value)
        case "NULL":
            return None
        case "M":
            return {name: from_attribute(entry) for name, entry in value.items()}
        case "L":
            return [from_attribute(entry) for entry in value]
        case _:
            return value


def _item(attributes: Mapping[str, Any]) -> Item:
    return {name: from_attribute(value) for name, value in attributes.items()}


def _attributes(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: to_attribute(value) for name, value in item.items()}


class _Expression:
    """Collects the placeholders of one request; every name is aliased, so none can be reserved."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.values: dict[str, Any] = {}

    def name(self, attribute: str) -> str:
        for alias, known in self.names.items():
            if known == attribute:
                return alias
        alias = f"#n{len(self.names)}"
        self.names[alias] = attribute
        return alias

    def value(self, value: Any) -> str:
        alias = f":v{len(self.values)}"
        self.values[alias] = to_attribute(value)
        return alias

    def condition(self, condition: Condition) -> str:
        match condition:
            case Exists(attribute):
                return f"attribute_exists({self.name(attribute)})"
            case Missing(attribute):
                return f"attribute_not_exists({self.name(attribute)})"
            case All(conditions):
                return "(" + " AND ".join(self.condition(each) for each in conditions) + ")"
            case Any_(conditions):
                return "(" + " OR ".join(self.condition(each) for each in conditions) + ")"
            case (
                Equals(attribute, value)
                | Below(attribute, value)
                | AtMost(attribute, value)
                | Above(attribute, value)
            ):
                sign = _COMPARISONS[type(condition)]
                return f"{self.name(attribute)} {sign} {self.value(value)}"

    def update(self, operation: Update) -> str:
        clauses = []
        sets = [
            f"{self.name(name)} = {self.value(value)}" for name, value in operation.set.items()
        ] + [
            f"{self.name(name)}.{self.name(entry)} = {self.value(value)}"
            for (name, entry), value in operation.set_entries.items()
        ]
        if sets:
            clauses.append("SET " + ", ".join(sets))
        if operation.add:
            adds = (f"{self.name(name)} {self.value(n)}" for name, n in operation.add.items())
            clauses.append("ADD " + ", ".join(adds))
        if operation.remove:
            clauses.append("REMOVE " + ", ".join(self.name(name) for name in operation.remove))
        return " ".join(clauses)

    def placeholders(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.names:
            found["ExpressionAttributeNames"] = self.names
        if self.values:
            found["ExpressionAttributeValues"] = self.values
        return found


class DynamoStore:
    """The store of a deployment.

    Args:
        client: of DynamoDB.
        names: logical table name → name in the account.
    """

    def __init__(self, client: Client, names: Mapping[str, str]) -> None:
        self._client = client
        self._names = names

    def get(self, key: Key) -> Item | None:
        """Return an item, or None."""
        if not bounds.fits(key):
            return None
        answer = self._call("GetItem", **self._locate(key), ConsistentRead=True)
        return _item(answer["Item"]) if "Item" in answer else None

    def get_all(self, keys: Sequence[Key]) -> list[Item | None]:
        """Return items in the order of their keys, each or None."""
        wanted: dict[str, Any] = {}
        for key in filter(bounds.fits, keys):
            of_table = wanted.setdefault(self._names[key.table], {"ConsistentRead": True})
            of_table.setdefault("Keys", []).append(self._locate(key)["Key"])
        found: dict[tuple[str, str, str], Item] = {}
        for attempt in range(_PARTS):
            if not wanted:
                break
            if attempt:
                time.sleep(LOTS.uniform(0.01, 0.05) * attempt)
            answer = self._call("BatchGetItem", RequestItems=wanted)
            for table, rows in answer["Responses"].items():
                for row in map(_item, rows):
                    found[table, row["pk"], row["sk"]] = row
            # What a table was too busy for, or what would not go into one answer of 16 MB.
            wanted = answer.get("UnprocessedKeys") or {}
        if wanted:
            raise StoreUnavailable("UnprocessedKeys")
        return [found.get((self._names[key.table], key.pk, key.sk)) for key in keys]

    def query(
        self,
        table: str,
        pk: str,
        *,
        prefix: str = "",
        index: str | None = None,
        at_most: int | None = None,
        descending: bool = False,
        limit: int | None = None,
        start: Item | None = None,
    ) -> Page:
        """Return one page of the items under a partition key."""
        if not bounds.may_hold(pk, prefix):
            return Page([])
        keys = TABLES[table].indexes[index] if index else None
        hash_name, range_name = (keys.hash, keys.range) if keys else ("pk", "sk")
        expression = _Expression()
        text = f"{expression.name(hash_name)} = {expression.value(pk)}"
        if prefix:
            text += f" AND begins_with({expression.name(range_name)}, {expression.value(prefix)})"
        if at_most is not None:
            text += f" AND {expression.name(range_name)} <= {expression.value(at_most)}"
        request: dict[str, Any] = {
            "TableName": self._names[table],
            "KeyConditionExpression": text,
            "ScanIndexForward": not descending,
            **expression.placeholders(),
        }
        if index:
            request["IndexName"] = index
        else:
            request["ConsistentRead"] = True
        if limit is not None:
            request["Limit"] = limit
        if start is not None:
            request["ExclusiveStartKey"] = _attributes(start)
        answer = self._call("Query", **request)
        last = answer.get("LastEvaluatedKey")
        return Page([_item(found) for found in answer["Items"]], _item(last) if last else None)

    def count(
        self, table: str, pk: str, *, index: str, having: str, start: Item | None = None
    ) -> Counted:
        """Return how many items a part of an index holds, and how many have an attribute."""
        if not bounds.may_hold(pk, ""):
            return Counted(0, 0)
        expression = _Expression()
        hash_name = expression.name(TABLES[table].indexes[index].hash)
        request: dict[str, Any] = {
            "TableName": self._names[table],
            "IndexName": index,
            "KeyConditionExpression": f"{hash_name} = {expression.value(pk)}",
            "FilterExpression": f"attribute_exists({expression.name(having)})",
            "Select": "COUNT",
            **expression.placeholders(),
        }
        if start is not None:
            request["ExclusiveStartKey"] = _attributes(start)
        answer = self._call("Query", **request)
        last = answer.get("LastEvaluatedKey")
        next_ = _item(last) if last else None
        return Counted(answer["ScannedCount"], answer["Count"], next_)

    def put(self, operation: Put) -> None:
        """Write one item."""
        bounds.check([operation])
        self._call("PutItem", **self._compile(operation), **_SHOW_FOUND)

    def update(self, operation: Update) -> Item:
        """Change one item and return it whole."""
        bounds.check([operation])
        answer = self._call(
            "UpdateItem", **self._compile(operation), ReturnValues="ALL_NEW", **_SHOW_FOUND
        )
        return _item(answer["Attributes"])

    def delete(self, key: Key) -> None:
        """Remove one item; it need not be there."""
        if not bounds.fits(key):
            return
        self._call("DeleteItem", **self._locate(key))

    def transact(self, operations: Sequence[Operation], token: str | None = None) -> None:
        """Write all or nothing."""
        bounds.check(operations)
        kinds = {Put: "Put", Update: "Update", Delete: "Delete", Check: "ConditionCheck"}
        entries = [
            {kinds[type(operation)]: {**self._compile(operation), **_SHOW_FOUND}}
            for operation in operations
        ]
        # Without a token, a repeat of what was written would fail its own conditions.
        named = token or os.urandom(16).hex()
        self._call("TransactWriteItems", TransactItems=entries, ClientRequestToken=named)

    def _locate(self, key: Key) -> dict[str, Any]:
        return {
            "TableName": self._names[key.table],
            "Key": {"pk": {"S": key.pk}, "sk": {"S": key.sk}},
        }

    def _compile(self, operation: Operation) -> dict[str, Any]:
        expression = _Expression()
        request: dict[str, Any]
        match operation:
            case Put(key, item):
                whole = {**item, "pk": key.pk, "sk": key.sk}
                request = {"TableName": self._names[key.table], "Item": _attributes(whole)}
            case Update(key):
                request = self._locate(key)
                request["UpdateExpression"] = expression.update(operation)
            case Delete(key) | Check(key):
                request = self._locate(key)
        if operation.condition is not None:
            request["ConditionExpression"] = expression.condition(operation.condition)
        return {**request, **expression.placeholders()}

    def _call(self, name: str, **request: Any) -> Any:
        for attempt in range(_CONFLICT_ATTEMPTS):
            try:
                return self._client.call(name, request)
            except AwsRefused as error:
                translated = _translated(error)
                if not isinstance(translated, TransactionConflict):
                    raise translated from error
                if attempt == _CONFLICT_ATTEMPTS - 1:
                    raise translated from error
            except AwsUnanswered as error:
                raise StoreUnavailable(error.code) from error
            # Nothing was written: another transaction held an item for some milliseconds.
            time.sleep(LOTS.uniform(0.01, 0.05) * (attempt + 1))
        raise AssertionError("unreachable")


# With it, a failed condition tells what stood in the way, without another read.
_SHOW_FOUND = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}


def _translated(error: AwsRefused) -> Exception:
    code, message = error.code, error.message.lower()
    if code == "ConditionalCheckFailedException":
        found = error.body.get("Item")
        return ConditionFailed([0], [_item(found) if found else None])
    if code == "TransactionCanceledException":
        return _cancelled(error.body.get("CancellationReasons", []))
    if code in {"TransactionInProgressException", "TransactionConflictException"}:
        return TransactionConflict(code)
    if code == "ValidationException" and any(text in message for text in _TOO_LARGE):
        return ItemTooLarge(code)
    if code == "ItemCollectionSizeLimitExceededException":
        return ItemTooLarge(code)
    if (
        error.status >= 500  # noqa: PLR2004
        or "Throttl" in code
        or "Exceeded" in code
        or "Timeout" in code
    ):
        return StoreUnavailable(code)
    return error


def _cancelled(reasons: Sequence[Mapping[str, Any]]) -> Exception:
    codes = [str(reason.get("Code", "None")) for reason in reasons]
    failed = [place for place, code in enumerate(codes) if code == "ConditionalCheckFailed"]
    if failed:
        items = [reasons[place].get("Item") for place in failed]
        return ConditionFailed(failed, [_item(item) if item else None for item in items])
    if "TransactionConflict" in codes:
        return TransactionConflict("TransactionConflict")
    if any(_is_too_large(reason) for reason in reasons):
        return ItemTooLarge("transaction")
    if "ValidationError" in codes:
        # A fault of ours; asking again would not help.
        return ValueError("DynamoDB refused a transaction as malformed")
    return StoreUnavailable(",".join(sorted(set(codes))))


def _is_too_large(reason: Mapping[str, Any]) -> bool:
    if reason.get("Code") == "ItemCollectionSizeLimitExceeded":
        return True
    message = str(reason.get("Message", "")).lower()
    return reason.get("Code") == "ValidationError" and any(text in message for text in _TOO_LARGE)
