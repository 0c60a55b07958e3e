"""What a browser brings back from a provider (RFC 6749 §4.1.2), read strictly.

A name that comes twice is none that is absent: who adds a second ``iss`` must not thereby take the
first one away (§3.1: response parameters must not be included more than once).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlencode

from keystow.modes import mode_of
from keystow.oauth.redaction import plain
from keystow.pages.callback import PROVIDER_ERROR_KEYS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from keystow.catalog.loader import Provider

# What is read of every answer; a mode and a provider's entry may name more.
READ: Final = frozenset({"state", "code", "iss", *PROVIDER_ERROR_KEYS})
MOST_FIELDS: Final = 1_000
# API Gateway takes 10,240 bytes of request line and headers; browsers add up to 3,000 of theirs.
LONGEST_QUERY: Final = 6_000
_LONGEST_TEXT: Final = 300


class TooLarge(ValueError):  # noqa: N818 - what it is
    """The answer has more fields than any provider sends, or does not fit a browser's address."""


@dataclass(frozen=True)
class Answer:
    """The parameters of a callback.

    Attributes:
        pairs: names and values in their order, as they came.
    """

    pairs: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str | None:
        """Return what came under a name once; None when nothing did, or more than once."""
        found = [value for each, value in self.pairs if each == name]
        return found[0] if len(found) == 1 else None

    def repeated(self, names: Collection[str] = READ) -> list[str]:
        """Return those of the names that came more than once."""
        seen: dict[str, int] = {}
        for name, _ in self.pairs:
            seen[name] = seen.get(name, 0) + 1
        return sorted(name for name in names if seen.get(name, 0) > 1)

    def single(self) -> dict[str, str]:
        """Return everything that came once."""
        return {name: value for name, _ in self.pairs if (value := self.get(name)) is not None}

    def provider_said(self) -> dict[str, str]:
        """Return what the provider itself said went wrong, in plain text."""
        return {
            name: plain(value, _LONGEST_TEXT)
            for name in PROVIDER_ERROR_KEYS
            if (value := self.get(name)) and plain(value, _LONGEST_TEXT)
        }

    def only(self, names: Collection[str]) -> str:
        """Return a query with nothing but what is read.

        Raises:
            TooLarge: it would not fit a browser's address.
        """
        kept = [
            (name, value[:_LONGEST_TEXT] if name in PROVIDER_ERROR_KEYS else value)
            for name, value in self.pairs
            if name in names
        ]
        query = urlencode(kept)
        if len(query) > LONGEST_QUERY:
            raise TooLarge("the answer is too long")
        return query


def read(*encoded: str) -> Answer:
    """Return the parameters of a callback's query, and of its form where it has one.

    Raises:
        TooLarge: there are more than ``MOST_FIELDS``.
    """
    return Answer(tuple(_pairs(encoded)))


def names_of(provider: Provider) -> frozenset[str]:
    """Return what is read of the answers of a provider."""
    mode = mode_of(provider.auth_mode)
    own = (provider.authorization_code_param_in_callback, *provider.redirect_uri_metadata)
    return READ | frozenset(own) | (mode.answer_names if mode else frozenset())


def _pairs(encoded: Iterable[str]) -> Iterable[tuple[str, str]]:
    for text in encoded:
        try:
            yield from parse_qsl(
                text, keep_blank_values=True, errors="replace", max_num_fields=MOST_FIELDS
            )
        except ValueError:
            raise TooLarge("the answer has too many fields") from None
