"""DynamoDB's tables in memory, spoken to in DynamoDB's own JSON: as much as functions use of it.

No limits, no pages, no consistency to wait for; answers come as fast as a dictionary allows.
"""

from __future__ import annotations

import json
import operator
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_KEYS: Final = ("pk", "sk")
_TOKEN: Final = re.compile(r"\s*(\(|\)|,|<=|>=|<|>|=|[^\s(),<>=]+)")
_CLAUSE: Final = re.compile(r"\b(SET|ADD|REMOVE) ")
_SIGNS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Refused(Exception):  # noqa: N818 - an answer of DynamoDB
    """A condition does not hold; ``body`` is DynamoDB's answer, with status 400."""

    def __init__(self, body: Any) -> None:
        super().__init__(body["__type"])
        self.body = body


def _plain(attribute: Mapping[str, Any]) -> Any:
    """Return a value that can be compared with others of its kind."""
    ((kind, value),) = attribute.items()
    return int(value) if kind == "N" else value


class _Expression:
    """A condition: comparisons, three functions, AND, OR, and brackets."""

    def __init__(self, text: str, body: Mapping[str, Any]) -> None:
        self._tokens = _TOKEN.findall(text)
        self._names = body.get("ExpressionAttributeNames", {})
        self._values = body.get("ExpressionAttributeValues", {})
        self._place = 0

    def holds(self, item: Mapping[str, Any]) -> bool:
        """Return whether an item fulfils it."""
        self._place = 0
        return self._any(item)

    def _next(self) -> str:
        self._place += 1
        return str(self._tokens[self._place - 1])

    def _takes(self, token: str) -> bool:
        found = self._tokens[self._place : self._place + 1] == [token]
        self._place += found
        return found

    def _any(self, item: Mapping[str, Any]) -> bool:
        found = self._all(item)
        while self._takes("OR"):
            found |= self._all(item)
        return found

    def _all(self, item: Mapping[str, Any]) -> bool:
        found = self._one(item)
        while self._takes("AND"):
            found &= self._one(item)
        return found

    def _one(self, item: Mapping[str, Any]) -> bool:
        if self._takes("("):
            found = self._any(item)
            self._next()
            return found
        name = self._next()
        if not self._takes("("):
            attribute = item.get(self._names.get(name, name))
            sign, value = _SIGNS[self._next()], _plain(self._values[self._next()])
            return attribute is not None and sign(_plain(attribute), value)
        attribute = item.get(self._names.get(alias := self._next(), alias))
        if name == "begins_with":
            self._next()
            start = _plain(self._values[self._next()])
            found = attribute is not None and str(_plain(attribute)).startswith(start)
        else:
            found = (attribute is not None) == (name == "attribute_exists")
        self._next()
        return found


class Tables:
    """Rows, and the operations on them by DynamoDB's names.

    Args:
        rows: table → items in DynamoDB's JSON.
        indexes: table → index → its two keys.
    """

    def __init__(
        self,
        rows: Mapping[str, list[dict[str, Any]]],
        indexes: Mapping[str, Mapping[str, tuple[str, str]]],
    ) -> None:
        self._first = json.dumps(rows)
        self._indexes = indexes
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget what was written."""
        rows = json.loads(self._first)
        self._rows: dict[str, dict[tuple[str, str], dict[str, Any]]] = {
            table: {_key(item): item for item in items} for table, items in rows.items()
        }

    def get_item(self, body: Any) -> Any:
        """Answer ``GetItem``."""
        found = self._rows[body["TableName"]].get(_key(body["Key"]))
        return {"Item": found} if found else {}

    def batch_get_item(self, body: Any) -> Any:
        """Answer ``BatchGetItem``."""
        answers = {}
        for table, asked in body["RequestItems"].items():
            rows = (self._rows[table].get(_key(key)) for key in asked["Keys"])
            answers[table] = [row for row in rows if row]
        return {"Responses": answers, "UnprocessedKeys": {}}

    def transact_get_items(self, body: Any) -> Any:
        """Answer ``TransactGetItems``."""
        return {"Responses": [self.get_item(each["Get"]) for each in body["TransactItems"]]}

    def query(self, body: Any) -> Any:
        """Answer ``Query``."""
        table = body["TableName"]
        keys = self._indexes[table][body["IndexName"]] if "IndexName" in body else _KEYS
        wanted = _Expression(body["KeyConditionExpression"], body)
        found = [
            item
            for item in self._rows[table].values()
            if all(name in item for name in keys) and wanted.holds(item)
        ]
        forward = body.get("ScanIndexForward", True)
        found.sort(key=lambda item: _plain(item[keys[1]]), reverse=not forward)
        found = found[: body.get("Limit")]
        return {"Items": found, "Count": len(found), "ScannedCount": len(found)}

    def put_item(self, body: Any) -> Any:
        """Answer ``PutItem``."""
        self._check(body, body["Item"])
        self._rows[body["TableName"]][_key(body["Item"])] = body["Item"]
        return {}

    def delete_item(self, body: Any) -> Any:
        """Answer ``DeleteItem``."""
        self._check(body, body["Key"])
        self._rows[body["TableName"]].pop(_key(body["Key"]), None)
        return {}

    def update_item(self, body: Any) -> Any:
        """Answer ``UpdateItem``."""
        self._check(body, body["Key"])
        rows = self._rows[body["TableName"]]
        item = rows.setdefault(_key(body["Key"]), dict(body["Key"]))
        names = body.get("ExpressionAttributeNames", {})
        values = body.get("ExpressionAttributeValues", {})
        _, *clauses = _CLAUSE.split(body["UpdateExpression"])
        for kind, text in zip(clauses[::2], clauses[1::2], strict=True):
            for change in text.strip().split(", "):
                path, _, alias = change.replace(" = ", " ").partition(" ")
                *parents, last = (names.get(name, name) for name in path.split("."))
                place = item
                for parent in parents:
                    place = place[parent]["M"]
                if kind == "REMOVE":
                    place.pop(last, None)
                elif kind == "SET":
                    place[last] = values[alias]
                else:
                    sum_ = _plain(place.get(last, {"N": "0"})) + _plain(values[alias])
                    place[last] = {"N": str(sum_)}
        return {"Attributes": item}

    def transact_write_items(self, body: Any) -> Any:
        """Answer ``TransactWriteItems``."""
        entries = [next(iter(each.items())) for each in body["TransactItems"]]
        reasons = [self._reason(each) for _kind, each in entries]
        if any(reasons):
            kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException"
            found = [reason or {"Code": "None"} for reason in reasons]
            raise Refused({"__type": kind, "message": kind, "CancellationReasons": found})
        writes = {"Put": self.put_item, "Update": self.update_item, "Delete": self.delete_item}
        for kind, each in entries:
            if kind in writes:
                writes[kind](each)
        return {}

    def _reason(self, body: Any) -> Any:
        try:
            self._check(body, body.get("Key") or body["Item"])
        except Refused as refused:
            found = {"Item": refused.body["Item"]} if "Item" in refused.body else {}
            return {"Code": "ConditionalCheckFailed", **found}
        return None

    def _check(self, body: Any, key: Mapping[str, Any]) -> None:
        if "ConditionExpression" not in body:
            return
        item = self._rows[body["TableName"]].get(_key(key))
        if _Expression(body["ConditionExpression"], body).holds(item or {}):
            return
        kind = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"
        found = {"Item": item} if item else {}
        raise Refused({"__type": kind, "message": "The conditional request failed", **found})


def _key(item: Mapping[str, Any]) -> tuple[str, str]:
    return item["pk"]["S"], item["sk"]["S"]
