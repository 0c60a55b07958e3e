"""RFC 6749 §5.1: reads what a token endpoint answered, in the many shapes that it comes in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from keystow.clock import iso
from keystow.oauth.token_life import end_in_jwt, expiry, seconds_of
from keystow.secret import Secret
from keystow.text import trimmed

if TYPE_CHECKING:
    from keystow.egress.client import Answer

Grant = Literal["exchange", "refresh", "client_credentials"]

# Which departures of an entry say where the parts of an answer stand; later ones win.
_DEPARTURES: Final[dict[Grant, tuple[str, ...]]] = {
    "exchange": ("token_exchange",),
    "refresh": ("token_exchange", "token_refresh"),
    "client_credentials": ("token_exchange",),
}
# Where the contract (9.7) looks for a token of the client itself, beside the usual place.
_CLIENT_PLACES: Final = ("data.token", "jwt")
# Other names under which answers tell the end of a token: of a life or a moment.
_OTHER_ENDS: Final = (
    *("expires_on", ".expires", "expires", "expiry", "expiry_date", "expiresIn", "expiresAt"),
    *("access_token_expires_in", "access_token_expires_at", "token_expires_in", "expire_in"),
    *("expires_time", "expiration", "expiresOn", "accessTokenExpiresAt", "exp"),
)


@dataclass(frozen=True)
class TokenSet:
    """What a grant brought.

    Attributes:
        access_token: never empty.
        refresh_token: None when the answer has none (RFC 6749 §6: the caller keeps the old one).
        expires_at: epoch seconds; None when nothing is known about it, or it has no end.
        endless: the entry says that such tokens have no end.
        raw: the answer as received, with an ISO ``expires_at`` where only ``expires_in`` was given.
        granted_scopes: None when the answer does not say (§5.1: then all that was asked for).
        token_type: as received, ``bearer`` when absent.
    """

    access_token: Secret[str]
    refresh_token: Secret[str] | None
    expires_at: float | None
    raw: Secret[dict[str, Any]]
    granted_scopes: tuple[str, ...] | None
    token_type: str
    endless: bool = False


def decoded(answer: Answer) -> dict[str, Any] | None:
    """Return the answer's fields, of JSON or of a form; None when it is neither.

    A form is recognized by its fields, whatever the content type says; an HTML page is never one.
    """
    try:
        payload = answer.json()
    except ValueError:
        pass
    else:
        return payload if isinstance(payload, dict) else None
    try:
        form = answer.form()
    except ValueError:
        return None
    return dict(form) if {"access_token", "error"} & form.keys() else None


def token_set(
    definition: Mapping[str, Any],
    payload: dict[str, Any],
    now: float,
    grant: Grant = "exchange",
    default_life: float | None = None,
) -> TokenSet | None:
    """Return the tokens of an answer, None when it holds none.

    Every grant is read here, so that a field of an entry means the same in all of them. Where an
    entry's path leads nowhere, the names of the RFC are looked for: a refresh need not be answered
    in the shape of the exchange.

    Args:
        definition: the provider's entry.
        payload: the decoded answer.
        now: epoch seconds just before the request, so that a token is never thought to live longer
            than it does.
        grant: what was asked with.
        default_life: seconds to assume when nobody tells; None: then nothing is known.
    """
    paths = _paths(definition, grant)
    found, source = _token_and_place(definition, payload, paths, grant)
    if found is None:
        return None

    def told(name: str) -> Any:
        """Look beside the token first, then at the top of the answer."""
        for place in (source, payload):
            for path in (paths.get(name, name), name):
                value = at(place, path)
                if value is not None:
                    return value
        return None

    fixed = definition.get("token_expires_in_ms")
    endless = fixed == 0 and not isinstance(fixed, bool)
    expires_at = None
    if not endless:
        expires_at = _end(definition, told, found, now)
        if expires_at is None and default_life is not None:
            expires_at = now + default_life
    if expires_at is not None:
        expires_at = min(expires_at, _second_end(definition, payload, found, now) or expires_at)
    raw = dict(payload)
    if expires_at is not None and "expires_at" not in raw and "expires_in" in raw:
        raw["expires_at"] = iso(expires_at)
    kind = told("token_type")
    scope = told("scope")
    refresh = _token(told("refresh_token"))
    return TokenSet(
        access_token=Secret(found),
        refresh_token=Secret(refresh) if refresh else None,
        expires_at=expires_at,
        raw=Secret(raw),
        granted_scopes=scopes_of(
            told("scopes") if scope is None else scope,
            str(definition.get("scope_separator") or " "),
        ),
        token_type=kind if isinstance(kind, str) and kind else "bearer",
        endless=endless,
    )


def _token_and_place(
    definition: Mapping[str, Any], payload: dict[str, Any], paths: Mapping[str, str], grant: Grant
) -> tuple[str | None, Mapping[str, Any]]:
    """Return the token and the object beside whose fields it stands."""
    root = _within(payload, paths.get("root"))
    name = paths.get("access_token", "access_token")
    places = [(root, name), (root, "access_token"), (payload, "access_token")]
    alternate = definition.get("alternate_access_token_response_path")
    if isinstance(alternate, str):
        places += [(payload, alternate), (root, alternate)]
    if grant == "client_credentials":
        places += [(payload, path) for path in _CLIENT_PLACES]
    for place, path in places:
        value = at(place, path)
        if isinstance(value, Mapping):  # the path leads to the object that holds it
            inner = _token(at(value, name)) or _token(value.get("access_token"))
            if inner is not None:
                return inner, value
        elif (token := _token(value)) is not None:
            beside = at(place, path.rpartition(".")[0])
            return token, beside if isinstance(beside, Mapping) else place
    return None, payload


def _end(
    definition: Mapping[str, Any], told: Callable[[str], Any], token: str, now: float
) -> float | None:
    """Return when a token ends, by the first that says so."""
    fixed = definition.get("token_expires_in_ms")
    if isinstance(fixed, int) and fixed > 0:
        return now + fixed / 1000
    life = told("expires_in")
    if definition.get("expires_in_unit") == "milliseconds":
        thousandths = seconds_of(life)
        life = life if thousandths is None else thousandths / 1000
    ends = expiry(told("expires_at"), life, now)
    if ends is not None:
        return ends
    for name in _OTHER_ENDS:
        ends = expiry(None, told(name), now)
        if ends is not None:
            return ends
    default = definition.get("default_expires_in")
    known = now + default if isinstance(default, int) and default > 0 else None
    own = end_in_jwt(token, now)
    return min((end for end in (known, own) if end is not None), default=None)


def at(source: Any, path: str) -> Any:
    """Return the value at a dotted path; None where it leads nowhere. Digits index lists."""
    if isinstance(source, Mapping) and path in source:
        return source[path]
    value = source
    for step in path.split(".") if path else ():
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def scopes_of(text: Any, separator: str) -> tuple[str, ...] | None:
    """Return the granted scopes, of a list or of text with any of the usual separators."""
    if isinstance(text, list):
        return tuple(s for s in text if isinstance(s, str) and s)
    if not isinstance(text, str):
        return None
    parts = text.split()
    for other in dict.fromkeys((separator.strip(), ",")):
        if other and len(parts) <= 1:
            parts = [part.strip() for part in text.split(other)]
    return tuple(part for part in parts if part)


def _second_end(
    definition: Mapping[str, Any], payload: dict[str, Any], first: str, now: float
) -> float | None:
    """Return when a second token ends that came in the same answer and can be renewed, too."""
    path = definition.get("alternate_access_token_response_path")
    if not definition.get("dual_tokens") or not isinstance(path, str):
        return None
    second = at(payload, path)
    if not isinstance(second, Mapping) or not _token(second.get("refresh_token")):
        return None
    if _token(second.get("access_token")) == first:
        return None
    return expiry(second.get("expires_at"), second.get("expires_in"), now)


def _paths(definition: Mapping[str, Any], grant: Grant) -> dict[str, str]:
    """Return where the entry says that the parts of its token answers stand."""
    paths: dict[str, str] = {}
    for request in _DEPARTURES[grant]:
        departures = definition.get(request)
        response = departures.get("response") if isinstance(departures, Mapping) else None
        if isinstance(response, Mapping):
            paths.update({k: v for k, v in response.items() if isinstance(v, str)})
    return paths


def _within(payload: dict[str, Any], root: str | None) -> Mapping[str, Any]:
    inner = at(payload, root) if root else payload
    return inner if isinstance(inner, Mapping) else payload


def _token(value: Any) -> str | None:
    """Return a token without white space around it; one that came as a number as its digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return trimmed(value) or None if isinstance(value, str) else None
