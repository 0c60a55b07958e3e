"""The ways of authorizing, one module each; found by the auth mode of a provider's entry."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from keystow.value import Value

if TYPE_CHECKING:
    from keystow.catalog.loader import Provider
    from keystow.modes.base import Mode


class Room(Value):
    """Where a mode is, and what must be known of it before its module is loaded.

    Attributes:
        module: of this package; it has a ``MODE``.
        popup: whether an end user is sent to the provider.
        path: where a browser posts what was typed in, followed by the integration's key.
        asks: whether anything is typed in; False: the post has no body.
        stored: type of the stored credential, where that is not the mode's own name.
        hears: whether webhooks of the provider mean anything to it.
        own_callback: whether each connection chooses who its authorization server is.
        describes_itself: whether its client may be a metadata document of ours.
    """

    module: str
    popup: bool = False
    path: str = ""
    asks: bool = True
    stored: str = ""
    hears: bool = False
    own_callback: bool = False
    describes_itself: bool = False


# Modules are loaded when needed: a read of an API key pays for no OAuth client.
ROOMS: Final = {
    "OAUTH2": Room("oauth2", popup=True),
    "OAUTH2_CC": Room("client_credentials", path="oauth2/auth"),
    "OAUTH1": Room("oauth1", popup=True),
    "API_KEY": Room("api_key", path="api-auth/api-key"),
    "BASIC": Room("basic", path="api-auth/basic"),
    "TBA": Room("tba", path="auth/tba"),
    "SIGNATURE": Room("signature", path="auth/signature"),
    "AWS_SIGV4": Room("aws_sigv4", path="auth/aws-sigv4"),
    "TWO_STEP": Room("two_step", path="auth/two-step"),
    "JWT": Room("jwt", path="auth/jwt"),
    "BILL": Room("bill", path="auth/bill"),
    "NONE": Room("none", path="auth/unauthenticated", asks=False),
    "MCP_OAUTH2": Room("mcp_oauth2", popup=True, stored="OAUTH2", describes_itself=True),
    "MCP_OAUTH2_GENERIC": Room(
        "mcp_generic", popup=True, stored="OAUTH2", own_callback=True, describes_itself=True
    ),
}
_SIGNED: Final = "private_key_jwt"


def mode_of(auth_mode: str) -> Mode | None:
    """Return the mode of this name, or None when this version has none."""
    room = ROOMS.get(auth_mode)
    if room is None:
        return None
    mode: Mode = import_module(f"keystow.modes.{room.module}").MODE
    return mode


def listening(auth_mode: str) -> Mode | None:
    """Return the mode of this name if webhooks of the provider mean anything to it, else None."""
    room = ROOMS.get(auth_mode)
    return mode_of(auth_mode) if room is not None and room.hears else None


def mode_for(provider: Provider | None, credential_type: str) -> Mode | None:
    """Return the mode that a stored credential lives by.

    It is that of the provider, if it stores such credentials. Of a provider that is gone, or was
    given another mode since, it is the one named like the credential.
    """
    if provider is not None and takes(provider.auth_mode, credential_type):
        return mode_of(provider.auth_mode)
    return mode_of(credential_type)


def takes(auth_mode: str, credential_type: str) -> bool:
    """Return whether a mode stores credentials of a type."""
    room = ROOMS.get(auth_mode)
    return room is not None and credential_type == (room.stored or auth_mode)


def leaves(provider: Provider) -> bool:
    """Return whether end users are sent to this provider, and come back to a callback."""
    room = ROOMS.get(provider.auth_mode)
    return room is not None and room.popup and provider.definition.get("installation") != "outbound"


def why_not_connectable(provider: Provider) -> str:
    """Return why no end user can connect an account of a provider; empty when one can."""
    definition, room = provider.definition, ROOMS.get(provider.auth_mode)
    if definition.get("installation") == "outbound":
        what = "Accounts that are installed from the provider's side"
    elif definition.get("require_client_certificate"):
        what = "Accounts whose client proves itself by a certificate"
    elif definition.get("token_request_auth_method") == _SIGNED:
        what = "Accounts whose client proves itself by a private key"
    elif room is None or not (room.popup or room.path):
        what = f"Accounts of mode {provider.auth_mode}"
    else:
        return ""
    imported = " Connections can be imported." if room is not None else ""
    return f"{what} cannot be connected in a connect session yet.{imported}"


def form_of(provider: Provider, base_url: str) -> dict[str, Any]:
    """Return what a browser needs of a provider to connect an account there.

    Its definition as far as a form is made of it, and under ``connect`` how that is sent.
    """
    return {**provider.for_form(base_url), "connect": way_of(provider)}


def way_of(provider: Provider) -> dict[str, Any] | None:
    """Return how a browser connects an account of a provider; None: in no way.

    ``{"way": "popup"}``, or ``{"way": "post", "path", "fields"}`` with the names of what is typed
    in, in their order.
    """
    if why_not_connectable(provider):
        return None
    room = ROOMS[provider.auth_mode]
    if room.popup:
        return {"way": "popup"}
    mode = mode_of(provider.auth_mode)
    assert mode is not None
    return {"way": "post", "path": room.path, "fields": list(mode.fields_of(provider))}
