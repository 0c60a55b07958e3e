"""What each known code means to the person in front of a page, in two sentences.

One table for the callback page, for pages that browsers get in place of JSON, and for the Connect
UI, which is served it as a script. ``{name}`` stands for the provider. What a machine or an
operator needs is in the details beside it, never here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from keystow.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping


class Sentence(Value):
    """A heading, and what to do."""

    title: str
    text: str


_SESSION: Final = Sentence(
    "This session has ended",
    "For your safety, sessions end after a while. Go back to the application and start again.",
)
_REFUSED: Final = Sentence(
    "These credentials were refused",
    "{name} did not accept what you entered. Check it and try again.",
)
_START_AGAIN: Final = Sentence(
    "This sign-in is over",
    "It took too long, or was used already. Go back to the application and start again.",
)
_SETUP: Final = Sentence(
    "This connection is not set up completely",
    "You can do nothing about it. Please tell the people who run the application you came from.",
)
_CHECK: Final = Sentence(
    "Something you entered does not fit",
    "Check what you typed and try again.",
)
_BUSY: Final = Sentence("Just a moment", "The service is busy. Wait a minute, then try again.")
_FAULT: Final = Sentence(
    "Something went wrong on our side",
    "Please try again. If it goes on, hand the details to the people who run the application.",
)
_NOWHERE: Final = Sentence(
    "There is nothing here", "Check the address, or go back to the application you came from."
)
_TOO_LARGE: Final = Sentence("This is too long", "Shorten what you entered and try again.")

DECLINED: Final = Sentence("You declined", "Nothing was shared.")
BEGIN_HERE: Final = Sentence(
    "Start in the application",
    "An installation that begins at the provider, as in its marketplace, connects nothing. "
    "Open the application that you want to connect, sign in, and start from there.",
)
UNKNOWN: Final = Sentence(
    "The connection was not made",
    "Something went wrong. Please try again.",
)

SENTENCES: Final[Mapping[str, Sentence]] = {
    # the session
    "missing_auth_header": _SESSION,
    "unknown_connect_session_token": _SESSION,
    "invalid_connect_session_token_format": _SESSION,
    "missing_public_key": _SESSION,
    "invalid_public_key": _SESSION,
    "deprecated_authentication": _SESSION,
    "missing_session_token": Sentence(
        "No answer from the application",
        "The page that opened this window did not say who you are. Close it and try again.",
    ),
    "connect_session_used": Sentence(
        "This link was used already",
        "It connects one account. Go back to the application and start again.",
    ),
    "connection_pending": Sentence(
        "This connection is being confirmed",
        "The application is about to confirm it. Wait a moment, then try again.",
    ),
    "integration_not_allowed": Sentence(
        "{name} is not open to you",
        "This session does not allow it. Ask the people who run the application.",
    ),
    "invalid_connection": Sentence(
        "This connection is gone",
        "It was deleted meanwhile. Go back to the application and connect anew.",
    ),
    "connection_not_found": Sentence(
        "This connection is gone",
        "It was deleted meanwhile. Go back to the application and connect anew.",
    ),
    # what was typed in
    "connection_test_failed": _REFUSED,
    "invalid_credentials": _REFUSED,
    "client_credentials_fetch_error": Sentence(
        "{name} gave no access",
        "It did not accept this client. Check what you entered and try again.",
    ),
    "missing_aws_sigv4_region": _CHECK,
    "missing_aws_sigv4_service": _SETUP,
    "missing_aws_sigv4_sts_endpoint": _SETUP,
    "missing_aws_sigv4_builtin_credentials": _SETUP,
    "invalid_aws_sigv4_config": _SETUP,
    "aws_sigv4_sts_request_failed": Sentence(
        "{name} does not answer",
        "Nothing was stored. Try again in a moment; if it goes on, hand on the details.",
    ),
    "two_step_credentials_fetch_error": _REFUSED,
    "invalid_two_step_credentials": _REFUSED,
    "invalid_two_step_credentials_second_request": _REFUSED,
    "bill_tokens_fetch_error": _REFUSED,
    "invalid_bill_credentials": _REFUSED,
    "failed_to_sign": Sentence(
        "This key cannot be used",
        "It is not of the kind that {name} wants, or was not pasted whole. Check it and try again.",
    ),
    "missing_client_id": _CHECK,
    "missing_client_secret": _CHECK,
    "invalid_body": _CHECK,
    "invalid_query_params": _CHECK,
    "invalid_uri_params": _NOWHERE,
    "url_param_err": _CHECK,
    "request_too_large": _TOO_LARGE,
    "connection_validation_failed": Sentence(
        "The application did not take this connection",
        "It may want another account, or more rights. Check which one you used and try again.",
    ),
    # on the way through the provider
    "callback_err": Sentence(
        "{name} did not give access",
        "It sent you back without approval. Try again; if it goes on, hand on the details.",
    ),
    "token_err": Sentence(
        "{name} did not give access",
        "The last step of signing in failed. Try again; if it goes on, hand on the details.",
    ),
    "state_err": _START_AGAIN,
    "invalid_oauth_state": _START_AGAIN,
    "state_cookie_err": Sentence(
        "This sign-in began in another browser",
        "Go on in the browser in which you started, and let it keep cookies; then try again.",
    ),
    "unknown_err": UNKNOWN,
    "unknown_error": UNKNOWN,
    "blocked_by_browser": Sentence(
        "The window was blocked",
        "Your browser kept the sign-in window from opening. Allow pop-ups for this page, then "
        "try again.",
    ),
    "window_closed": Sentence(
        "The window was closed",
        "The connection was not made. If the window is still open, you can go on there; "
        "otherwise try again.",
    ),
    "network_error": Sentence(
        "The line to the server was lost", "Check your internet connection and try again."
    ),
    # what only the people who run the application can mend
    "unknown_provider_config": _SETUP,
    "unknown_provider_template": _SETUP,
    "no_provider_config_key": _SETUP,
    "provider_config_err": _SETUP,
    "unknown_config_key": _SETUP,
    "auth_mode_err": _SETUP,
    "invalid_auth_mode": _SETUP,
    "grant_type_err": _SETUP,
    "account_or_environment_retrieval_err": _SETUP,
    "missing_connection_id": _SETUP,
    "missing_hmac": _SETUP,
    "invalid_hmac": _SETUP,
    "forbidden": _SETUP,
    "unsupported_auth_mode": Sentence(
        "{name} cannot be connected here yet", "This way of signing in is not supported yet."
    ),
    "resource_capped": Sentence(
        "No more accounts can be connected",
        "The application has reached its limit. Please tell the people who run it.",
    ),
    "conflict": Sentence(
        "This changed meanwhile", "Somebody did the same at the same moment. Please try again."
    ),
    "not_found": _NOWHERE,
    "invalid_json": UNKNOWN,
    "invalid_content_type": UNKNOWN,
    # what passes
    "too_many_request": _BUSY,
    "too_many_requests": _BUSY,
    "temporarily_unavailable": _BUSY,
    "refresh_in_progress": _BUSY,
    "generic_error_support": _FAULT,
}

DECLINING: Final = re.compile(
    r"\b(access_denied|user_denied|consent_denied|user_cancel(?:l?ed)?(?:_\w+)?)\b"
)
"""How providers say that somebody said no (RFC 6749 §4.1.2.1 has ``access_denied``)."""


def sentence_of(code: str, name: str = "") -> Sentence:
    """Return what a code means; an unknown one that the connection was not made."""
    found = SENTENCES.get(code, UNKNOWN)
    provider = name or "The provider"
    return Sentence(found.title.replace("{name}", provider), found.text.replace("{name}", provider))


def is_declined(code: str, said: str) -> bool:
    """Return whether an authorization ended because the person said no at the provider.

    Args:
        code: the error's type.
        said: what the provider, or our own message, says.
    """
    return code == "callback_err" and DECLINING.search(said) is not None
