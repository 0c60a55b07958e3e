"""Patterns of definitions: regular expressions that no engine can be kept busy with.

A pattern is run by browsers, with a backtracking engine, and here. It is read by one parser, which
takes what JavaScript (ECMA-262, without flags) and this module understand alike: characters, sets,
groups, alternatives, `* + ? {m,n}` and their lazy forms, `^` and `$` at the ends. Look-around,
back-references and word boundaries are refused.

`check` proves that a backtracking engine has little to go back to: it follows every input there
can be, and counts in how many ways each could have been read so far (the paths of a position
automaton, Glushkov 1961, with their multiplicity). Their number is bounded by a constant, or the
pattern is refused. Here a pattern is not run by backtracking at all, but by that automaton, in
time proportional to the length of the text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from keystow.catalog.pattern_syntax import (
    TOP,
    Branch,
    Chars,
    Choice,
    Node,
    PatternError,
    Ranges,
    Repeat,
    Sequence,
    holds,
    parse,
    units_of,
)

MAX_TEXT: Final = 2_000
MAX_POSITIONS: Final = 2_000
# In how many ways an engine may be in the middle of a match. Without `^` it begins anew at every
# character, so that the work is multiplied by the length of the text.
MAX_WAYS: Final = 128
MAX_WAYS_UNANCHORED: Final = 16
_MAX_STEPS: Final = 300_000
# All patterns of a definition together: about two seconds.
MAX_EFFORT: Final = 500_000
_MAX_EDGES: Final = 50_000
_CAP: Final = 1_000_000


class Effort:
    """What may be spent on the patterns of one definition together."""

    def __init__(self, steps: int = MAX_EFFORT) -> None:
        self.left = steps

    def spend(self, steps: int) -> None:
        """Take steps off. Raises PatternError when there are none left."""
        self.left -= steps
        if self.left <= 0:
            raise PatternError("takes too long to check, together with the others: make it plainer")


def check(pattern: str, effort: Effort | None = None) -> None:
    """Refuse a pattern that is not understood, or that some engine could be kept busy with.

    Args:
        pattern: a regular expression.
        effort: shared with other patterns; what is spent on this one is taken off.

    Raises:
        PatternError: says what is wrong.
    """
    effort = Effort() if effort is None else effort
    effort.spend(1)  # nothing is begun when there is nothing left
    branches = parse(pattern)
    anchored = all(branch.starts for branch in branches)
    automaton = Automaton.of(Choice(tuple(branch.node for branch in branches)))
    effort.spend(automaton.built + automaton.edges)
    if not anchored and not automaton.has_few_ways(MAX_WAYS_UNANCHORED, effort):
        raise PatternError("can be matched in too many ways: begin it with ^ and make it plainer")
    if not automaton.has_few_ways(MAX_WAYS, effort):
        raise PatternError("can be matched in too many ways, which could take for ever")


def matches(pattern: str, text: str) -> bool:
    """Return whether a pattern is found in a text, as JavaScript's ``RegExp.test`` has it.

    A pattern that is not understood, or a text longer than ``MAX_TEXT``, is no match.
    """
    if len(text) > MAX_TEXT:
        return False
    try:
        compiled = _compiled(pattern)
    except PatternError:
        return False
    units = units_of(text)
    return any(
        automaton.runs(units, starts=branch.starts, ends=branch.ends)
        for branch, automaton in compiled
    )


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> tuple[tuple[Branch, Automaton], ...]:
    return tuple((branch, Automaton.of(branch.node)) for branch in parse(pattern))


@dataclass(frozen=True, slots=True)
class _Fragment:
    """A part of an automaton: in how many ways it is empty, begins and ends where."""

    empty: int
    first: dict[int, int]
    last: dict[int, int]


_NOTHING_READ: Final = _Fragment(1, {}, {})


@dataclass(slots=True)
class Automaton:
    """A position automaton: one state for each set of the pattern, and the ways between them.

    ``ranges`` says what each position reads, ``after`` what may follow it, ``whole`` where a match
    begins and ends. Ways are counted, since a backtracking engine tries each.
    """

    ranges: list[Ranges] = field(default_factory=list)
    after: list[dict[int, int]] = field(default_factory=list)
    whole: _Fragment = _NOTHING_READ
    built: int = 0
    edges: int = 0

    @classmethod
    def of(cls, node: Node) -> Automaton:
        """Return the automaton of a node. Raises PatternError when it has too many positions."""
        made = cls()
        made.whole = made._build(node)
        return made

    def _build(self, node: Node) -> _Fragment:
        self.built += 1
        if len(self.ranges) >= MAX_POSITIONS or self.built > 4 * MAX_POSITIONS:
            raise PatternError("is too long when its repetitions are written out")
        match node:
            case Chars(ranges):
                self.ranges.append(ranges)
                self.after.append({})
                place = len(self.ranges) - 1
                return _Fragment(0, {place: 1}, {place: 1})
            case Sequence(parts):
                made = _NOTHING_READ
                for part in parts:
                    made = self._joined(made, self._build(part))
                return made
            case Choice(parts):
                made = _Fragment(0, {}, {})
                for part in parts:
                    other = self._build(part)
                    made = _Fragment(
                        min(made.empty + other.empty, _CAP),
                        made.first | other.first,
                        made.last | other.last,
                    )
                return made
            case Repeat(part, least, most):
                return self._repeated(part, least, most)

    def _repeated(self, part: Node, least: int, most: int | None) -> _Fragment:
        made = _NOTHING_READ
        for _ in range(least):
            made = self._joined(made, self._build(part))
        if most is None:
            again = self._build(part)
            if again.empty:
                raise PatternError("repeats something that may be empty")
            self._connect(again.last, again.first)
            return self._joined(made, _Fragment(1, again.first, again.last))
        optional = _NOTHING_READ
        for place in range(most - least):  # from the innermost: (x(x(x)?)?)?
            once = self._build(part)
            if once.empty and place:
                raise PatternError("repeats something that may be empty")
            inner = self._joined(once, optional)
            optional = _Fragment(inner.empty + 1, inner.first, inner.last)
        return self._joined(made, optional)

    def _joined(self, left: _Fragment, right: _Fragment) -> _Fragment:
        self._connect(left.last, right.first)
        first = dict(left.first)
        _add(first, right.first, left.empty)
        last = dict(right.last)
        _add(last, left.last, right.empty)
        return _Fragment(min(left.empty * right.empty, _CAP), first, last)

    def _connect(self, ends: dict[int, int], begins: dict[int, int]) -> None:
        self.edges += len(ends) * len(begins)
        if self.edges > _MAX_EDGES:
            raise PatternError("is too long when its repetitions are written out")
        for place, count in ends.items():
            _add(self.after[place], begins, count)

    def runs(self, units: list[int], *, starts: bool, ends: bool) -> bool:
        """Return whether it matches: from the beginning, to the end, or anywhere."""
        last = self.whole.last
        if self.whole.empty and not (starts and ends):
            return True
        if not units:
            return bool(self.whole.empty)
        live: set[int] = set()
        for at, unit in enumerate(units):
            allowed = {place for old in live for place in self.after[old]}
            if at == 0 or not starts:
                allowed.update(self.whole.first)
            live = {place for place in allowed if holds(self.ranges[place], unit)}
            if not ends and not live.isdisjoint(last):
                return True
            if not live and starts:
                return False
        return not live.isdisjoint(last)

    def has_few_ways(self, most: int, effort: Effort) -> bool:
        """Return whether no input can be in the middle of a match in more than ``most`` ways.

        Ways that come to nothing at the next character count too: an engine tries them.
        """
        samples = self._samples()
        todo = [(self.whole.first, self.whole.empty)]
        seen: set[frozenset[tuple[int, int]]] = set()
        steps = 0
        while todo:
            onward, ended = todo.pop()
            if sum(onward.values()) + ended > most:
                return False
            effort.spend(len(samples) * (len(onward) + 1))
            for unit in samples:
                steps += len(onward) + 1
                if steps > _MAX_STEPS:
                    return False
                ways = {p: count for p, count in onward.items() if holds(self.ranges[p], unit)}
                key = frozenset(ways.items())
                if ways and key not in seen:
                    seen.add(key)
                    todo.append(self._onward(ways))
        return True

    def _onward(self, ways: dict[int, int]) -> tuple[dict[int, int], int]:
        """Return in how many ways it can go on, place by place, and in how many it can end."""
        onward: dict[int, int] = {}
        for place, count in ways.items():
            _add(onward, self.after[place], count)
        return onward, sum(count * self.whole.last.get(place, 0) for place, count in ways.items())

    def _samples(self) -> list[int]:
        """Return one code unit of each kind that the sets tell apart."""
        edges = {0}
        for ranges in set(self.ranges):
            for low, high in ranges:
                edges |= {low, high + 1}
        kinds: dict[frozenset[Ranges], int] = {}
        distinct = set(self.ranges)
        for unit in sorted(edges):
            if unit <= TOP:
                kinds.setdefault(frozenset(r for r in distinct if holds(r, unit)), unit)
        return list(kinds.values())


def _add(to: dict[int, int], more: dict[int, int], times: int) -> None:
    if times:
        for place, count in more.items():
            to[place] = min(to.get(place, 0) + count * times, _CAP)
