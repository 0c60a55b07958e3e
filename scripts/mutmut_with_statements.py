# ruff: noqa: INP001 - it is run by its path
"""Runs mutmut with two kinds of changes more: a statement taken out, a condition that always holds.

The tool itself changes expressions only; a call, a ``raise`` or a whole guard that nobody would
miss is what it cannot find. ``ONLY=statements`` makes these changes alone.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import libcst as cst
from mutmut.__main__ import cli
from mutmut.mutation.mutators import mutation_operators

if TYPE_CHECKING:
    from collections.abc import Iterable

# What may be a statement of its own and is missed when it is gone. An assignment is not among
# them: mutmut sets None in its place.
_TAKEN_OUT = (cst.Expr, cst.Raise, cst.Return, cst.AugAssign, cst.Continue, cst.Break)


def without(line: cst.SimpleStatementLine) -> Iterable[cst.SimpleStatementLine]:
    """Yield ``pass`` for a line that does something."""
    (first, *others) = line.body
    is_text = isinstance(first, cst.Expr) and isinstance(first.value, cst.BaseString)
    if not others and isinstance(first, _TAKEN_OUT) and not is_text:
        yield line.with_changes(body=[cst.Pass()])


def decided(branch: cst.If | cst.While) -> Iterable[cst.If | cst.While]:
    """Yield a branch that is never taken, and one that is taken always."""
    yield branch.with_changes(test=cst.Name("False"))
    if isinstance(branch, cst.If):
        yield branch.with_changes(test=cst.Name("True"))


if __name__ == "__main__":
    if os.environ.get("ONLY") == "statements":
        mutation_operators.clear()
    mutation_operators += [
        (cst.SimpleStatementLine, without),
        (cst.If, decided),
        (cst.While, decided),
    ]
    cli()
