"""One line for each measurement: what it is, what came out, and whether it is within budget."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """A measurement.

    Attributes:
        what: what was measured.
        measured: what came out, with its unit.
        budget: what it is held against; empty for what is only shown.
        passed: whether it is within budget (with the tolerance that the benchmark's module gives
            reasons for); None when there is no budget.
    """

    what: str
    measured: str
    budget: str = ""
    passed: bool | None = None

    def __str__(self) -> str:
        verdict = {True: "PASS", False: "FAIL", None: ""}[self.passed]
        return f"  {self.what:<58} {self.measured:>16}   {self.budget:<22} {verdict}".rstrip()
