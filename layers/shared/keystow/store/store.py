"""The interface of a store, and the errors it raises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from keystow.store.operations import Counted, Item, Key, Operation, Page, Put, Update


class ConditionFailed(Exception):  # noqa: N818 - an outcome, not a fault
    """A condition did not hold and nothing was written.

    Args:
        failed: positions of the operations whose condition failed.
        found: the items found in their place, where the store could tell (None otherwise).
    """

    def __init__(self, failed: Sequence[int], found: Sequence[Item | None]) -> None:
        super().__init__(f"condition of operation {list(failed)} failed")
        self.failed = tuple(failed)
        self.found = tuple(found)


class TransactionConflict(Exception):  # noqa: N818 - an outcome, not a fault
    """Another transaction touched one of the items at the same moment; nothing was written."""


class ItemTooLarge(Exception):  # noqa: N818 - an outcome, not a fault
    """The item would exceed what a table can hold (400 KB)."""


class KeyTooLong(ItemTooLarge):
    """A key of the item would be longer than a table takes (2,048 and 1,024 bytes), or empty."""


class StoreUnavailable(Exception):  # noqa: N818 - an outcome, not a fault
    """The store did not answer, or asked to slow down; whether it wrote is not known."""


class Store(Protocol):
    """What the domain asks of its tables. Every read is strongly consistent unless of an index.

    Under a key that is too long for a table nothing is ever found (:mod:`keystow.store.bounds`).
    """

    def get(self, key: Key) -> Item | None:
        """Return an item, or None."""
        ...

    def get_all(self, keys: Sequence[Key]) -> list[Item | None]:
        """Return items in the order of their keys, each or None: one request, not one for each.

        Every one is read strongly consistently, and by itself: another may have changed meanwhile.

        Args:
            keys: at most 100; none of them twice.

        Raises:
            StoreUnavailable: not all of them could be read.
        """
        ...

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
        """Return one page of the items under a partition key.

        Args:
            table: logical table name.
            pk: value of the partition key (of the index, when one is named).
            prefix: only range keys that begin with this.
            index: name of an index; None for the table itself.
            at_most: only range keys up to this number (indexes by due time).
            descending: highest range key first.
            limit: at most so many items are examined.
            start: the ``next`` of the page before.
        """
        ...

    def count(
        self, table: str, pk: str, *, index: str, having: str, start: Item | None = None
    ) -> Counted:
        """Return how many items a part of an index holds, and how many have an attribute.

        Nothing of the items is sent, which makes a part as large as the store reads at once (1 MB).

        Args:
            table: logical table name.
            pk: value of the index's partition key.
            index: name of the index.
            having: the attribute.
            start: the ``next`` of the part before.
        """
        ...

    def put(self, operation: Put) -> None:
        """Write one item. Raises ConditionFailed, ItemTooLarge, StoreUnavailable."""
        ...

    def update(self, operation: Update) -> Item:
        """Change one item and return it whole. Raises as :meth:`put`."""
        ...

    def delete(self, key: Key) -> None:
        """Remove one item; it need not be there."""
        ...

    def transact(self, operations: Sequence[Operation], token: str | None = None) -> None:
        """Write all or nothing (at most 100 operations, one for each item).

        Args:
            operations: what to write.
            token: repeats with one token within ten minutes write once.

        Raises:
            ConditionFailed: which conditions failed.
            TransactionConflict: try again.
            ItemTooLarge: an item is over 400 KB.
            StoreUnavailable: whether it was written is not known.
        """
        ...


def pages(store: Store, table: str, pk: str, **query: object) -> Iterator[Item]:
    """Yield every item of a query, page by page."""
    start: Item | None = None
    while True:
        page = store.query(table, pk, start=start, **query)  # type: ignore[arg-type]
        yield from page.items
        if page.next is None:
            return
        start = page.next
