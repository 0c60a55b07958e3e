"""The token of a connect session: 32 random bytes, stored hashed, half an hour."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from keystow import ids
from keystow.errors import ApiError
from keystow.records.session import ConnectSession
from keystow.secret import Secret
from keystow.store.tables import connect_session

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.ids import Randomness

PREFIX: Final = "nango_connect_session_"
FORMAT: Final = re.compile(PREFIX + "[a-f0-9]{64}")
LIFE_SECONDS: Final = 30 * 60


def new_token(random: Randomness) -> Secret[str]:
    """Return a new token."""
    return Secret(PREFIX + random.bytes(32).hex())


def find(ctx: Context, text: str) -> ConnectSession:
    """Return the live session of a token.

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
    if item is None or item["expires_at"] <= ctx.clock.now() * 1000:
        raise ApiError(
            "unknown_connect_session_token",
            "Authentication failed: the connect session is unknown or has expired",
        )
    return ConnectSession.from_item(item)
