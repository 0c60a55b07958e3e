"""What a key can be: asked of every key before a table is, whatever it was made of.

No item lies under a key that is too long. So who reads there finds nothing, and a condition is
decided as of an item that is not there; only what would make such an item is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keystow.store.operations import Key, Operation, Put, Update, holds
from keystow.store.store import ConditionFailed, KeyTooLong
from keystow.store.tables import TABLES, is_partition, is_sort

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def fits(key: Key) -> bool:
    """Return whether an item can lie under a key."""
    return is_partition(key.pk) and is_sort(key.sk)


def may_hold(pk: str, prefix: str) -> bool:
    """Return whether a partition can have items whose sort keys begin so."""
    return is_partition(pk) and (not prefix or is_sort(prefix))


def check(operations: Sequence[Operation]) -> None:
    """Let pass what a table can be asked for.

    Raises:
        ConditionFailed: an item that must be there cannot be.
        KeyTooLong: an item would get a key that none can have.
    """
    misplaced = [place for place, each in enumerate(operations) if not fits(each.key)]
    failed = [place for place in misplaced if not holds(operations[place].condition, None)]
    if failed:
        raise ConditionFailed(failed, [None] * len(failed))
    if misplaced or not all(_is_indexable(each) for each in operations):
        raise KeyTooLong("a key of a table or of an index")


def _is_indexable(operation: Operation) -> bool:
    match operation:
        case Put(key, item):
            return _fit_indexes(key.table, item)
        case Update(key):
            return _fit_indexes(key.table, operation.set)
        case _:
            return True


def _fit_indexes(table: str, attributes: Mapping[str, Any]) -> bool:
    for index in TABLES[table].indexes.values():
        hash_value, range_value = attributes.get(index.hash), attributes.get(index.range)
        if isinstance(hash_value, str) and not is_partition(hash_value):
            return False
        if isinstance(range_value, str) and not is_sort(range_value):
            return False
    return True
