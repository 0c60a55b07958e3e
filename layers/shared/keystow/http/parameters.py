"""Path and query parameters, checked without pydantic: the hot path does not load it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from keystow.errors import ApiError, Issue
from keystow.ids import CONNECTION_ID

if TYPE_CHECKING:
    from collections.abc import Collection

    from keystow.http.messages import Request

PROVIDER_CONFIG_KEY: Final = re.compile(r"[a-zA-Z0-9~:.@ _-]+")
ANYTHING: Final = re.compile(r".+", re.DOTALL)
MAX_LENGTH: Final = 255
_TRUE: Final = frozenset({"true", "1", "yes", "on", "y", "enabled"})
_FALSE: Final = frozenset({"false", "0", "no", "off", "n", "disabled"})


def connection_id(request: Request, name: str = "connectionId") -> str:
    """Return the connection id of the path. Raises 400 ``invalid_uri_params``."""
    value = request.path_params.get(name, "")
    return _checked(value, CONNECTION_ID, "invalid_uri_params", name)


def connection_id_before(request: Request, last: str) -> str:
    """Return the connection id of a path that ends in another word.

    Raises:
        ApiError: 400 ``invalid_uri_params``; 404 ``not_found`` when it ends otherwise.
    """
    value, _, found = request.path_params.get("connectionId", "").rpartition("/")
    if found != last:
        raise ApiError("not_found", "There is no such route")
    return _checked(value, CONNECTION_ID, "invalid_uri_params", "connectionId")


def end_user_id(request: Request) -> str:
    """Return the end user's id of the path, any text. Raises 400 ``invalid_uri_params``."""
    value = request.path_params.get("endUserId", "")
    return _checked(value, ANYTHING, "invalid_uri_params", "endUserId")


def unique_key(request: Request, name: str) -> str:
    """Return an integration's unique key of the path. Raises 400 ``invalid_uri_params``."""
    value = request.path_params.get(name, "")
    return _checked(value, PROVIDER_CONFIG_KEY, "invalid_uri_params", name)


def provider_config_key(request: Request) -> str:
    """Return ``provider_config_key`` of the query. Raises 400 ``invalid_query_params``."""
    value = request.query.get("provider_config_key")
    return _checked(value, PROVIDER_CONFIG_KEY, "invalid_query_params", "provider_config_key")


def flag(request: Request, name: str) -> bool:
    """Return a yes-or-no parameter of the query, False when absent.

    Raises:
        ApiError: 400 ``invalid_query_params`` with ``invalid_value``.
    """
    value = request.query.get(name)
    if value is None:
        return False
    lowered = value.lower() if isinstance(value, str) else ""
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    issue = Issue("invalid_value", "expected true or false", (name,))
    raise ApiError("invalid_query_params", issues=[issue])


def text(request: Request, name: str, *, most: int = MAX_LENGTH) -> str | None:
    """Return a text parameter of the query of 1 to ``most`` characters, or None when absent."""
    value = request.query.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise _issue("invalid_query_params", "invalid_type", "expected one text", name)
    if not value:
        raise _issue("invalid_query_params", "too_small", "must not be empty", name)
    if len(value) > most:
        raise _issue("invalid_query_params", "too_big", f"at most {most} characters", name)
    return value


def choice(request: Request, name: str, choices: Collection[str]) -> str | None:
    """Return a parameter of the query that is one of some texts, or None when absent."""
    value = text(request, name)
    if value is not None and value not in choices:
        expected = f"expected one of {', '.join(sorted(choices))}"
        raise _issue("invalid_query_params", "invalid_value", expected, name)
    return value


def number(request: Request, name: str, *, least: int, most: int) -> int | None:
    """Return a whole number of the query within bounds, or None when absent."""
    value = request.query.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch(r"-?[0-9]{1,15}", value):
        raise _issue("invalid_query_params", "invalid_type", "expected a whole number", name)
    found = int(value)
    if found < least:
        raise _issue("invalid_query_params", "too_small", f"at least {least}", name)
    if found > most:
        raise _issue("invalid_query_params", "too_big", f"at most {most}", name)
    return found


def texts(request: Request, name: str) -> dict[str, str]:
    """Return the bracketed text parameters under a name (``tags[k]=v``). Raises 400."""
    value = request.query.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _issue("invalid_query_params", "invalid_type", "expected name[key]=value", name)
    found: dict[str, str] = {}
    for key, entry in value.items():
        if not isinstance(entry, str):
            issue = Issue("invalid_type", "expected one text", (name, key[:80]))
            raise ApiError("invalid_query_params", issues=[issue])
        found[key] = entry
    return found


def _checked(value: Any, pattern: re.Pattern[str], code: str, name: str) -> str:
    if not isinstance(value, str):
        raise _issue(code, "invalid_type", "expected a text", name)
    if not value:
        raise _issue(code, "too_small", "must not be empty", name)
    if len(value) > MAX_LENGTH:
        raise _issue(code, "too_big", f"at most {MAX_LENGTH} characters", name)
    if not pattern.fullmatch(value):
        raise _issue(code, "invalid_format", "has characters that are not allowed", name)
    return value


def _issue(code: str, issue_code: str, message: str, name: str) -> ApiError:
    return ApiError(code, issues=[Issue(issue_code, message, (name,))])
