"""RFC 6749 §4.1.1: what sessions and browsers may add to an authorization request."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from unicodedata import category, normalize

from keystow.catalog.interpolate import own_query_names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from keystow.catalog.loader import Provider

# What ties an answer to its request. `request` and `request_uri` (RFC 9101, RFC 9126) could
# replace all the others at once. `response_mode` is free between the two that reach our callback.
RESERVED: Final = frozenset(
    {
        "client_id",
        "redirect_uri",
        "state",
        "code_challenge",
        "code_challenge_method",
        "response_type",
        "request",
        "request_uri",
    }
)
# What is asked for in the end user's name, and whether the end user sees it. So does every name
# in which "scope" stands: optional_scope, include_granted_scopes and the like.
ASKED_FOR: Final = frozenset(
    {
        "prompt",
        "approval_prompt",
        "claims",
        "acr_values",
        "audience",
        "resource",
        "authorization_details",
        "permissions",
        # Names that single providers have for the same: a set of permissions, and whether the end
        # user is asked again.
        "config_id",
        "auth_type",
        "force_confirm",
        "force_login",
        "force_reapprove",
        "force_verify",
        "show_dialog",
    }
)
UNDEFINED: Final = "undefined"  # what browsers write for a removed parameter (contract 4.1)
_RESPONSE_MODES: Final = frozenset({"query", "form_post"})
_WORD: Final = re.compile(r"[\w.~-]+")


class ReservedParameter(ValueError):  # noqa: N818 - the caller's mistake, answered with 400
    """A caller's ``authorization_params`` touch what protects the flow.

    Attributes:
        name: the parameter.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"the parameter {name[:64]!r} can't be changed")
        self.name = name


def check_authorization_params(
    params: Mapping[str, str | None], provider: Provider | None = None
) -> None:
    """Refuse parameters that would undo the protection of the flow (RFC 9700 §2.1, §4).

    Args:
        params: what a caller wants to set, or with None or ``"undefined"`` to remove.
        provider: its entry, so that the names it uses for the reserved parameters are reserved as
            well and its own ``response_type`` may be repeated.

    Raises:
        ReservedParameter: for the first one found.
    """
    reserved = set(RESERVED)
    response_type = "code"
    if provider is not None:
        entry = provider.definition
        response_type = str((entry.get("authorization_params") or {}).get("response_type", "code"))
        reserved |= _renamed(entry, RESERVED.__contains__)
    for name, value in params.items():
        read = _readings(name)
        if "response_type" in read and value == response_type:
            continue
        mode_elsewhere = not _is_removed(value) and value not in _RESPONSE_MODES
        taken = read & (reserved | {"response_mode"} if mode_elsewhere else reserved)
        # Told is what it stands for, not how a stranger spelled it.
        if taken or "" in read:
            raise ReservedParameter(min(taken, default="a parameter without a name"))


def of_browser(
    params: Mapping[str, str], provider: Provider
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return those parameters of a browser that count, and the names of those that do not.

    What is asked for, and whether the end user sees it, is decided by the entry and by the backend
    that made the session; whatever the entry sets stays as it is set there.

    Args:
        params: as the browser sends them.
        provider: its entry.
    """
    entry = provider.definition
    fixed = _renamed(entry, _is_asked_for)
    for name in (*(entry.get("authorization_params") or {}), *own_query_names(entry)):
        fixed |= _readings(name)
    kept = {
        name: value
        for name, value in params.items()
        if not any(each in fixed or _is_asked_for(each) for each in _readings(name))
    }
    return kept, tuple(name for name in params if name not in kept)


def _is_removed(value: str | None) -> bool:
    return value is None or value == UNDEFINED


def _is_asked_for(name: str) -> bool:
    return "scope" in name or name in ASKED_FOR


def _renamed(entry: Mapping[str, Any], ours: Callable[[str], bool]) -> set[str]:
    """Return the names that the entry's replacements give to some of our parameters."""
    found: set[str] = set()
    for old, new in (entry.get("authorization_url_replacements") or {}).items():
        if any(map(ours, _names_in(old))):
            found |= _names_in(str(new))
    return found


def _names_in(text: str) -> set[str]:
    return {reading for word in _WORD.findall(text) for reading in _readings(word)}


def _readings(name: str) -> set[str]:
    """Return the names that a server may take a parameter's name for.

    Servers differ: some know no case, some drop what cannot be seen, end at a NUL, take ``a[b]``
    for a part of ``a``, or read ``a.b``, ``a b`` and ``a[b`` as ``a_b``.
    """
    text = normalize("NFKC", name.partition("\0")[0]).casefold()
    text = "".join(each for each in text if category(each)[0] != "C").strip()
    text = re.sub(r"[\s.]", "_", text)
    return {text.partition("[")[0], text.replace("[", "_")}
