"""What a token endpoint's refusal means, and what may be done about it.

TokenError.kind
├── terminal        the grant is dead; only its owner can give another one
├── configuration   the integration is set up wrongly (or asks for what we cannot do)
├── throttled       too many requests; ``retry_after`` says when
├── transient       the other side is ill, or was not reached; the grant is not in question
├── unknown_fate    the request may have been carried out, but its answer did not arrive
├── unusable        the answer arrived and holds no token: the exchange is over
└── refused         the guard did not let the request out

A 5xx is ``transient``, yet its server may have rotated the token before it failed, and so may one
whose success cannot be read: see :attr:`TokenError.may_have_rotated`.
RFC 6749 §5.2 gives the codes; the rest are spellings that large providers use for the same things.
"""

from __future__ import annotations

import math
import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from keystow.egress.errors import EgressError, EgressFailed
from keystow.oauth.redaction import cleaned

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from keystow.egress.client import Answer

Kind = Literal[
    "terminal", "configuration", "throttled", "transient", "unknown_fate", "unusable", "refused"
]

_TERMINAL: Final = frozenset(
    {
        "invalid_grant",
        "bad_refresh_token",
        "invalid_refresh_token",
        "expired_refresh_token",
        "refresh_token_expired",
        "refresh_token_invalid",
        "refresh_token_revoked",
        "refresh_token_not_found",
        "invalid_token",
        "expired_token",
        "token_expired",
        "token_revoked",
        "token_invalid",
        "token_inactive",
        "revoked_token",
        "account_inactive",
        "invalid_code",
        "code_already_used",
        "code_expired",
        "bad_auth_code",
        "bad_verification_code",
        "bad_code_verifier",
        "invalid_authorization_code",
        "consent_required",
        "interaction_required",
        "login_required",
        "mfa_required",
        "inactive_user",
        "user_disabled",
    }
)
_CONFIGURATION: Final = frozenset(
    {
        "invalid_client",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_grant_type",
        "unsupported_response_type",
        "invalid_scope",
        "invalid_request",
        "invalid_target",
        "access_denied",
        "unauthorized",
        "redirect_uri_mismatch",
        "bad_redirect_uri",
        "invalid_redirect_uri",
        "incorrect_client_credentials",
        "bad_client_id",
        "bad_client_secret",
        "invalid_client_id",
        "invalid_client_secret",
        "unknown_client",
        "application_suspended",
    }
)
_THROTTLED: Final = frozenset(
    {
        "slow_down",
        "ratelimited",
        "rate_limited",
        "rate_limit",
        "rate_limit_exceeded",
        "too_many_requests",
        "throttled",
        "quota_exceeded",
        "request_limit_exceeded",
    }
)
_TRANSIENT: Final = frozenset(
    {"temporarily_unavailable", "server_error", "internal_error", "internal_server_error"}
)
# Some say `invalid_request` or `unauthorized_client` and mean a dead refresh token or code.
_DEAD_GRANT: Final = re.compile(
    r"((refresh|access)[ _]?token|authori[sz]ation[ _](code|grant)|the token)\b.{0,60}"
    r"\b(invalid|expired|revoked|not found|not valid|unknown|inactive|already (been )?used)"
    r"|\b(invalid|expired|revoked|unknown|bad)\b.{0,20}"
    r"((refresh|access)[ _]?token|authori[sz]ation[ _](code|grant))",
    re.IGNORECASE,
)
# Only these (and codes nobody knows) are read that way; a clear code means what it says.
_VAGUE: Final = frozenset(
    {"invalid_request", "unauthorized_client", "access_denied", "unauthorized"}
)
_CODE_FIELDS: Final = ("error", "error_code", "errorCode", "code", "status", "reason", "type")
_NUMBERED_FIELDS: Final = ("error", "error_code", "errorCode", "code")
_TEXT_FIELDS: Final = (
    "error_description",
    "error_message",
    "errorMessage",
    "errorSummary",
    "message",
    "msg",
    "detail",
    "description",
    "error",
)
# Words and numbers put together by signs; what mixes letters and digits may be a token.
_CODE_SHAPE: Final = re.compile(
    r"(?=.{1,64}\Z)(?:[a-z]{1,30}|[a-z]{0,8}[0-9]{1,7})(?:[_.:-]+(?:[a-z]{1,30}|[a-z]{0,8}[0-9]{1,7}))*"
)
_LONGEST_SENTENCE: Final = 500
_MOST_PATIENCE: Final = 24 * 3600.0


class TokenError(Exception):
    """A token endpoint (or revocation endpoint) gave no token.

    Attributes:
        kind: see the module's tree.
        code: the provider's code or one of ours, lower case, safe to show.
        description: a sentence, safe to show (bounded, printable, no secret in it).
        status: HTTP status of the answer, None when there was none.
        retry_after: seconds that the provider asked to wait, None when it asked for nothing.
        sent: False only when it is certain that no byte of the request left.
    """

    def __init__(
        self,
        kind: Kind,
        code: str,
        description: str = "",
        *,
        status: int | None = None,
        retry_after: float | None = None,
        sent: bool = True,
    ) -> None:
        super().__init__(f"{code}: {description}" if description else code)
        self.kind: Kind = kind
        self.code = code
        self.description = description
        self.status = status
        self.retry_after = retry_after
        self.sent = sent

    @property
    def may_have_rotated(self) -> bool:
        """Whether the provider may have used up the refresh token that it was sent.

        True after a lost or unusable answer and after a 5xx: the next ``invalid_grant`` of the
        same token is then no proof that its owner withdrew it.
        """
        return self.sent and self.kind in ("unknown_fate", "unusable", "transient")


class ConfigurationError(TokenError):
    """The provider's entry, the integration or the connection does not allow the request at all."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__("configuration", code, description, sent=False)


def from_egress(error: EgressError) -> TokenError:
    """Translate a failure on the way out: what was sent without an answer has an unknown fate."""
    if isinstance(error, EgressFailed):
        kind: Kind = "unknown_fate" if error.sent else "transient"
        if error.sent and error.answered:
            kind = "unusable"
        return TokenError(kind, f"network_{error.kind}", str(error), sent=error.sent)
    return TokenError("refused", "destination_refused", str(error), sent=error.sent)


def from_answer(answer: Answer, payload: Any, *, secrets: Iterable[str], now: float) -> TokenError:
    """Read a refusal, or an answer without a token, as one of the kinds.

    Args:
        answer: the provider's answer.
        payload: its decoded body, None when it could not be decoded.
        secrets: what was sent, so that no echo of it is shown.
        now: epoch seconds, for a Retry-After that names a date.
    """
    secrets = tuple(secrets)
    code, text = _code_and_text(payload)
    description = cleaned(text or _plain_text(answer, decoded=payload is not None), secrets)
    kind = _kind(answer.status, code, text, decoded=payload is not None, headers=answer.headers)
    code = cleaned(code, secrets)
    if code == str(answer.status) or not _CODE_SHAPE.fullmatch(code):
        code = f"http_{answer.status}" if answer.status >= 300 else "unusable_answer"  # noqa: PLR2004
    if not description:
        description = _own_words(answer, decoded=payload is not None)
    elif description.lower().replace(" ", "_") == code:
        description = "the provider gave no other reason"
    return TokenError(
        kind,
        code,
        description,
        status=answer.status,
        retry_after=retry_after(answer.headers, now),
    )


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds that ``Retry-After`` asks for, between 0 and a day (RFC 9110 §10.2.3).

    Args:
        headers: lower-cased names.
        now: epoch seconds, for the date form.
    """
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
    if math.isnan(seconds):
        return None
    return min(max(seconds, 0.0), _MOST_PATIENCE)


def _kind(status: int, code: str, text: str, *, decoded: bool, headers: Mapping[str, str]) -> Kind:
    if status >= 500:  # noqa: PLR2004 - whatever it says: an outage is never the death of a grant
        throttling = status == 503 and "retry-after" in headers  # noqa: PLR2004
        return "throttled" if throttling or code in _THROTTLED else "transient"
    if status == 429 or code in _THROTTLED:  # noqa: PLR2004
        return "throttled"
    if code in _TRANSIENT or status in (408, 409, 425):
        return "transient"
    vague = decoded and (code in _VAGUE or code not in _CONFIGURATION)
    if code in _TERMINAL or (vague and _DEAD_GRANT.search(text)):
        return "terminal"
    if code in _CONFIGURATION or status >= 300:  # noqa: PLR2004
        return "configuration"
    # A success that carries neither token nor a known error: it may well have rotated.
    return "unusable"


def _code_and_text(payload: Any) -> tuple[str, str]:
    """Find the error's code (lower case, ``_`` for spaces) and its sentence in any usual shape."""
    places = [payload] if isinstance(payload, dict) else []
    if places:
        for nested in ("error", "errors", "data"):
            inner = places[0].get(nested)
            inner = inner[0] if isinstance(inner, list) and inner else inner
            if isinstance(inner, dict):
                places.insert(0, inner)
            elif isinstance(inner, str) and nested == "errors":
                places[0] = {"message": inner, **places[0]}
    texts = [t for p in places for f in _TEXT_FIELDS if isinstance(t := p.get(f), str) and t]
    codes = [
        c.strip().lower().replace(" ", "_")
        for p in places
        for f in _CODE_FIELDS
        if isinstance(c := p.get(f), str) and c
    ]
    codes += [
        str(c)
        for p in places
        for f in _NUMBERED_FIELDS
        if isinstance(c := p.get(f), int) and not isinstance(c, bool)
    ]
    known = _TERMINAL | _CONFIGURATION | _THROTTLED | _TRANSIENT
    code = next((c for c in codes if c in known), codes[0] if codes else "")
    return code, texts[0] if texts else ""


def _plain_text(answer: Answer, *, decoded: bool) -> str:
    """Return the body of a refusal that is a sentence, and no page or data."""
    if decoded or answer.status < 400 or len(answer.body) > _LONGEST_SENTENCE:  # noqa: PLR2004
        return ""
    text = answer.body.decode("utf_8", "replace").strip()
    return "" if text.startswith(("<", "{", "[")) else text.strip('"')


def _own_words(answer: Answer, *, decoded: bool) -> str:
    if 300 <= answer.status < 400:  # noqa: PLR2004
        return "the token endpoint redirected, which is not followed"
    if not decoded:
        return f"the provider answered {answer.status} with something that could not be read"
    return f"the provider answered {answer.status} without a token and without a reason"
