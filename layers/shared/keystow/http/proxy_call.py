"""Headers of a request to the proxy: those for us, and those that are passed on (contract 7)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from keystow.errors import ApiError, Issue
from keystow.http.compression import takes_gzip
from keystow.http.parameters import MAX_LENGTH, PROVIDER_CONFIG_KEY
from keystow.ids import CONNECTION_ID
from keystow.proxy.call import MADE_ANEW, METHODS, MOST_RETRIES, Call

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystow.http.messages import Request

PREFIX: Final = "/proxy"
PASSED_ON: Final = "nango-proxy-"
_NAME: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,256}")
_STATUSES: Final = re.compile(r"[0-9]+(,[0-9]+)*")


def call_of(request: Request) -> Call:
    """Return what a request asks for.

    Raises:
        ApiError: 400 ``invalid_headers`` with every fault; 404 ``not_found`` for other methods.
    """
    if request.method not in METHODS:
        raise ApiError("not_found", f"The proxy passes on {', '.join(sorted(METHODS))}")
    given = _Headers(request.headers)
    decompress = given.flag("decompress") or False
    call = Call(
        method=request.method,
        path=request.path.removeprefix(PREFIX).removeprefix("/"),
        query=request.raw_query,
        body=request.body,
        provider_config_key=given.name("provider-config-key", PROVIDER_CONFIG_KEY),
        connection_id=given.name("connection-id", CONNECTION_ID),
        headers=_passed_on(request, decompress=decompress),
        base_url_override=given.url("base-url-override"),
        retries=given.number("retries"),
        retry_on=given.statuses("retry-on"),
        decompress=decompress,
        forward_headers_on_redirect=given.flag("forward-headers-on-redirect"),
    )
    if given.issues:
        raise ApiError("invalid_headers", issues=given.issues)
    return call


def _passed_on(request: Request, *, decompress: bool) -> dict[str, str]:
    """Return the headers for the provider: those of the prefix, and what belongs to the body.

    A body that comes packed takes less of what Lambda can hand on, so gzip is asked for wherever
    somebody unpacks it.
    """
    found = {
        name.removeprefix(PASSED_ON): value
        for name, value in request.headers.items()
        if name.startswith(PASSED_ON)
    }
    found = {k: v for k, v in found.items() if _NAME.fullmatch(k) and k not in MADE_ANEW}
    own = request.headers.get("content-type")
    if own and request.body:
        # A boundary is known to whoever made the body; clients repeat the bare type.
        asked = found.get("content-type", "").strip().lower()
        if not asked or (asked == "multipart/form-data" and "boundary=" in own):
            found["content-type"] = own
    if "accept-encoding" not in found and "range" not in found:
        unpacks = decompress or takes_gzip(request)
        found["accept-encoding"] = "gzip" if unpacks else "identity"
    return found


class _Headers:
    """Reads headers and gathers what is wrong with them."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self.issues: list[Issue] = []
        self._headers = headers

    def name(self, header: str, pattern: re.Pattern[str]) -> str:
        value = self._headers.get(header)
        if value is None:
            self._fault(header, "invalid_type", "is missing")
        elif not value:
            self._fault(header, "too_small", "must not be empty")
        elif len(value) > MAX_LENGTH:
            self._fault(header, "too_big", f"at most {MAX_LENGTH} characters")
        elif not pattern.fullmatch(value):
            self._fault(header, "invalid_format", "has characters that are not allowed")
        return value or ""

    def url(self, header: str) -> str:
        value = self._headers.get(header, "").strip()
        if value and not _is_base_url(value):
            self._fault(header, "invalid_format", "expected an absolute URL without a query")
        return value

    def number(self, header: str) -> int:
        value = self._headers.get(header, "").strip()
        if not value:
            return 0
        if not re.fullmatch(r"-?[0-9]{1,9}", value):
            self._fault(header, "invalid_type", "expected a whole number")
            return 0
        found = int(value)
        if found < 0:
            self._fault(header, "too_small", "at least 0")
        elif found > MOST_RETRIES:
            self._fault(header, "too_big", f"at most {MOST_RETRIES}")
        return found

    def statuses(self, header: str) -> frozenset[int]:
        value = self._headers.get(header, "").replace(" ", "")
        if not value:
            return frozenset()
        if not _STATUSES.fullmatch(value):
            self._fault(header, "invalid_format", "expected statuses separated by commas")
            return frozenset()
        return frozenset(int(each) for each in value.split(",") if len(each) == 3)  # noqa: PLR2004

    def flag(self, header: str) -> bool | None:
        value = self._headers.get(header, "").strip().lower()
        if value not in {"", "true", "false"}:
            self._fault(header, "invalid_value", "expected true or false")
        return value == "true" if value else None

    def _fault(self, header: str, code: str, message: str) -> None:
        self.issues.append(Issue(code, message, (header,)))


def _is_base_url(text: str) -> bool:
    if any(each.isspace() for each in text):  # urlsplit would take some of it out
        return False
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.netloc) and not set(text) & set("?#")
