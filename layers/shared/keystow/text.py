"""What people paste: text with white space around it that nobody sees and no provider takes."""

from __future__ import annotations

from typing import Final

# str.strip() knows the white space of Unicode, the no-break space among it, but not what has no
# width: soft hyphen, zero-width space and joiners, marks of direction, byte order mark and others.
_NO_WIDTH: Final = "\u00ad\u180e\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"


def trimmed(text: str) -> str:
    """Return a text without the white space around it, that without width included.

    What stands inside stays as it is.
    """
    while True:
        shorter = text.strip().strip(_NO_WIDTH)
        if shorter == text:
            return text
        text = shorter
