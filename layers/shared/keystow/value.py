"""Frozen values for what every cold start loads.

``@dataclass`` writes and compiles the methods of each class when its module is imported: 35 of
them cost get_connection some 35 ms of start-up, more than anything else of ours (``make bench``
prints the ratio). Here the methods are shared, so a class costs next to nothing to define. Type
checkers see data classes (PEP 681). What is not loaded at start uses dataclasses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, dataclass_transform

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
V = TypeVar("V", bound="Value")


class _Made:
    """A default that is made anew for each value."""

    def __init__(self, factory: Callable[[], Any]) -> None:
        self.factory = factory


def field(*, default_factory: Callable[[], T]) -> T:
    """Return a default that is made anew for each value."""
    return _Made(default_factory)  # type: ignore[return-value]


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Value:
    """Base of frozen values: annotated names are fields, in order, with their defaults."""

    _names: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        own = cls.__dict__.get("__annotations__", {})  # noqa: RUF063 - inspect is slow to load
        kinds = {name: str(kind) for name, kind in own.items()}
        names = [name for name, kind in kinds.items() if not kind.startswith("ClassVar")]
        cls._names = (*cls._names, *names)
        # For patterns of `match`; type checkers derive it from the fields themselves.
        setattr(cls, "__match_args__", cls._names)  # noqa: B010

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of the fields, in order."""
        return cls._names

    def __init__(self, *args: Any, **named: Any) -> None:
        names = self._names
        if len(args) > len(names):
            raise TypeError(f"{type(self).__name__} takes {len(names)} values")
        given = dict(zip(names, args, strict=False))
        for name in names[len(args) :]:
            if name in named:
                given[name] = named.pop(name)
                continue
            try:
                default = getattr(type(self), name)
            except AttributeError:
                raise TypeError(f"{type(self).__name__} needs {name}") from None
            given[name] = default.factory() if isinstance(default, _Made) else default
        if named:
            raise TypeError(f"{type(self).__name__} takes no {', '.join(sorted(named))}")
        self.__dict__.update(given)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self), tuple(self.__dict__.values())))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items())
        return f"{type(self).__name__}({shown})"


def replace(value: V, **changes: Any) -> V:
    """Return a copy of a value in which some fields are others."""
    return type(value)(**{**value.__dict__, **changes})
