"""What is changed of a sound account, one thing in each case, and what a check says of it.

Exactly the condition that is broken fails, so that none can be taken out without a test that
notices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.unit.verifying.world import looked

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.verifying.web import Web
    from tests.unit.verifying.world import World

GONE = object()


@dataclass(frozen=True)
class Case:
    """A change of the world or the web, and what the check says of it."""

    check: str
    says: str
    change: Callable[[World, Web], Any]
    times: int = 1


def of(where: str, *path: Any, value: Any) -> Callable[[World, Web], Any]:
    """Something of the world is otherwise: an attribute, or what lies deeper in it."""

    def change(world: World, _web: Web) -> None:
        if not path:
            setattr(world, where, value)
            return
        found = getattr(world, where)
        for step in path[:-1]:
            found = found[step]
        if value is GONE:
            del found[path[-1]]
        else:
            found[path[-1]] = value

    return change


def answers(name: str, **changed: Any) -> Callable[[World, Web], Any]:
    """A request is answered otherwise."""
    return lambda _world, web: web.broken.__setitem__(name, changed)


def header(name: str, header: str, value: str | None) -> Callable[[World, Web], Any]:
    """A header of an answer is another, or missing."""
    return answers(name, headers={header: value})


def both(
    first: Callable[[World], Any], then: Callable[[World, Web], Any]
) -> Callable[[World, Web], Any]:
    """A stack that is deployed otherwise, and something of it wrong."""

    def change(world: World, web: Web) -> None:
        first(world)
        then(world, web)

    return change


def identifiers(cases: list[Case]) -> list[str]:
    """A name for each case, the same in every run."""
    return [f"{number}-{one.check}" for number, one in enumerate(cases)]


def prove(world: World, web: Web, case: Case) -> None:
    """Break one condition: that one fails, and nothing else of its check."""
    case.change(world, web)
    failed = [one.text for one in looked(world, case.check) if one.outcome == "failed"]
    assert len(failed) == case.times, failed
    assert any(case.says in text for text in failed), failed
