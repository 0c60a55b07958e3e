"""The table: a check, what it came to, and why, in 80 columns."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

from verify_aws.findings import EMULATED, FAILED, NOT_SEEN, OK, OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from verify_aws.findings import Finding

WIDTH: Final = 80
_NAME, _OUTCOME = 16, 11
_INDENT: Final = _NAME + _OUTCOME
# Of one kind in one check; the rest is counted.
_SHOWN: Final = 12


def heading() -> str:
    """Return the table's head."""
    return f"{'check':<{_NAME}}{'outcome':<{_OUTCOME}}why\n{'-' * WIDTH}"


def lines(name: str, findings: Sequence[Finding]) -> Iterator[str]:
    """Return the lines of a check: the worst first, the same outcomes together."""
    shown = name
    for outcome in _worth_telling(findings):
        of_it = [one.text for one in findings if one.outcome == outcome and one.text]
        texts = list(dict.fromkeys(of_it)) or [""]
        more = len(texts) - _SHOWN
        if more > 0:
            texts = [*texts[:_SHOWN], f"and {more} more"]
        for first, text in enumerate(texts):
            begin = f"{shown:<{_NAME}}{outcome if not first else '':<{_OUTCOME}}"
            shown = ""
            yield from textwrap.wrap(
                _plain(text),
                WIDTH,
                initial_indent=begin,
                subsequent_indent=" " * _INDENT,
                drop_whitespace=True,
            ) or [begin.rstrip()]


def _worth_telling(findings: Sequence[Finding]) -> list[str]:
    """Return the outcomes that a check shows.

    What is right goes without saying beside what is wrong or was not seen, and where it has no
    words of its own beside anything else.
    """
    kinds = {one.outcome for one in findings}
    if kinds & {FAILED, NOT_SEEN}:
        kinds -= {OK, EMULATED}
    worded = {one.outcome for one in findings if one.text}
    if len(kinds) > 1:
        kinds &= worded
    return [one for one in OUTCOMES if one in kinds]


def _plain(text: str) -> str:
    """Return a text without what would move a terminal's cursor."""
    return "".join(each if each.isprintable() else " " for each in text)
