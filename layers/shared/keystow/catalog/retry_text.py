r"""Where the text of an error says when to try again: ``/Retry after (.+)/`` (contract 14.2).

An entry may be anybody's, and a regular expression can take for ever. So of them only this form is
taken: text, with ``\`` before what is no letter, spaces that may be repeated, and one ``(.+)``.
"""

import re
from typing import Final

_TEXT: Final = r"(?:[^\\/()\[\]{}|*+?.^$]|\\[^A-Za-z0-9]|(?<= )\+)"
_FORM: Final = re.compile(rf"/({_TEXT}{{0,200}}\(\.\+\){_TEXT}{{0,200}})/")
# Possessive: of repeated spaces none is given back, so that nothing is tried again and again.
_REPEATED: Final = re.compile(r"(?<= )\+")
_LONGEST: Final = 2_000


def check(value: str) -> str:
    """Return a pattern of the form. Raises ValueError for any other."""
    if not _FORM.fullmatch(value):
        raise ValueError("must have the form /text (.+) text/, without other regular expressions")
    return value


def found_in(text: str, value: str) -> str | None:
    """Return what stands in a text where ``(.+)`` does; None where it does not fit."""
    form = _FORM.fullmatch(value)
    found = re.search(_REPEATED.sub("++", form[1]), text[:_LONGEST]) if form else None
    return found[1] if found else None
