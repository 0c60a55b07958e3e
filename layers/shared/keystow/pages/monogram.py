"""A provider's picture where no logo is at hand: its initials on a colour of its own.

Logos are trademarks of their owners. The Connect UI draws the same picture without asking for it
(``functions/connect_ui/static/pictures.js``); a test holds both to one colour.
"""

import re
import zlib
from typing import Final

_PROVIDER_ID: Final = re.compile(r"[a-z0-9-]{1,64}")
CONTENT_TYPE: Final = "image/svg+xml"
# Dark enough for white letters: contrast of at least 4.5 to 1 (WCAG 2.2, 1.4.3).
_COLOURS: Final = ("#1f5fbf", "#0a6b4d", "#8a3ffc", "#b3261e", "#8a5a00", "#00677d", "#a1206b")


def monogram(provider: str) -> str:
    """Return an SVG picture of a provider.

    Args:
        provider: its key: lower-case letters, digits and dashes.

    Raises:
        ValueError: it is no provider's key.
    """
    if not _PROVIDER_ID.fullmatch(provider):
        raise ValueError("not a provider's key")
    words = [word for word in provider.split("-") if word] or ["?"]
    letters = "".join(word[0] for word in words[:2]).upper()
    colour = _COLOURS[zlib.crc32(provider.encode()) % len(_COLOURS)]
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64" role="img">'
        f"<title>{letters}</title>"
        f'<rect width="64" height="64" rx="14" fill="{colour}"/>'
        '<text x="32" y="33" fill="#fff" font-family="system-ui,sans-serif" font-size="26" '
        f'font-weight="600" text-anchor="middle" dominant-baseline="central">{letters}</text>'
        "</svg>"
    )
