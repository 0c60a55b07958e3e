"""The ways of authorizing, one module each; found by the type of the stored credential."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
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


def mode_of(credential_type: str) -> Mode | None:
    """Return the mode of a stored credential's type, or None when this version has none."""
    name = _MODULES.get(credential_type)
    if name is None:
        return None
    mode: Mode = import_module(f"keystow.modes.{name}").MODE
    return mode
