"""A value that must never be printed: its text and JSON forms are ``***``."""

from __future__ import annotations

from typing import Any, Generic, NoReturn, TypeVar

T = TypeVar("T")

MASK = "***"


class Secret(Generic[T]):
    """Wraps a credential from the moment it enters until the moment it must leave.

    ``repr``, ``str``, ``format`` and logging show ``***``; pickling and iteration are refused, so
    that a secret cannot slip out through a debugging aid. Only :meth:`reveal` gives the value.
    """

    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        self._value = value

    def reveal(self) -> T:
        """Return the wrapped value; call it only where the value leaves for its destination."""
        return self._value

    def __repr__(self) -> str:
        return MASK

    def __str__(self) -> str:
        return MASK

    def __format__(self, _spec: str) -> str:
        return MASK

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return bool(self._value == other._value)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied")

    def __deepcopy__(self, _memo: dict[int, Any]) -> Secret[T]:
        return self
