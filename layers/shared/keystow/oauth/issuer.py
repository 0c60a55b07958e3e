"""RFC 9207: the authorization server names itself in its answer, so that it cannot be mixed up."""

from __future__ import annotations

from hmac import compare_digest
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from keystow.catalog.errors import InterpolationError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from keystow.catalog.loader import Provider

_PORTS: Final = {"https": 443, "http": 80}


class IssuerMismatch(Exception):  # noqa: N818 - an outcome, not a fault
    """The callback does not come from the expected authorization server (RFC 9700 §4.4).

    Attributes:
        reason: ``missing`` or ``different``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(
            "the answer does not name the authorization server that was asked"
            if reason == "missing"
            else "the answer comes from another authorization server than the one that was asked"
        )
        self.reason = reason


def check_answer(
    iss_param: str | None, provider: Provider, connection_config: Mapping[str, Any]
) -> None:
    """Compare the callback's ``iss`` with the authorization server of this connection.

    Args:
        iss_param: the parameter, decoded; None when absent.
        provider: its entry.
        connection_config: fills the templates of its URLs.

    Raises:
        IssuerMismatch: see :func:`check`.
    """
    required = bool(provider.definition.get("issuer_required"))
    if provider.issuer is not None:
        known = _filled(provider, provider.issuer, connection_config)
        check(iss_param, known, required=required)
        return
    urls = (provider.authorization_url, provider.token_url)
    filled = [_filled(provider, url, connection_config) for url in urls if url]
    check(iss_param, None, [url for url in filled if url], required=required)


def check(
    iss_param: str | None,
    expected_issuer: str | None,
    endpoints: Collection[str] = (),
    *,
    required: bool = False,
) -> None:
    """Compare the callback's ``iss`` with the issuer that the attempt was sent to.

    An issuer that is named must fit, also where none is known: an answer that says whom it comes
    from must not be handed to somebody else.

    Args:
        iss_param: the ``iss`` parameter of the callback, decoded; None when absent.
        expected_issuer: the issuer identifier of the provider; None when it is not known, then
            ``iss`` must have the host of an endpoint.
        endpoints: the URLs that the connection is authorized at.
        required: the server's metadata announces
            ``authorization_response_iss_parameter_supported``; an absent ``iss`` is an error.

    Raises:
        IssuerMismatch: RFC 9207 §2.4 (simple string comparison, RFC 3986 §6.2.1).
    """
    if iss_param is None:
        if required:
            raise IssuerMismatch("missing")
        return
    if expected_issuer is None:
        origin = _origin(iss_param)
        if origin is None or origin not in {_origin(url.partition("?")[0]) for url in endpoints}:
            raise IssuerMismatch("different")
        return
    if not compare_digest(
        iss_param.encode("utf-8", "surrogatepass"), expected_issuer.encode("utf-8", "surrogatepass")
    ):
        raise IssuerMismatch("different")


def _filled(provider: Provider, template: str, connection_config: Mapping[str, Any]) -> str | None:
    if "${" not in template:
        return template
    try:
        return provider.url(template, connection_config)
    except InterpolationError:
        return None


def _origin(url: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port; None of what is no plain URL (RFC 9207 §2)."""
    if any(not each.isprintable() or each in ' \\@"<>' for each in url):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname or parts.scheme not in _PORTS or parts.query or parts.fragment:
        return None
    host = parts.hostname.rstrip(".").lower()
    return parts.scheme, host, _PORTS[parts.scheme] if port is None else port
