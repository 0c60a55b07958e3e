"""Each departure that an entry may declare shows in what is sent, and only where it is declared."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import pytest

from keystow.oauth import token_endpoint, token_request
from keystow.oauth.authorization import authorization_url, missing_parameters
from keystow.oauth.authorization_params import ReservedParameter, check_authorization_params
from keystow.oauth.errors import ConfigurationError, TokenError, from_answer
from keystow.oauth.revocation import revoke
from keystow.oauth.token_answer import TokenSet, token_set
from keystow.secret import Secret
from tests.unit.oauth.doubles import (
    CLIENT,
    NOW,
    Sent,
    json_answer,
    provider,
    replying,
    text_answer,
)

TOKENS = {"access_token": "at", "refresh_token": "rt", "expires_in": 3600}
REDIRECT = "https://keystow.example/oauth/callback"
IN_BODY = ("the-client", "marked-client-secret")


def exchange(*answers: Any, config: dict[str, Any] | None = None, **entry: Any) -> Sent:
    egress = replying(*(answers or (json_answer(TOKENS),)))
    token_endpoint.exchange_code(
        egress,
        provider(**entry),
        CLIENT,
        code=Secret("marked-code"),
        redirect_uri=REDIRECT,
        code_verifier=Secret("v" * 43),
        connection_config=config or {},
        now=NOW,
    )
    return egress.sent[0]


def refresh(**entry: Any) -> Sent:
    egress = replying(json_answer(TOKENS))
    token_endpoint.refresh(
        egress,
        provider(**entry),
        CLIENT,
        refresh_token=Secret("marked-refresh"),
        connection_config={},
        now=NOW,
    )
    return egress.sent[0]


def client_credentials(
    *answers: Any, config: dict[str, Any] | None = None, **entry: Any
) -> tuple[TokenSet, Sent]:
    egress = replying(*(answers or (json_answer({"access_token": "at"}),)))
    made = provider(**{"auth_mode": "OAUTH2_CC", **entry})
    found = token_endpoint.client_credentials(
        egress, made, CLIENT, connection_config=config or {}, now=NOW
    )
    return found, egress.sent[0]


def basic_of(sent: Sent) -> str | None:
    value = sent.headers.get("Authorization")
    return None if value is None else b64decode(value.removeprefix("Basic ")).decode()


def in_body(sent: Sent) -> tuple[str | None, str | None]:
    return sent.form.get("client_id"), sent.form.get("client_secret")


@pytest.mark.parametrize(
    ("departures", "body", "basic"),
    [
        ({}, IN_BODY, None),
        ({"client_auth": "none"}, ("the-client", None), None),
        ({"client_auth": "body"}, IN_BODY, None),
        ({"client_auth": "basic"}, (None, None), "the-client:marked-client-secret"),
        ({"client_auth": "basic", "basic_username": "${client_id}"}, (None, None), "the-client:"),
        (
            {"client_auth": "basic", "basic_password": "x-${client_id}"},
            (None, None),
            ":x-the-client",
        ),
    ],
)
def test_an_entry_says_how_the_client_proves_itself(departures, body, basic) -> None:
    for sent in (
        exchange(token_exchange=departures),
        refresh(token_refresh=departures),
        client_credentials(token_exchange=departures)[1],
    ):
        assert (in_body(sent), basic_of(sent)) == (body, basic)


def test_a_client_alone_proves_itself_in_one_way_only() -> None:
    _found, sent = client_credentials(token_request_auth_method="basic")
    assert (in_body(sent), basic_of(sent)) == ((None, None), "the-client:marked-client-secret")
    sent = exchange(token_request_auth_method="basic")
    assert (in_body(sent), basic_of(sent)) == (IN_BODY, "the-client:marked-client-secret")


@pytest.mark.parametrize(
    ("where", "query", "body"),
    [(None, False, True), ("body", False, True), ("query", True, False), ("both", True, True)],
)
def test_the_redirect_uri_stands_where_the_entry_says(where, query, body) -> None:
    departures = {} if where is None else {"redirect_uri_in": where}
    sent = exchange(token_exchange=departures)
    assert ("redirect_uri=" in sent.url, "redirect_uri" in sent.form) == (query, body)


def test_a_refresh_departs_as_the_exchange_only_where_the_entry_says_so() -> None:
    departures = {"client_auth": "basic", "headers": {"X-Own": "yes"}}
    sent = refresh(token_exchange=departures)
    assert (in_body(sent), basic_of(sent), "X-Own" in sent.headers) == (IN_BODY, None, False)
    sent = refresh(token_exchange=departures, token_refresh={"same_as_exchange": True})
    assert in_body(sent) == (None, None)
    assert (basic_of(sent), sent.headers["X-Own"]) == ("the-client:marked-client-secret", "yes")
    own = {"same_as_exchange": True, "client_auth": "none"}
    sent = refresh(token_exchange=departures, token_refresh=own)
    assert (in_body(sent), basic_of(sent)) == (("the-client", None), None)


def test_a_refresh_keeps_a_grant_type_of_its_own() -> None:
    sent = refresh(refresh_params={"grant_type": "urn:own"})
    assert sent.form["grant_type"] == "urn:own"
    sent = refresh(refresh_params={"grant_type": "authorization_code"})
    assert sent.form["grant_type"] == "refresh_token"


def test_without_parameters_nothing_is_added_to_the_url() -> None:
    _found, sent = client_credentials(
        token_request_auth_method="basic",
        token_exchange={"params_in": "query", "omit": ["grant_type"]},
    )
    assert (sent.url, sent.body) == ("https://auth.example.com/token", b"")


def test_yes_and_no_are_sent_as_words() -> None:
    sent = exchange(token_params={"offline": True, "silent": False, "size": 3, "list": ["a", 1]})
    assert [sent.form[name] for name in ("offline", "silent", "size", "list")] == [
        "true",
        "false",
        "3",
        '["a",1]',
    ]


@pytest.mark.parametrize("nothing", [None, "undefined"])
def test_a_connection_may_take_a_parameter_of_the_entry_away(nothing) -> None:
    config = {"authorization_params": {"audience": nothing, "unknown": nothing, "own": "yes"}}
    _found, sent = client_credentials(config=config, token_params={"audience": "api"})
    assert "audience" not in sent.form
    assert "unknown" not in sent.form
    assert sent.form["own"] == "yes"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (json_answer({"access_token": "at"}, 400), "configuration"),
        (json_answer({"ok": False, "access_token": "at"}), "unusable"),
        (json_answer({"hello": "you"}), "unusable"),
        (text_answer("<html>", 200), "unusable"),
    ],
)
def test_a_client_alone_takes_no_token_of_an_answer_that_is_no_success(answer, kind) -> None:
    with pytest.raises(TokenError) as failed:
        client_credentials(answer)
    assert failed.value.kind == kind


def test_an_entry_without_endpoint_says_so_and_nothing_is_sent() -> None:
    with pytest.raises(ConfigurationError) as failed:
        exchange(token_url="")
    assert (failed.value.code, failed.value.sent) == ("missing_endpoint", False)


def test_an_error_shows_what_the_entry_says_and_nothing_that_a_connection_brought() -> None:
    refused = json_answer(
        {"error": "odd", "error_description": "audience-of-entry hidden-key abc four is unknown"},
        400,
    )
    with pytest.raises(TokenError) as failed:
        exchange(
            refused,
            config={"key": "hidden-key", "short": "abc", "four": "four"},
            token_params={
                "audience": "audience-of-entry",
                "key": "${connectionConfig.key}",
                "short": "${connectionConfig.short}",
                "four": "${connectionConfig.four}",
            },
        )
    assert failed.value.description == "audience-of-entry *** abc *** is unknown"


def test_an_entry_says_where_the_error_stands() -> None:
    answer = json_answer({"meta": {"why": "invalid_grant"}, "error": "odd"}, 400)
    for path, code in (("meta.why", "invalid_grant"), (None, "odd"), ("meta", "odd")):
        entry = {} if path is None else {"token_error_path": path}
        with pytest.raises(TokenError) as failed:
            exchange(answer, **entry)
        assert failed.value.code == code


@pytest.mark.parametrize(
    "payload",
    [
        {"errors": ["It is over"]},
        {"errors": "It is over"},
        {"errors": [{"message": "It is over"}]},
        {"error": {"message": "It is over"}},
        {"data": [{"message": "It is over"}]},
    ],
)
def test_a_reason_is_found_in_lists_and_nests(payload) -> None:
    error = from_answer(json_answer(payload, 400), payload, secrets=(), now=NOW)
    assert error.description == "It is over"
    odd = {"errors": [1], "error": None, "data": ["x"]}
    assert (
        "without a reason"
        in from_answer(json_answer(odd, 400), odd, secrets=(), now=NOW).description
    )


def test_an_exchange_takes_no_token_from_the_places_of_a_client_alone() -> None:
    for payload in ({"jwt": "a"}, {"data": {"token": "a"}}):
        assert token_set({}, payload, NOW, "exchange") is None
        assert token_set({}, payload, NOW, "refresh") is None
        found = token_set({}, payload, NOW, "client_credentials")
        assert found is not None
        assert found.access_token.reveal() == "a"


def test_an_object_without_token_does_not_hide_the_usual_place() -> None:
    entry = {"token_exchange": {"response": {"access_token": "data"}}}
    found = token_set(entry, {"data": {"id": 1}, "access_token": "a"}, NOW)
    assert found is not None
    assert found.access_token.reveal() == "a"


def test_a_whole_url_of_a_call_on_disconnect_is_called_as_it_is() -> None:
    egress = replying(text_answer("", 204))
    entry = provider(
        proxy={"base_url": "https://api.example.com"},
        on_disconnect={"url": "https://other.example.com/end", "auth": "client_basic"},
    )
    tokens = TokenSet(Secret("marked-access"), None, None, Secret({}), None, "bearer")
    assert revoke(egress, entry, CLIENT, tokens, connection_config={}, now=NOW).outcome == "done"
    [sent] = egress.sent
    assert sent.url == "https://other.example.com/end"
    assert basic_of(sent) == "the-client:marked-client-secret"


def url_for(**entry: Any) -> str:
    return authorization_url(
        provider(**entry),
        client_id="cid",
        redirect_uri=REDIRECT,
        scopes=(),
        state="st",
        code_challenge="ch",
        connection_config={},
        authorization_params={},
    )


def test_empty_parameters_are_kept_unless_the_entry_says_otherwise() -> None:
    params = {"prompt": ""}
    assert "prompt=&" in url_for(authorization_params=params)
    assert "prompt" not in url_for(authorization_params=params, authorization_url_skip_empty=True)


def test_only_what_is_missing_is_named() -> None:
    both = "https://${connectionConfig.a}.${connectionConfig.b}.example.com/x"
    assert missing_parameters(provider(authorization_url=both), {"a": "1"}) == ("b",)


def test_of_a_server_of_mcp_the_token_url_must_be_known_before_the_flow() -> None:
    later = {"token_url": "https://${connectionConfig.host}/token"}
    assert missing_parameters(provider(**later), {}) == ()
    assert missing_parameters(provider(**later, auth_mode="MCP_OAUTH2"), {}) == ("host",)


def test_a_name_that_the_entry_gives_to_another_parameter_is_not_reserved() -> None:
    entry = provider(authorization_url_replacements={"login_hint": "hint", "client_id": "app"})
    check_authorization_params({"hint": "a"}, entry)
    with pytest.raises(ReservedParameter):
        check_authorization_params({"app": "other"}, entry)


def test_values_of_any_form_are_text_on_the_wire() -> None:
    assert [token_request.text(value) for value in ("a", True, False, 1, None, {"a": 1})] == [
        "a",
        "true",
        "false",
        "1",
        "null",
        '{"a":1}',
    ]
