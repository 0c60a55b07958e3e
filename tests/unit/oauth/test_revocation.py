from __future__ import annotations

from base64 import b64decode
from typing import Any

import pytest

from keystow.egress.errors import EgressFailed, EgressRefused
from keystow.oauth.revocation import RevocationResult, revoke
from keystow.oauth.token_answer import TokenSet
from keystow.secret import Secret
from tests.unit.oauth.doubles import (
    CLIENT,
    NOW,
    PUBLIC_CLIENT,
    json_answer,
    provider,
    replying,
    text_answer,
)

URL = "https://auth.example.com/revoke"


def tokens(refresh: str | None = "marked-refresh") -> TokenSet:
    kept = Secret(refresh) if refresh else None
    return TokenSet(Secret("marked-access"), kept, None, Secret({}), None, "bearer")


def run(egress, token_set=None, config=None, **entry: Any) -> RevocationResult:
    return revoke(
        egress,
        provider(**entry),
        CLIENT,
        token_set or tokens(),
        connection_config=config or {},
        now=NOW,
    )


def test_the_refresh_token_is_revoked_since_it_carries_the_grant() -> None:
    egress = replying(text_answer("", 200))
    assert run(egress, revocation_url=URL).outcome == "done"
    [sent] = egress.sent
    assert (sent.method, sent.url) == ("POST", URL)
    assert sent.form == {
        "token": "marked-refresh",
        "token_type_hint": "refresh_token",
        "client_id": "the-client",
        "client_secret": "marked-client-secret",
    }


@pytest.mark.parametrize("body", [{}, {"ok": False, "error": "odd"}, []])
def test_whatever_stands_in_an_answer_of_status_200_counts_as_revoked(body: Any) -> None:
    assert run(replying(json_answer(body)), revocation_url=URL).outcome == "done"


def test_the_access_token_is_revoked_where_there_is_no_other() -> None:
    egress = replying(text_answer("", 200))
    assert run(egress, tokens(None), revocation_url=URL).outcome == "done"
    assert egress.sent[0].form["token"] == "marked-access"
    assert egress.sent[0].form["token_type_hint"] == "access_token"


def test_a_server_that_knows_no_refresh_tokens_gets_the_access_token() -> None:
    unsupported = json_answer({"error": "unsupported_token_type"}, 400)
    egress = replying(unsupported, text_answer("", 200))
    assert run(egress, revocation_url=URL).outcome == "done"
    assert [sent.form["token"] for sent in egress.sent] == ["marked-refresh", "marked-access"]


@pytest.mark.parametrize(("auth", "in_header"), [("basic", True), ("none", False), (None, False)])
def test_the_entry_says_how_the_client_identifies_itself(auth, in_header) -> None:
    egress = replying(text_answer("", 200))
    run(egress, revocation_url=URL, revocation_auth=auth)
    assert ("Authorization" in egress.sent[0].headers) is in_header
    assert ("client_secret" in egress.sent[0].form) is (auth is None)


def test_a_token_that_is_already_dead_counts_as_revoked() -> None:
    answer = json_answer({"error": "invalid_token"}, 400)
    assert run(replying(answer), revocation_url=URL).outcome == "done"


@pytest.mark.parametrize(
    "answer",
    [
        text_answer("marked-access", 500),
        json_answer({"error": "invalid_token"}, 503),
        json_answer({"error": "invalid_token"}, 500),
        text_answer("", 300),
        json_answer({"error": "invalid_client", "error_description": "marked-refresh"}, 401),
        text_answer("", 302),
        EgressFailed("timeout", sent=True),
        EgressRefused("private"),
    ],
)
def test_a_failure_is_told_and_not_raised_and_shows_no_token(answer) -> None:
    result = run(replying(answer), revocation_url=URL)
    assert result.outcome == "failed"
    assert result.detail
    assert "marked" not in repr(result)


def test_a_missing_config_value_is_a_failure_with_nothing_sent() -> None:
    egress = replying()
    result = run(egress, revocation_url="https://${connectionConfig.domain}/revoke")
    assert (result.outcome, egress.sent) == ("failed", [])


def test_a_provider_without_any_way_says_so() -> None:
    egress = replying()
    assert run(egress).outcome == "unsupported"
    assert egress.sent == []


def test_a_call_of_the_providers_own_takes_the_token_in_its_path() -> None:
    egress = replying(text_answer("", 204))
    call = {"method": "DELETE", "url": "https://api.example.com/t/${refresh_token}", "auth": "none"}
    assert run(egress, tokens("a/b"), on_disconnect=call).outcome == "done"
    [sent] = egress.sent
    assert (sent.method, sent.url) == ("DELETE", "https://api.example.com/t/a%2Fb")
    assert "Authorization" not in sent.headers


def test_a_call_of_the_providers_own_carries_the_connections_token() -> None:
    egress = replying(text_answer("", 200))
    call = {
        "method": "POST",
        "url": "/auth/revoke",
        "body": {"token": "${access_token}", "id": "${client_id}"},
        "body_format": "form",
    }
    proxy = {"base_url": "https://api.example.com/"}
    assert run(egress, on_disconnect=call, proxy=proxy).outcome == "done"
    [sent] = egress.sent
    assert sent.url == "https://api.example.com/auth/revoke"
    assert sent.headers["Authorization"] == "Bearer marked-access"
    assert sent.form == {"token": "marked-access", "id": "the-client"}
    assert sent.headers["Content-Type"] == "application/x-www-form-urlencoded"


def test_a_revocation_is_a_form_that_asks_for_json() -> None:
    egress = replying(text_answer("", 200))
    run(egress, revocation_url=URL)
    assert egress.sent[0].headers == {
        "Accept": "application/json",
        "Content-Type": "application/x-www-form-urlencoded",
    }


def test_basic_of_a_revocation_is_that_of_the_client() -> None:
    egress = replying(text_answer("", 200))
    run(egress, revocation_url=URL, revocation_auth="basic")
    shown = egress.sent[0].headers["Authorization"].removeprefix("Basic ")
    assert b64decode(shown) == b"the-client:marked-client-secret"


def test_a_revocation_that_brought_no_answer_tells_why() -> None:
    result = run(replying(EgressFailed("timeout", sent=True)), revocation_url=URL)
    assert (result.outcome, "network_timeout" in result.detail) == ("failed", True)


def test_a_public_client_names_itself_where_the_entry_wants_basic() -> None:
    egress = replying(text_answer("", 200))
    entry = provider(revocation_url=URL, revocation_auth="basic")
    revoke(egress, entry, PUBLIC_CLIENT, tokens(), connection_config={}, now=NOW)
    [sent] = egress.sent
    assert sent.form["client_id"] == "the-client"
    assert "Authorization" not in sent.headers


def test_a_call_of_the_providers_own_may_have_a_body_of_json_and_headers() -> None:
    egress = replying(text_answer("", 200))
    call = {
        "method": "POST",
        "url": "https://${connectionConfig.site}.example.com/end",
        "headers": {"Authorization": "Token ${accessToken}", "X-Site": "${connectionConfig.site}"},
        "body": {"refresh": "${refresh_token}", "all": True},
    }
    assert run(egress, config={"site": "acme"}, on_disconnect=call).outcome == "done"
    [sent] = egress.sent
    assert (sent.method, sent.url) == ("POST", "https://acme.example.com/end")
    assert sent.json == {"refresh": "marked-refresh", "all": True}
    assert sent.headers == {
        "Accept": "application/json",
        "Content-Type": "application/json",
        "Authorization": "Token marked-access",
        "X-Site": "acme",
    }


def test_a_call_without_method_or_body_is_a_get_of_nothing() -> None:
    egress = replying(text_answer("", 200))
    run(egress, on_disconnect={"url": "https://api.example.com/end"})
    [sent] = egress.sent
    assert (sent.method, sent.body) == ("GET", None)
    assert "Content-Type" not in sent.headers


def test_a_call_of_the_providers_own_that_fails_shows_no_secret() -> None:
    call = {"url": "https://api.example.com/end"}
    for echo in ("marked-access", "marked-refresh", "marked-client-secret"):
        result = run(
            replying(json_answer({"error": "odd", "message": echo}, 400)), on_disconnect=call
        )
        assert (result.outcome, "marked" in result.detail) == ("failed", False)


def test_a_call_that_needs_a_refresh_token_is_not_made_without_one() -> None:
    egress = replying()
    call = {"url": "https://api.example.com/t/${refresh_token}"}
    assert run(egress, tokens(None), on_disconnect=call).outcome == "unsupported"
    assert egress.sent == []


def test_an_answer_of_status_200_that_the_entry_calls_a_failure_is_one() -> None:
    entry = {
        "on_disconnect": {"url": "https://api.example.com/revoke"},
        "token_success": {"path": "ok", "equals": True},
        "token_error_path": "error",
    }
    refusal = json_answer({"ok": False, "error": "not_allowed"})
    result = run(replying(refusal), tokens(None), **entry)
    assert (result.outcome, "not_allowed" in result.detail) == ("failed", True)
    assert run(replying(json_answer({"ok": True})), **entry).outcome == "done"
    assert run(replying(text_answer("", 200)), **entry).outcome == "done"
    dead = json_answer({"ok": False, "error": "token_revoked"})
    assert run(replying(dead), tokens(None), **entry).outcome == "done"


def test_an_access_token_that_is_over_does_not_pass_for_a_grant_that_is() -> None:
    call = {"url": "https://api.example.com/revoke"}
    over = json_answer({"error": "token_expired"}, 401)
    assert run(replying(over), on_disconnect=call).outcome == "failed"
    assert run(replying(over), tokens(None), on_disconnect=call).outcome == "done"
    with_refresh = {**call, "body": {"token": "${refresh_token}"}}
    assert run(replying(over), on_disconnect=with_refresh).outcome == "done"


def test_a_value_that_is_missing_deep_in_a_body_is_a_failure_with_nothing_sent() -> None:
    egress = replying()
    body = {"account": {"ids": ["${connectionConfig.account}"]}}
    call = {"method": "POST", "url": "https://api.example.com/revoke", "body": body}
    assert run(egress, on_disconnect=call).outcome == "failed"
    assert egress.sent == []
