"""Conditions, writes and pages as plain data."""

from __future__ import annotations

from operator import gt, le, lt
from typing import TYPE_CHECKING, Any, TypeAlias

from keystow.value import Value, field

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Item: TypeAlias = dict[str, Any]


class Key(Value):
    """Where an item lives: a logical table name (:mod:`keystow.store.tables`), pk and sk."""

    table: str
    pk: str
    sk: str


class Exists(Value):
    """The attribute is there."""

    attribute: str


class Missing(Value):
    """The attribute is not there; of ``pk``: the item is not there."""

    attribute: str


class Equals(Value):
    """The attribute is there and has this value."""

    attribute: str
    value: str | int | bool


class Below(Value):
    """The attribute is there and less than this number."""

    attribute: str
    value: int


class AtMost(Value):
    """The attribute is there and not more than this number."""

    attribute: str
    value: int


class Above(Value):
    """The attribute is there and more than this number."""

    attribute: str
    value: int


class All(Value):
    """Every one of the conditions holds."""

    conditions: tuple[Condition, ...]


class Any_(Value):  # noqa: N801 - the name `Any` is taken by typing
    """At least one of the conditions holds."""

    conditions: tuple[Condition, ...]


Condition: TypeAlias = Exists | Missing | Equals | Below | AtMost | Above | All | Any_

NEW = Missing("pk")
THERE = Exists("pk")

_COMPARISONS: dict[type, Callable[[int, int], bool]] = {
    Below: lt,
    AtMost: le,
    Above: gt,
}


def holds(condition: Condition | None, item: Item | None) -> bool:
    """Return whether a condition holds of an item (None: there is none), as DynamoDB decides it."""
    found = item or {}
    match condition:
        case None:
            return True
        case Exists(attribute):
            return attribute in found
        case Missing(attribute):
            return attribute not in found
        case Equals(attribute, value):
            # DynamoDB compares types as well: true is not 1.
            same = attribute in found and type(found[attribute]) is type(value)
            return same and bool(found[attribute] == value)
        case All(conditions):
            return all(holds(each, item) for each in conditions)
        case Any_(conditions):
            return any(holds(each, item) for each in conditions)
        case Below(attribute, value) | AtMost(attribute, value) | Above(attribute, value):
            there = found.get(attribute)
            if isinstance(there, bool) or not isinstance(there, int):
                return False
            return _COMPARISONS[type(condition)](there, value)


class Put(Value):
    """Write a whole item, replacing what was there."""

    key: Key
    item: Item
    condition: Condition | None = None


class Update(Value):
    """Change some attributes of an item; the rest stays.

    ``set_entries`` sets single entries of attributes that are maps (which must be there),
    ``{(attribute, entry): value}``, so that two writers of different entries do not lose each
    other's.
    Without a condition an item that is not there is created, as DynamoDB does.
    """

    key: Key
    set: Mapping[str, Any] = field(default_factory=dict)
    set_entries: Mapping[tuple[str, str], Any] = field(default_factory=dict)
    add: Mapping[str, int] = field(default_factory=dict)
    remove: tuple[str, ...] = ()
    condition: Condition | None = None


class Delete(Value):
    """Remove an item."""

    key: Key
    condition: Condition | None = None


class Check(Value):
    """Only require something of an item, within a transaction."""

    key: Key
    condition: Condition


Operation: TypeAlias = Put | Update | Delete | Check


class Counted(Value):
    """How many items a part of an index holds, and how many of them have some attribute.

    ``next`` is where the next part begins; None: this was the last.
    """

    items: int
    having: int
    next: Item | None = None


class Page(Value):
    """Some items of a query, and where the next ones begin (None: these were the last)."""

    items: list[Item]
    next: Item | None = None
