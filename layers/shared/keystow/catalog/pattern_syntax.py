"""Reads a regular expression of JavaScript (ECMA-262, without flags) into a tree.

Taken is what every engine understands alike; whatever is left is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_MAX_DEPTH: Final = 40
TOP: Final = 0xFFFF  # JavaScript counts in UTF-16 code units

Ranges = tuple[tuple[int, int], ...]


class PatternError(ValueError):
    """The pattern is not understood, or could take for ever; the message holds none of it."""


@dataclass(frozen=True, slots=True)
class Chars:
    """One code unit of a set."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Sequence:
    """One after the other."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """``least`` to ``most`` times; None: any number."""

    part: Node
    least: int
    most: int | None


Node = Chars | Sequence | Choice | Repeat


@dataclass(frozen=True, slots=True)
class Branch:
    """One alternative of the whole pattern, and which of its ends are tied to those of the text."""

    node: Node
    starts: bool
    ends: bool


def literal(text: str) -> Node:
    """Return the node that matches a text."""
    return Sequence(tuple(Chars(((unit, unit),)) for unit in units_of(text)))


def units_of(text: str) -> list[int]:
    """Return the UTF-16 code units of a text."""
    encoded = text.encode("utf-16-le", "surrogatepass")
    return [encoded[at] | encoded[at + 1] << 8 for at in range(0, len(encoded), 2)]


def holds(ranges: Ranges, unit: int) -> bool:
    """Return whether a set has a code unit."""
    return any(low <= unit <= high for low, high in ranges)


def parse(pattern: str) -> tuple[Branch, ...]:
    """Return the alternatives of a pattern. Raises PatternError."""
    return _Parser(pattern).whole()


def _merged(ranges: list[tuple[int, int]]) -> Ranges:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def _inverted(ranges: Ranges) -> Ranges:
    found: list[tuple[int, int]] = []
    start = 0
    for low, high in ranges:
        if low > start:
            found.append((start, low - 1))
        start = high + 1
    if start <= TOP:
        found.append((start, TOP))
    return tuple(found)


def _of(text: str) -> list[tuple[int, int]]:
    return [(ord(each), ord(each)) for each in text]


_DIGIT: Final = ((0x30, 0x39),)
_WORD: Final = _merged([(0x30, 0x39), (0x41, 0x5A), (0x61, 0x7A), (0x5F, 0x5F)])
_SPACE: Final = _merged(
    [*_of("\t\n\v\f\r \u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff"), (0x2000, 0x200A)]
)
_SETS: Final = {
    "d": _DIGIT,
    "D": _inverted(_DIGIT),
    "w": _WORD,
    "W": _inverted(_WORD),
    "s": _SPACE,
    "S": _inverted(_SPACE),
}
_ANY: Final = _inverted(_merged(_of("\n\r\u2028\u2029")))
_CONTROLS: Final = {"t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r"}


class _Parser:
    """Reads a pattern from left to right."""

    def __init__(self, pattern: str) -> None:
        self.text = pattern
        self.at = 0
        if any(each > "\uffff" or "\ud800" <= each <= "\udfff" for each in pattern):
            raise PatternError("must consist of characters of the basic plane")

    def whole(self) -> tuple[Branch, ...]:
        branches = [self.branch()]
        while self.take("|"):
            branches.append(self.branch())
        if self.at < len(self.text):
            raise PatternError("must be a regular expression: a parenthesis is not opened")
        return tuple(branches)

    def branch(self) -> Branch:
        starts = self.take("^")
        node = self.sequence(0)
        return Branch(node, starts, self.take("$"))

    def take(self, text: str) -> bool:
        if self.text.startswith(text, self.at):
            self.at += len(text)
            return True
        return False

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def choice(self, depth: int) -> Node:
        parts = [self.sequence(depth)]
        while self.take("|"):
            parts.append(self.sequence(depth))
        return parts[0] if len(parts) == 1 else Choice(tuple(parts))

    def sequence(self, depth: int) -> Node:
        parts: list[Node] = []
        while (each := self.peek()) and each not in "|)":
            if each == "$" and not depth and self.text[self.at + 1 : self.at + 2] in ("", "|"):
                break
            parts.append(self.repeated(self.one(depth)))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def one(self, depth: int) -> Node:
        each = self.peek()
        if each in "^$":
            raise PatternError("may have ^ and $ only where the whole pattern begins and ends")
        if each in "*+?{}]":
            raise PatternError(f"must be a regular expression: {each} stands for nothing here")
        self.at += 1
        if each == "(":
            return self.group(depth + 1)
        if each == "[":
            return Chars(self.set())
        if each == ".":
            return Chars(_ANY)
        if each == "\\":
            return Chars(self.escape())
        return Chars(((ord(each), ord(each)),))

    def group(self, depth: int) -> Node:
        if depth > _MAX_DEPTH:
            raise PatternError("is nested too deeply")
        if self.take("?"):
            if self.take("<"):
                name, mark, _ = self.text[self.at :].partition(">")
                if not mark or not name.isidentifier() or not name.isascii():
                    raise PatternError("may not look behind or ahead")
                self.at += len(name) + 1
            elif not self.take(":"):
                raise PatternError("may not look behind or ahead, nor set flags")
        node = self.choice(depth)
        if not self.take(")"):
            raise PatternError("must be a regular expression: a parenthesis is not closed")
        return node

    def repeated(self, node: Node) -> Node:
        each = self.peek()
        if each == "{":
            least, most = self.count()
        elif each and each in "*+?":
            self.at += 1
            least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[each]
        else:
            return node
        self.take("?")  # lazy: matches the same texts
        if self.peek() and self.peek() in "*+?{":
            raise PatternError("must be a regular expression: two repetitions in a row")
        return Repeat(node, least, most)

    def count(self) -> tuple[int, int | None]:
        inner, mark, _ = self.text[self.at + 1 :].partition("}")
        least, comma, most = inner.partition(",")
        if not mark or not _is_number(least) or not (most == "" or _is_number(most)):
            raise PatternError("must be a regular expression: {…} counts repetitions")
        self.at += len(inner) + 2
        found = int(least), (int(most) if most else None) if comma else int(least)
        if found[1] is not None and (found[1] < found[0] or found[1] == 0):
            raise PatternError("must be a regular expression: the counts of {…} are the wrong way")
        return found

    def escape(self) -> Ranges:
        each = self.peek()
        self.at += 1
        if each and each in _SETS:
            return _SETS[each]
        unit = self.escaped_unit(each)
        return ((unit, unit),)

    def escaped_unit(self, each: str) -> int:
        if each and each in _CONTROLS:
            return ord(_CONTROLS[each])
        if each in ("x", "u"):
            length = 2 if each == "x" else 4
            digits = self.text[self.at : self.at + length]
            self.at += length
            if len(digits) == length and all(d in "0123456789abcdefABCDEF" for d in digits):
                return int(digits, 16)
        elif each and each.isascii() and not each.isalnum() and each.isprintable():
            return ord(each)
        raise PatternError("has an escape that is not understood")

    def set(self) -> Ranges:
        inverted = self.take("^")
        ranges: list[tuple[int, int]] = []
        if self.peek() == "]":
            raise PatternError("has an empty set")
        while not self.take("]"):
            low = self.set_member()
            if len(low) == 1 and low[0][0] == low[0][1] and self._is_range():
                self.at += 1
                high = self.set_member()
                if len(high) != 1 or high[0][0] != high[0][1] or high[0][0] < low[0][0]:
                    raise PatternError("has a range in a set that is the wrong way")
                ranges.append((low[0][0], high[0][0]))
            else:
                ranges += low
        merged = _merged(ranges)
        return _inverted(merged) if inverted else merged

    def _is_range(self) -> bool:
        return self.peek() == "-" and self.text[self.at + 1 : self.at + 2] not in ("", "]")

    def set_member(self) -> Ranges:
        each = self.peek()
        if not each:
            raise PatternError("must be a regular expression: a set is not closed")
        self.at += 1
        return self.escape() if each == "\\" else ((ord(each), ord(each)),)


def _is_number(text: str) -> bool:
    return 0 < len(text) <= 4 and text.isascii() and text.isdigit()  # noqa: PLR2004 (9,999)
