"""RFC 7636: proof key for code exchange, S256 only."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from keystow.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

METHOD: Final = "S256"
_VERIFIER_BYTES: Final = 32


def new_verifier(random_bytes: Callable[[int], bytes]) -> Secret[str]:
    """Return a fresh verifier: 32 random bytes as 43 base64url characters (RFC 7636 §4.1).

    Args:
        random_bytes: gives that many cryptographically random bytes.
    """
    return Secret(_base64url(random_bytes(_VERIFIER_BYTES)))


def challenge(verifier: Secret[str]) -> str:
    """Return ``BASE64URL(SHA256(ASCII(verifier)))`` (RFC 7636 §4.2); it may be shown."""
    return _base64url(sha256(verifier.reveal().encode("ascii")).digest())


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
