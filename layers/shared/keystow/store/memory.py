"""The in-memory twin of the tables, for tests that need thousands of rounds."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from keystow.store import bounds
from keystow.store.dynamodb import from_attribute, to_attribute
from keystow.store.operations import (
    Check,
    Counted,
    Delete,
    Item,
    Key,
    Operation,
    Page,
    Put,
    Update,
    holds,
)
from keystow.store.store import ConditionFailed, ItemTooLarge
from keystow.store.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Sequence

_LARGEST_ITEM = 400 * 1024
_MOST_OPERATIONS = 100


def _copied(value: Any) -> Any:
    """Return a copy; items hold only plain values, so this need not be as careful as deepcopy."""
    match value:
        case dict():
            return {name: _copied(each) for name, each in value.items()}
        case list():
            return [_copied(each) for each in value]
        case _:
            return value


def _stored(value: Any) -> Any:
    """Return a copy as DynamoDB would give it back; refuses what it could not hold."""
    return from_attribute(to_attribute(value))


def _size(value: Any) -> int:
    """Return about how many bytes a value counts towards the limit of an item."""
    match value:
        case str():
            return len(value.encode("utf-8", "surrogatepass"))
        case bytes():
            return len(value)
        case dict():
            return 3 + sum(len(name.encode()) + 1 + _size(each) for name, each in value.items())
        case list():
            return 3 + sum(1 + _size(each) for each in value)
        case bool() | None:
            return 1
        case _:
            return 1 + (len(str(value)) + 1) // 2


class MemoryStore:
    """A store in a dictionary; passes the same contract tests as DynamoDB.

    ``counted_at_once`` is how many items a part of a count has, as DynamoDB's have 1 MB.
    """

    counted_at_once = 1_000

    def __init__(self) -> None:
        self._tables: dict[str, dict[tuple[str, str], Item]] = {name: {} for name in TABLES}
        self._lock = threading.RLock()
        self._tokens: set[str] = set()

    def get(self, key: Key) -> Item | None:
        """Return an item, or None."""
        with self._lock:
            found: Item | None = _copied(self._tables[key.table].get((key.pk, key.sk)))
            return found

    def get_all(self, keys: Sequence[Key]) -> list[Item | None]:
        """Return items in the order of their keys, each or None."""
        if len(keys) > _MOST_OPERATIONS or len(set(keys)) < len(keys):
            raise ValueError("at most 100 keys, none of them twice")
        return [self.get(key) for key in keys]

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

        def position(item: Item) -> tuple[Any, str, str]:
            return item[range_name], item["pk"], item["sk"]

        with self._lock:
            found = [
                item
                for item in self._tables[table].values()
                if item.get(hash_name) == pk
                and range_name in item
                and (not prefix or str(item[range_name]).startswith(prefix))
                and (at_most is None or item[range_name] <= at_most)
            ]
            found.sort(key=position, reverse=descending)
            if start is not None:
                after = position(start)
                found = [
                    item
                    for item in found
                    if (position(item) < after if descending else position(item) > after)
                ]
            page = found if limit is None else found[:limit]
            more = len(page) < len(found)
            names = {"pk", "sk", hash_name, range_name}
            last = {name: page[-1][name] for name in names} if more else None
            if keys is not None and keys.projection is not None:
                names |= set(keys.projection)
                page = [{name: item[name] for name in names & item.keys()} for item in page]
            return Page(_copied(page), last)

    def count(
        self, table: str, pk: str, *, index: str, having: str, start: Item | None = None
    ) -> Counted:
        """Return how many items a part of an index holds, and how many have an attribute."""
        page = self.query(table, pk, index=index, start=start, limit=self.counted_at_once)
        with self._lock:
            rows = [self._tables[table][item["pk"], item["sk"]] for item in page.items]
        return Counted(len(rows), sum(having in row for row in rows), page.next)

    def put(self, operation: Put) -> None:
        """Write one item."""
        self.transact([operation])

    def update(self, operation: Update) -> Item:
        """Change one item and return it whole."""
        with self._lock:
            self.transact([operation])
            changed = self.get(operation.key)
        assert changed is not None
        return changed

    def delete(self, key: Key) -> None:
        """Remove one item; it need not be there."""
        if bounds.fits(key):
            self.transact([Delete(key)])

    def transact(self, operations: Sequence[Operation], token: str | None = None) -> None:
        """Write all or nothing."""
        places = {(each.key.table, each.key.pk, each.key.sk) for each in operations}
        if not 0 < len(operations) <= _MOST_OPERATIONS or len(places) < len(operations):
            raise ValueError("a transaction takes 1 to 100 operations, one for each item")
        bounds.check(operations)
        with self._lock:
            if token is not None and token in self._tokens:
                return
            before = [self.get(operation.key) for operation in operations]
            failed = [
                place
                for place, operation in enumerate(operations)
                if not holds(operation.condition, before[place])
            ]
            if failed:
                raise ConditionFailed(failed, [before[place] for place in failed])
            # Made first, so that one that cannot be stored leaves all of them undone.
            after = [self._changed(*each) for each in zip(operations, before, strict=True)]
            if any(item is not None and _size(item) - 3 > _LARGEST_ITEM for item in after):
                raise ItemTooLarge("memory")
            for operation, item in zip(operations, after, strict=True):
                table = self._tables[operation.key.table]
                place = (operation.key.pk, operation.key.sk)
                if item is None:
                    table.pop(place, None)
                else:
                    table[place] = item
            if token is not None:
                self._tokens.add(token)

    def _changed(self, operation: Operation, before: Item | None) -> Item | None:
        """Return what an item becomes; None: it is not there afterwards."""
        key = operation.key
        match operation:
            case Put(_, item):
                return {**{name: _stored(value) for name, value in item.items()}, **_place(key)}
            case Delete():
                return None
            case Check():
                return before
            case Update():
                changed = _place(key) if before is None else before
                for name, value in operation.set.items():
                    changed[name] = _stored(value)
                for (name, entry), value in operation.set_entries.items():
                    if not isinstance(changed.get(name), dict):
                        raise TypeError(f"{name} is no map, so no entry of it can be set")
                    changed[name][entry] = _stored(value)
                for name, amount in operation.add.items():
                    changed[name] = changed.get(name, 0) + amount
                for name in operation.remove:
                    changed.pop(name, None)
                return changed

    def everything(self) -> dict[str, list[Item]]:
        """Return a copy of every table, for tests that search for what must not be there."""
        with self._lock:
            return {name: _copied(list(rows.values())) for name, rows in self._tables.items()}


def _place(key: Key) -> Item:
    return {"pk": key.pk, "sk": key.sk}
