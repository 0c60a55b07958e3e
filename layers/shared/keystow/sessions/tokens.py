"""The token of a connect session: 32 random bytes, stored hashed, half an hour.

What a backend fixes for a session may hold secrets. It is sealed under a key made of the token
itself, so that it opens for whoever presents the token, for nobody who reads the table, and
without KMS.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from keystow import ids
from keystow.errors import ApiError
from keystow.records.session import ConnectSession
from keystow.secret import Secret
from keystow.store.tables import connect_session

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.ids import Randomness
    from keystow.store import Item

PREFIX: Final = "nango_connect_session_"
FORMAT: Final = re.compile(PREFIX + "[a-f0-9]{64}")
LIFE_SECONDS: Final = 30 * 60
_NONCE_BYTES: Final = 12
_INFO: Final = b"keystow connect session: defaults"


def new_token(random: Randomness) -> Secret[str]:
    """Return a new token."""
    return Secret(PREFIX + random.bytes(32).hex())


def find(ctx: Context, text: str, *, grace: float = 0) -> ConnectSession:
    """Return the live session of a token.

    Args:
        ctx: the container's context.
        text: the token.
        grace: seconds after its end in which the session still counts.

    Raises:
        ApiError: 401 ``invalid_connect_session_token_format``, ``unknown_connect_session_token``
            (also of an expired one).
    """
    if not FORMAT.fullmatch(text):
        raise ApiError(
            "invalid_connect_session_token_format",
            "Authentication failed: the connect session token is malformed",
        )
    item = ctx.store.get(connect_session(ids.sha256_hex(text)))
    if item is None or item["expires_at"] <= (ctx.clock.now() - grace) * 1000:
        raise ApiError(
            "unknown_connect_session_token",
            "Authentication failed: the connect session is unknown or has expired",
        )
    sealed = item.get("defaults")
    return ConnectSession.from_item(item, _opened(text, bytes(sealed)) if sealed else None)


def item_of(session: ConnectSession, token: Secret[str], random: Randomness) -> Item:
    """Return the item of a new session, its defaults sealed under its token."""
    item = session.as_item()
    if session.defaults:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = random.bytes(_NONCE_BYTES)
        text = json.dumps(session.defaults).encode()
        item["defaults"] = nonce + AESGCM(_key(token.reveal())).encrypt(nonce, text, _INFO)
    return item


def _opened(token: str, sealed: bytes) -> dict[str, dict[str, Any]]:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce, ciphertext = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
    try:
        text = AESGCM(_key(token)).decrypt(nonce, ciphertext, _INFO)
    except InvalidTag:
        # Altered in the table: without what the backend fixed, it is not the session it made.
        raise ApiError(
            "unknown_connect_session_token", "Authentication failed: the connect session is broken"
        ) from None
    found: dict[str, dict[str, Any]] = json.loads(text)
    return found


def _key(token: str) -> bytes:
    """Return the key for a session's defaults (HKDF-SHA256, RFC 5869 sections 2.2 and 2.3)."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=SHA256(), length=32, salt=None, info=_INFO).derive(token.encode())
