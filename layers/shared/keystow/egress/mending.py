"""Mends JSON that no parser takes, as servers write it that put it together by hand.

A field that nobody reads must not cost a token: an escape that JSON does not know, a number with
a leading zero, a word such as ``undefined``, a comma before a closing bracket. What is right stays
as it is, and what has no meaning becomes a constant that the reader leaves out.
"""

from __future__ import annotations

import re
from typing import Final

# A text (closed or not) is one piece, so that no sign within it is taken for structure, and none is
# looked at twice.
_PIECES: Final = re.compile(
    r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[\]{}:,]|[^\s"\[\]{}:,]++', re.DOTALL
)
_ESCAPES: Final = re.compile(r'\\(?:(["\\/bfnrt]|u[0-9a-fA-F]{4})|(.))', re.DOTALL)
_KNOWN: Final = re.compile(
    r"true|false|null|NaN|-?Infinity|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
)
_NUMBER: Final = re.compile(
    r"(?P<sign>[+-]?)(?=\.?[0-9])0*(?P<whole>[0-9]*)"
    r"(?:\.(?P<part>[0-9]*))?(?P<power>[eE][+-]?[0-9]+)?"
)
_LEFT_OUT: Final = "NaN"


def mended(text: str) -> str:
    """Return a text as JSON as far as it can be; what is none still is none."""
    kept: list[str] = []
    for found in _PIECES.finditer(text):
        piece = found.group()
        if piece in {"]", "}"} and kept and kept[-1] == ",":
            kept.pop()
        if piece.startswith('"'):
            piece = _ESCAPES.sub(_escape, piece)
        elif piece not in {"[", "]", "{", "}", ":", ","} and not _KNOWN.fullmatch(piece):
            piece = _number(piece)
        kept.append(piece)
    return "".join(kept)


def _escape(found: re.Match[str]) -> str:
    """Return an escape as it is, of one that JSON lacks what was written."""
    if found[1]:
        return found[0]
    return "'" if found[2] == "'" else f"\\\\{found[2]}"


def _number(piece: str) -> str:
    """Return a number as JSON writes it, of anything else what is left out."""
    found = _NUMBER.fullmatch(piece)
    if found is None:
        return _LEFT_OUT
    sign = "-" if found["sign"] == "-" else ""
    part = f".{found['part']}" if found["part"] else ""
    return f"{sign}{found['whole'] or '0'}{part}{found['power'] or ''}"
