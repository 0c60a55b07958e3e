"""The ways of authorizing, one module each; found by the type of the stored credential."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from keystow.catalog.loader import Provider
    from keystow.modes.base import Mode

# Type of the stored credential → module. Loaded when needed: a read of an API key pays for no
# OAuth client.
_MODULES: Final = {
    "OAUTH2": "oauth2",
    "OAUTH2_CC": "client_credentials",
    "OAUTH1": "oauth1",
    "API_KEY": "api_key",
    "BASIC": "basic",
    "TBA": "tba",
    "NONE": "none",
}

# Modes for which there is a way in for an end user; the others are imported, or not there yet.
_CONNECTABLE: Final = frozenset({"OAUTH2", "OAUTH2_CC", "API_KEY", "BASIC", "NONE"})
_SIGNED: Final = "private_key_jwt"


def why_not_connectable(provider: Provider) -> str:
    """Return why no end user can connect an account of a provider; empty when one can."""
    definition = provider.definition
    if definition.get("installation") == "outbound":
        what = "Accounts that are installed from the provider's side"
    elif definition.get("require_client_certificate"):
        what = "Accounts whose client proves itself by a certificate"
    elif definition.get("token_request_auth_method") == _SIGNED:
        what = "Accounts whose client proves itself by a private key"
    elif provider.auth_mode not in _CONNECTABLE:
        what = f"Accounts of mode {provider.auth_mode}"
    else:
        return ""
    imported = " Connections can be imported." if provider.auth_mode in _MODULES else ""
    return f"{what} cannot be connected in a connect session yet.{imported}"


def mode_of(credential_type: str) -> Mode | None:
    """Return the mode of a stored credential's type, or None when this version has none."""
    name = _MODULES.get(credential_type)
    if name is None:
        return None
    mode: Mode = import_module(f"keystow.modes.{name}").MODE
    return mode
