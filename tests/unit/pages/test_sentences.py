"""One sentence for people for every code that a browser can meet."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from keystow.errors import CODES
from keystow.pages.sentences import SENTENCES, UNKNOWN, is_declined, sentence_of

ROOT = Path(__file__).parents[3]
LAYER = ROOT / "layers/shared/keystow"
# Only backends with an API key, and providers, meet these.
OF_BACKENDS = {
    *("invalid_secret_key_format", "unknown_account", "unknown_connection"),
    *("missing_provider_config", "missing_access_token", "missing_expires_at"),
    *("invalid_expires_at", "missing_basic_username", "missing_api_key", "missing_oauth_token"),
    *("missing_oauth_token_secret", "missing_account_id", "cannot_delete_prod_environment"),
    *("invalid_is_prod_flag", "provider_in_use", "multiple_webhook_signing_keys"),
    *("webhook_endpoint_off", "rotation_failed", "unknown_environment"),
    # of the proxy
    *("invalid_headers", "server_error", "base_url_override_not_allowed", "missing_api_url"),
    *("unsupported_auth", "unknown_provider", "connection_refresh_backoff"),
    *("provider_unavailable", "response_too_large"),
}


def raised() -> set[str]:
    """The error types that an authorization can end with."""
    text = "".join(
        path.read_text(encoding="utf-8") for path in (LAYER / "authorization").glob("*.py")
    )
    return set(re.findall(r"AuthorizationFailed\(\s*\"(\w+)\"", text))


@pytest.mark.parametrize("code", sorted(set(CODES) - OF_BACKENDS))
def test_every_code_of_the_api_that_a_browser_can_meet_has_a_sentence(code: str) -> None:
    assert code in SENTENCES


def test_every_error_type_of_the_popup_has_a_sentence() -> None:
    assert len(raised()) > 6
    assert raised() <= set(SENTENCES)


@pytest.mark.parametrize("code", sorted(SENTENCES))
def test_a_sentence_names_no_code_and_ends_like_one(code: str) -> None:
    found = sentence_of(code, "GitHub")
    assert "_" not in found.title + found.text
    assert "{" not in found.title + found.text
    assert found.text.endswith(".")
    assert not found.title.endswith(".")


def test_a_code_that_nobody_knows_is_no_success() -> None:
    assert sentence_of("brand_new") == UNKNOWN


@pytest.mark.parametrize(
    "said",
    [
        "access_denied",
        "Access was declined. Provider error: error: access_denied; error_description: x",
        '{"error":"user_denied"}',
        "user_cancelled_login",
        "user_cancelled_authorize",
        "user_canceled",
    ],
)
def test_declining_is_told_apart_from_failing(said: str) -> None:
    assert is_declined("callback_err", said)
    assert not is_declined("unknown_err", said)


@pytest.mark.parametrize("said", ["server_error", "temporarily_unavailable", "", "denied_scope"])
def test_a_failure_is_not_taken_for_declining(said: str) -> None:
    assert not is_declined("callback_err", said)
