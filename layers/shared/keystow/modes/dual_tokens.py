"""A second token beside the first, with a refresh token of its own.

Some providers issue two grants in one answer: one for the app and, at the path that the entry
names, one for the user who installed it. Both rotate. What clients read of the second stands in
``raw``, so that is where it is renewed:

    first ──refresh──▶ tokens ──┐
                                ├──▶ one commit
    second ─refresh──▶ tokens ──┘   (no answer: kept as it was, and tried again before it ends)

The first token is what the connection lives by. Nothing that happens to the second may cost it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from keystow import metrics
from keystow.clock import iso
from keystow.log import logger
from keystow.oauth.errors import TokenError
from keystow.oauth.token_answer import at
from keystow.secret import Secret

if TYPE_CHECKING:
    from keystow.catalog.loader import Provider
    from keystow.oauth.token_answer import TokenSet

# With less time than this the second is left for the next time.
LEAST_SECONDS: Final = 4.0
AGAIN_SECONDS: Final = 1_800.0

Refresh = Callable[[Secret[str], Secret[str]], "TokenSet"]


class Second(NamedTuple):
    """What became of the second token.

    Attributes:
        raw: the answer to the first refresh, with the second token in its place.
        expires_at: epoch seconds when the second token ends; None: not known, or not renewed.
        again_in: seconds after which to try again; None: when the first is due.
        remark: a sentence for the activity log; empty when all is well.
    """

    raw: dict[str, Any]
    expires_at: float | None = None
    again_in: float | None = None
    remark: str = ""


def second_of(provider: Provider, credentials: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the second token of stored credentials, None when there is none that can be renewed.

    Of a grant for the user alone the first token stands at that path, too: it is no second one.
    """
    path = _path(provider)
    found = at(credentials.get("raw"), path) if path else None
    if not isinstance(found, dict):
        return None
    tokens = [found.get("access_token"), found.get("refresh_token")]
    if not all(isinstance(token, str) and token for token in tokens):
        return None
    return None if tokens[1] == credentials.get("refresh_token") else found


def renewed(
    provider: Provider,
    credentials: Mapping[str, Any],
    first: TokenSet,
    refresh: Refresh,
    left: float,
) -> Second:
    """Renew the second token after the first, and return the answer that holds both.

    Args:
        provider: its entry.
        credentials: as they were stored, from before.
        first: what the refresh of the first token brought.
        refresh: asks the provider, with a refresh token and the access token that goes with it.
        left: seconds that are left for it.
    """
    path = _path(provider)
    raw = first.raw.reveal()
    before = at(credentials.get("raw"), path) if path else None
    if not path or not isinstance(before, dict):
        return Second(raw)
    if isinstance(at(raw, path), dict) and at(raw, path).get("access_token"):
        return Second(raw)  # one request has renewed both
    second = second_of(provider, credentials)
    if second is None:
        if before.get("access_token") == credentials.get("access_token"):
            before = _with_tokens(before, first)  # the only token, which stands there as well
        return Second(_put(raw, path, before))
    if left < LEAST_SECONDS:
        return Second(_put(raw, path, second), again_in=AGAIN_SECONDS)
    try:
        tokens = refresh(Secret(second["refresh_token"]), Secret(second["access_token"]))
    except TokenError as error:
        if error.kind == "terminal":
            dead = {name: value for name, value in second.items() if name != "refresh_token"}
            return Second(
                _put(raw, path, dead),
                remark=f"The provider does not renew the second token any more ({error.code}). "
                "Whoever gave it must connect again for another one",
            )
        remark = f"The second token was not renewed ({error.code}); it is tried again"
        return Second(_put(raw, path, second), again_in=AGAIN_SECONDS, remark=remark)
    except Exception as error:  # noqa: BLE001 - the first has rotated and must be stored
        metrics.count(metrics.FAULTS)
        logger.error("second token fault", extra={"cause": type(error).__name__})
        return Second(_put(raw, path, second), again_in=AGAIN_SECONDS)
    return Second(_put(raw, path, _with_tokens(second, tokens)), expires_at=tokens.expires_at)


def _path(provider: Provider) -> str | None:
    return provider.alternate_access_token_response_path if provider.dual_tokens else None


def _with_tokens(second: Mapping[str, Any], tokens: TokenSet) -> dict[str, Any]:
    found = {**second, "access_token": tokens.access_token.reveal()}
    if tokens.refresh_token is not None:
        found["refresh_token"] = tokens.refresh_token.reveal()
    if tokens.expires_at is not None:
        found["expires_at"] = iso(tokens.expires_at)
    told = tokens.raw.reveal().get("expires_in")
    if "expires_in" in found and told is not None:
        found["expires_in"] = told
    return found


def _put(raw: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return a copy with a value at a dotted path."""
    name, _, rest = path.partition(".")
    inner = raw.get(name)
    if rest:
        value = _put(inner if isinstance(inner, Mapping) else {}, rest, value)
    return {**raw, name: value}
