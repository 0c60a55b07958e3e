"""What a backend asks of the proxy."""

from __future__ import annotations

from typing import Final

from keystow.value import Value, field

# TRACE would answer the credential to whoever may not read it; CONNECT is no request of an API.
METHODS: Final = frozenset(
    {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "PROPFIND", "REPORT"}
)
MOST_RETRIES: Final = 10
# RFC 9110 section 7.6.1: of one hop only. The others are made anew for the request that is sent.
HOP_BY_HOP: Final = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"}
    | {"te", "trailer", "transfer-encoding", "upgrade"}
)
MADE_ANEW: Final = HOP_BY_HOP | {"host", "content-length", "expect"}


class Sees(Value):
    """What the caller may read anyway: the credentials of connections, the secrets of the app."""

    credentials: bool
    app_secrets: bool


class Call(Value):
    """A request to be passed on; names of ``headers`` are lower-case."""

    method: str
    path: str
    query: str
    body: bytes
    provider_config_key: str
    connection_id: str
    headers: dict[str, str] = field(default_factory=dict)
    base_url_override: str = ""
    retries: int = 0
    retry_on: frozenset[int] = frozenset()
    decompress: bool = False
    forward_headers_on_redirect: bool | None = None

    def __repr__(self) -> str:
        return f"Call({self.method})"  # all else may hold a secret
