"""What every mode can be asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from keystow.clock import parse_iso
from keystow.records.connection import Sealed

if TYPE_CHECKING:
    from keystow.catalog.loader import Provider
    from keystow.context import Context
    from keystow.records.integration import Integration


@dataclass(frozen=True)
class Renewed:
    """A renewed credential.

    Attributes:
        sealed: what to store.
        expires_at: milliseconds since the epoch; None: never, or nobody knows.
        again_at: milliseconds since the epoch when to renew it at the latest, though it lives on.
        remark: a sentence for the activity log about what is not as it should be.
    """

    sealed: Sealed
    expires_at: int | None
    remark: str = ""
    again_at: int | None = None


class Mode(Protocol):
    """One way of authorizing."""

    credential_type: str

    def refreshable(self, credentials: dict[str, Any]) -> bool:
        """Return whether this credential can be renewed without its owner."""
        ...

    def renew(
        self, ctx: Context, provider: Provider, integration: Integration, sealed: Sealed
    ) -> Renewed:
        """Ask the provider for a fresh credential.

        Raises:
            keystow.oauth.errors.TokenError: it gave none; the error tells what that means.
        """
        ...


def expiry_of(credentials: dict[str, Any]) -> int | None:
    """Return when a credential expires, in milliseconds since the epoch, or None."""
    found = credentials.get("expires_at")
    if not isinstance(found, str):
        return None
    seconds = parse_iso(found)
    return None if seconds is None else int(seconds * 1000)


class Unchanging:
    """A mode whose credentials do not expire: nothing to renew."""

    def __init__(self, credential_type: str) -> None:
        self.credential_type = credential_type

    def refreshable(self, credentials: dict[str, Any]) -> bool:
        """Return False."""
        del credentials
        return False

    def renew(
        self, ctx: Context, provider: Provider, integration: Integration, sealed: Sealed
    ) -> Renewed:
        """Return the credential as it is."""
        del ctx, provider, integration
        return Renewed(Sealed(sealed.credentials, sealed.connection_config), None)
