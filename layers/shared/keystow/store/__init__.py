"""Items in tables: what may be asked of a store, and the errors it raises.

Conditions and updates are data (:mod:`keystow.store.operations`), so that DynamoDB and the
in-memory twin used by tests of many rounds decide them alike.
"""

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
    KeyTooLong,
    Store,
    StoreUnavailable,
    TransactionConflict,
)

__all__ = [
    "Above",
    "All",
    "Any_",
    "AtMost",
    "Below",
    "Check",
    "Condition",
    "ConditionFailed",
    "Counted",
    "Delete",
    "Equals",
    "Exists",
    "Item",
    "ItemTooLarge",
    "Key",
    "KeyTooLong",
    "Missing",
    "Operation",
    "Page",
    "Put",
    "Store",
    "StoreUnavailable",
    "TransactionConflict",
    "Update",
]
