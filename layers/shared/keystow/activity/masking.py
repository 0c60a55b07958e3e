"""Takes secrets out of what is about to be logged, by the names and the shapes that give them away.

A second line of defence: callers hand over texts without secrets in the first place, and known
secrets as :class:`keystow.secret.Secret`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from keystow.secret import MASK, Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_TEXT: Final = 500
MOST_DETAILS: Final = 30
_MOST_ENTRIES: Final = 20

# Parts of names that mean a secret, and whole names that do.
_NAME_PARTS: Final = (
    "secret|passw|pwd|token|credential|authorization|cookie|api_?key|private_?key|signing_?key"
    "|access_?key|signature|assertion|verifier|bearer|session"
)
_SECRET_NAMES: Final = frozenset({"code", "state", "key", "nonce", "auth", "jwt", "pin", "otp"})
# Names that contain such a part and yet describe the secret instead of being it.
_HARMLESS: Final = re.compile(
    r".*_(url|uri|endpoint|type|method|status|count|seconds|at|in|present|received)"
)
_SECRET_PART: Final = re.compile(_NAME_PARTS)
# What a `code` is, its value tells: `invalid_grant`, `http_403` and `AADSTS700016` are words and
# numbers, put together by signs; an authorization code is not.
_REASON: Final = re.compile(
    r"(?:[a-z]{1,30}|[A-Z]{1,30}|[A-Za-z]{0,8}[0-9]{1,7})"
    r"(?:[_.:-]+(?:[a-z]{1,30}|[A-Z]{1,30}|[A-Za-z]{0,8}[0-9]{1,7})){0,7}"
)
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

_URL: Final = re.compile(r"\b([a-z][a-z0-9+.-]{1,9}://)([^\s\"'<>\\]*)", re.IGNORECASE)
_SCHEME: Final = re.compile(r"\b(Bearer|Basic|DPoP)\s+[A-Za-z0-9._~+/=:-]{6,}", re.IGNORECASE)
_JWT: Final = re.compile(r"\beyJ[A-Za-z0-9_-]{5,}+(?:\.[A-Za-z0-9_-]*+){0,4}")
# Names begin at a boundary and give nothing back, so that no text takes more than linear time.
_PAIR: Final = re.compile(
    r"(?<![A-Za-z0-9_.-])(?P<name>[A-Za-z0-9_.-]++)"
    r"(?P<sign>[\"']?\s*+[=:]\s*+)(?P<value>\"[^\"]*+\"?|'[^']*+'?|[^\s,;&}\])]++)"
)


def is_secret_name(name: str) -> bool:
    """Return whether a value of this name must be taken for a secret."""
    plain = _CAMEL.sub("_", name).lower().replace("-", "_").replace(".", "_")
    if plain in _SECRET_NAMES:
        return True
    return _SECRET_PART.search(plain) is not None and not _HARMLESS.fullmatch(plain)


def _is_reason(name: str, value: Any) -> bool:
    """Return whether a value of the name ``code`` says why something failed."""
    return name == "code" and isinstance(value, str) and _REASON.fullmatch(value) is not None


def clean_url(url: str) -> str:
    """Return a URL without user, query and fragment, which may hold secrets."""
    scheme, separator, rest = url.partition("://")
    bare = re.split(r"[?#]", rest, maxsplit=1)[0]
    authority, slash, path = bare.partition("/")
    return scheme + separator + authority.rpartition("@")[2] + slash + path


def host_of(url: str) -> str:
    """Return the host of a URL, with its port when one is named; nothing else of it."""
    rest = url.partition("://")[2]
    return re.split(r"[/?#\\]", rest, maxsplit=1)[0].rpartition("@")[2]


def clean_text(text: str) -> str:
    """Return a text of at most 500 characters in which URLs, tokens and pairs are masked."""
    # A secret cut in half by the bound would no longer be recognized, hence bound late.
    text = text[: LONGEST_TEXT * 8].encode(errors="replace").decode()
    text = _URL.sub(lambda found: clean_url(found.group(0)), text)
    text = _SCHEME.sub(rf"\1 {MASK}", text)
    text = _JWT.sub(MASK, text)
    text = _PAIR.sub(_masked_pair, text)
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


def _masked_pair(found: re.Match[str]) -> str:
    name, sign = found.group("name"), found.group("sign")
    # "error code: invalid_grant" is a sentence; "code=4/0Ab" is not.
    sentence = name.lower() in _SECRET_NAMES and "=" not in sign
    if sentence or not is_secret_name(name):
        return found.group(0)
    return f"{name}{sign}{MASK}"


def clean_details(details: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return those details that are scalars or lists of them, masked and bounded."""
    cleaned: dict[str, Any] = {}
    for name, value in list((details or {}).items())[:MOST_DETAILS]:
        secret = is_secret_name(name) and value is not None and not _is_reason(name, value)
        kept = MASK if secret else _clean_value(value)
        if kept is not None:
            cleaned[clean_text(name)[:80]] = kept
    return cleaned


def _clean_value(value: Any) -> Any:
    match value:
        case Secret():
            return MASK
        case bool():
            return value
        case int():
            return value if abs(value) < 10**30 else str(value)[:LONGEST_TEXT]
        case float():
            return f"{value:g}"
        case str():
            return clean_text(value)
        case list() | tuple():
            entries = [_clean_value(each) for each in value[:_MOST_ENTRIES]]
            return [each for each in entries if not isinstance(each, list) and each is not None]
        case _:
            return None  # objects and bytes are not whitelisted
