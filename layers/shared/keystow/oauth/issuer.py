"""RFC 9207: the authorization server names itself in its answer, so that it cannot be mixed up."""

from __future__ import annotations

from hmac import compare_digest


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


def check(iss_param: str | None, expected_issuer: str | None, *, required: bool = False) -> None:
    """Compare the callback's ``iss`` with the issuer that the attempt was sent to.

    Args:
        iss_param: the ``iss`` parameter of the callback, decoded; None when absent.
        expected_issuer: the issuer identifier of the provider; None when it is not known, then
            there is nothing to compare with.
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
        if required:  # announced, but nothing is known to hold it against: not safe to go on
            raise IssuerMismatch("different")
        return
    if not compare_digest(
        iss_param.encode("utf-8", "surrogatepass"), expected_issuer.encode("utf-8", "surrogatepass")
    ):
        raise IssuerMismatch("different")
