"""What people paste: text with white space around it that nobody sees and no provider takes."""

from __future__ import annotations

import re
from typing import Final

# str.strip() knows the white space of Unicode, the no-break space among it, but not what has no
# width: soft hyphen, zero-width space and joiners, marks of direction, byte order mark and others.
# They are stripped together: by turns, a long text that alternates would take for ever.
_NO_WIDTH: Final = "\u00ad\u180e\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
_SPACE: Final = "".join(each for each in map(chr, range(0x3001)) if each.isspace())
_OUTER: Final = _SPACE + _NO_WIDTH
_PEM: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,40})-----([A-Za-z0-9+/=\s]*)-----END \1-----")
_PEM_LINE: Final = 64
_NO_WIDTH_OUT: Final = dict.fromkeys(map(ord, _NO_WIDTH))


def trimmed(text: str) -> str:
    """Return a text without the white space around it, that without width included.

    What stands inside stays as it is.
    """
    return text.strip(_OUTER)


def without_width(text: str) -> str:
    """Return a text without the characters that have no width, wherever they stand."""
    return text.translate(_NO_WIDTH_OUT)


def pem(text: str) -> str:
    r"""Return a key or certificate in PEM (RFC 7468) as readers of PEM take it.

    Fields of a form have one line: line ends arrive as ``\n`` written out, as spaces, or not at
    all. A text that is no PEM is returned as it is.
    """
    blocks = _PEM.findall(text.replace("\\r", "").replace("\\n", "\n"))
    if not blocks:
        return text
    lines: list[str] = []
    for label, content in blocks:
        data = "".join(content.split())
        lines.append(f"-----BEGIN {label}-----")
        lines += [data[at : at + _PEM_LINE] for at in range(0, len(data), _PEM_LINE)]
        lines.append(f"-----END {label}-----")
    return "\n".join(lines) + "\n"
