"""Keeps what a provider says about a failure free of the secrets that it was sent.

Providers echo what they got, whole, in part or encoded; their words are shown to customers and
written to logs, so everything that resembles a secret goes out of them first.
"""

from __future__ import annotations

import re
from base64 import b64encode
from html import escape
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MASK: Final = "***"
_LONGEST: Final = 300
_LOOKED_AT: Final = 4000
_WINDOW: Final = 8  # so much of a secret in a row is a leak
_LONG_RUN: Final = re.compile(r"[A-Za-z0-9_\-.+=~]{40,}")
_SPACES: Final = re.compile(r"\s+")
_TAG: Final = re.compile(r"<[/!?]?[A-Za-z][^<>]*>")
_ANGLES: Final = str.maketrans("<>", "  ")


def cleaned(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a provider's text in at most 300 printable characters, without any secret.

    Args:
        text: anything that came from outside.
        secrets: what was sent and must not come back.
    """
    shown = _printable(text[:_LOOKED_AT])
    hidden = bytearray(len(shown))
    for secret in _spellings(secrets):
        _mark(shown, secret, hidden)
    masked = "".join(_with_masks(shown, hidden))
    masked = _LONG_RUN.sub(MASK, masked)  # tokens nobody told us about
    masked = _SPACES.sub(" ", _without_markup(masked)).strip()
    return masked if len(masked) <= _LONGEST else masked[: _LONGEST - 1] + "…"


def plain(text: str, longest: int) -> str:
    """Return a stranger's text as one printable line without markup, of bounded length.

    What cannot be seen goes (control characters, marks that turn the direction of writing), and
    so does what a page or a mail that shows it could take for its own.

    Args:
        text: anything that came from outside.
        longest: in characters.
    """
    shown = _SPACES.sub(" ", _without_markup(_printable(text[:_LOOKED_AT]))).strip()
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def basic_spellings(username: str, password: str) -> tuple[str, str]:
    """Return the two forms in which HTTP Basic carries these credentials."""
    plain = b64encode(f"{username}:{password}".encode()).decode()
    encoded = b64encode(f"{quote_plus(username)}:{quote_plus(password)}".encode()).decode()
    return plain, encoded


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _without_markup(text: str) -> str:
    return _TAG.sub(" ", text).translate(_ANGLES)


def _spellings(secrets: Iterable[str]) -> Iterator[str]:
    for secret in secrets:
        if secret:
            yield from {secret, quote(secret, safe=""), quote_plus(secret), escape(secret)}


def _mark(text: str, secret: str, hidden: bytearray) -> None:
    """Mark every place where the secret, or eight characters of it in a row, stands."""
    width = min(len(secret), _WINDOW)
    windows = {secret[i : i + width] for i in range(len(secret) - width + 1)}
    for start in range(len(text) - width + 1):
        if text[start : start + width] in windows:
            hidden[start : start + width] = b"\x01" * width


def _with_masks(text: str, hidden: bytearray) -> Iterator[str]:
    before = 0
    for character, mark in zip(text, hidden, strict=True):
        if mark and not before:
            yield MASK
        elif not mark:
            yield character
        before = mark
