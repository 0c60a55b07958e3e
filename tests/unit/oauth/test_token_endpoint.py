from __future__ import annotations

from base64 import b64decode
from typing import Any

import pytest

from keystow.egress.errors import EgressFailed, EgressRefused
from keystow.oauth import token_endpoint
from keystow.oauth.authorization_params import ReservedParameter
from keystow.oauth.errors import ConfigurationError, TokenError
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

TOKENS = {"access_token": "at", "refresh_token": "rt", "expires_in": 3600, "scope": "a b"}
VERIFIER = Secret("marked-verifier-0123456789-0123456789-0123456789")


def exchange(egress, entry=None, client=CLIENT, **changes: Any):
    given: dict[str, Any] = {
        "code": Secret("marked-code"),
        "redirect_uri": "https://keystow.example/oauth/callback",
        "code_verifier": VERIFIER,
        "connection_config": {},
        "now": NOW,
    }
    return token_endpoint.exchange_code(egress, entry or provider(), client, **(given | changes))


def refresh(egress, entry=None, client=CLIENT, **changes: Any):
    given: dict[str, Any] = {
        "refresh_token": Secret("marked-refresh-token"),
        "connection_config": {},
        "now": NOW,
    }
    return token_endpoint.refresh(egress, entry or provider(), client, **(given | changes))


def client_credentials(egress, client=CLIENT, config=None, **entry: Any):
    made = provider(**{"auth_mode": "OAUTH2_CC", **entry})
    return token_endpoint.client_credentials(
        egress, made, client, connection_config=config or {}, now=NOW
    )


def failure(call, *answers, **changes: Any) -> TokenError:
    with pytest.raises(TokenError) as failed:
        call(replying(*answers), **changes)
    return failed.value


# RFC 6749 §4.1.3: the exchange


def test_an_exchange_sends_what_the_rfc_asks_for() -> None:
    egress = replying(json_answer(TOKENS))
    exchange(egress)
    [sent] = egress.sent
    assert (sent.method, sent.url) == ("POST", "https://auth.example.com/token")
    assert list(sent.form.items()) == [
        ("grant_type", "authorization_code"),
        ("code", "marked-code"),
        ("redirect_uri", "https://keystow.example/oauth/callback"),
        ("code_verifier", VERIFIER.reveal()),
        ("client_id", "the-client"),
        ("client_secret", "marked-client-secret"),
    ]
    assert sent.headers == {
        "Accept": "application/json",
        "User-Agent": "Keystow",
        "Content-Type": "application/x-www-form-urlencoded",
    }


def test_a_token_request_never_follows_a_redirect() -> None:
    for call in (exchange, refresh):
        egress = replying(json_answer({}, 307, location="https://evil.example/"))
        with pytest.raises(TokenError) as failed:
            call(egress)
        assert failed.value.kind == "configuration"
        assert len(egress.sent) == 1
        assert not egress.sent[0].options.get("redirects")


def test_an_answer_becomes_a_token_set() -> None:
    tokens = exchange(replying(json_answer(TOKENS)))
    assert tokens.access_token.reveal() == "at"
    assert tokens.refresh_token is not None
    assert tokens.refresh_token.reveal() == "rt"
    assert tokens.expires_at == NOW + 3600
    assert tokens.granted_scopes == ("a", "b")
    assert tokens.raw.reveal()["expires_at"] == "2023-11-14T23:13:20.000Z"


def test_parameters_of_the_entry_are_filled_in_and_added() -> None:
    egress = replying(json_answer(TOKENS))
    entry = provider(
        token_url="https://${connectionConfig.sub}.example.com/token?key=1",
        token_params={
            "grant_type": "authorization_code",
            "resource": "https://${connectionConfig.sub}",
            "expiring": 1,
        },
    )
    exchange(egress, entry, connection_config={"sub": "acme"})
    [sent] = egress.sent
    assert sent.url == "https://acme.example.com/token?key=1"
    assert sent.form["resource"] == "https://acme"
    assert sent.form["expiring"] == "1"


@pytest.mark.parametrize(
    "knobs",
    [
        {"token_url": "https://${connectionConfig.sub}.example.com/token"},
        {"token_params": {"x": "${connectionConfig.sub}"}},
        {"token_url": ""},
    ],
)
def test_a_missing_value_stops_the_request_before_it_is_sent(knobs) -> None:
    error = failure(exchange, entry=provider(**knobs))
    assert isinstance(error, ConfigurationError)
    assert error.sent is False


def test_the_verifier_is_sent_unless_the_entry_has_pkce_off() -> None:
    egress = replying(json_answer(TOKENS))
    exchange(egress, provider(disable_pkce=True))
    assert "code_verifier" not in egress.sent[0].form
    with pytest.raises(ValueError, match="PKCE"):
        exchange(replying(), code_verifier=None)


def test_a_public_client_sends_no_secret_at_all() -> None:
    for call in (exchange, refresh):
        egress = replying(json_answer(TOKENS))
        call(egress, client=PUBLIC_CLIENT)
        assert egress.sent[0].form["client_id"] == "the-client"
        assert "client_secret" not in egress.sent[0].form
        assert "Authorization" not in egress.sent[0].headers


def test_a_json_body_is_sent_where_the_entry_wants_one() -> None:
    egress = replying(json_answer(TOKENS))
    exchange(egress, provider(body_format="json"))
    assert egress.sent[0].json["code"] == "marked-code"
    assert egress.sent[0].headers["Content-Type"] == "application/json"


def test_departures_of_an_entry_shape_the_request() -> None:
    egress = replying(json_answer({"data": {"access_token": "at"}}))
    entry = provider(
        token_exchange={
            "omit": ["grant_type"],
            "code_param": "auth_code",
            "client_id_param": "app_id",
            "client_secret_param": "secret",
            "redirect_uri_in": "query",
            "headers": {"x-key": "${client_id}"},
            "params": {"nonce": "${random}"},
            "response": {"root": "data"},
        }
    )
    assert exchange(egress, entry).access_token.reveal() == "at"
    [sent] = egress.sent
    assert sent.url.endswith("/token?redirect_uri=https%3A%2F%2Fkeystow.example%2Foauth%2Fcallback")
    assert sent.headers["x-key"] == "the-client"
    assert sent.form.keys() == {"auth_code", "nonce", "code_verifier", "app_id", "secret"}


def test_an_entry_may_send_its_secret_as_basic_user_name() -> None:
    egress = replying(json_answer(TOKENS))
    departures = {
        "client_auth": "basic",
        "basic_username": "${client_secret}",
        "basic_password": "",
    }
    exchange(egress, provider(token_exchange=departures))
    credentials = egress.sent[0].headers["Authorization"].removeprefix("Basic ")
    assert b64decode(credentials) == b"marked-client-secret:"
    assert "client_secret" not in egress.sent[0].form


# RFC 6749 §6: the refresh


def test_a_refresh_sends_what_the_rfc_asks_for() -> None:
    egress = replying(json_answer(TOKENS))
    refresh(egress)
    assert list(egress.sent[0].form.items()) == [
        ("grant_type", "refresh_token"),
        ("refresh_token", "marked-refresh-token"),
        ("client_id", "the-client"),
        ("client_secret", "marked-client-secret"),
    ]


@pytest.mark.parametrize(
    "knobs",
    [
        {"token_params": {"grant_type": "authorization_code", "request": "token"}},
        {"refresh_params": {"grant_type": "authorization_code", "request": "token"}},
        {"refresh_params": {"grant_type": "refresh_token", "request": "token"}},
        {"refresh_params": {"request": "token"}, "token_params": {"other": "x"}},
    ],
)
def test_a_refresh_is_a_refresh_whatever_the_entry_says_of_the_exchange(knobs) -> None:
    egress = replying(json_answer(TOKENS))
    refresh(egress, provider(**knobs))
    assert egress.sent[0].form["grant_type"] == "refresh_token"
    assert egress.sent[0].form["request"] == "token"
    assert "other" not in egress.sent[0].form


def test_refresh_params_are_filled_in() -> None:
    egress = replying(json_answer(TOKENS))
    entry = provider(refresh_params={"resource": "https://${connectionConfig.env}"})
    refresh(egress, entry, connection_config={"env": "acme.example"})
    assert egress.sent[0].form["resource"] == "https://acme.example"


def test_an_answer_without_refresh_token_leaves_the_old_one_to_the_caller() -> None:
    for payload in ({"access_token": "at"}, {"access_token": "at", "refresh_token": ""}):
        assert refresh(replying(json_answer(payload))).refresh_token is None


def test_the_refresh_url_is_used_only_where_the_entry_says_so() -> None:
    knobs = {"refresh_url": "https://auth.example.com/refresh"}
    plain, told = replying(json_answer(TOKENS)), replying(json_answer(TOKENS))
    refresh(plain, provider(**knobs))
    refresh(told, provider(**knobs, use_refresh_url=True))
    assert plain.sent[0].url == "https://auth.example.com/token"
    assert told.sent[0].url == "https://auth.example.com/refresh"


def test_a_refresh_that_prolongs_the_access_token_keeps_it() -> None:
    entry = provider(
        token_refresh={"keeps_access_token": True},
        token_success={"path": "result", "equals": "0000"},
        default_expires_in=60,
    )
    current = Secret("marked-access-token")
    tokens = refresh(replying(json_answer({"result": "0000"})), entry, access_token=current)
    assert (tokens.access_token.reveal(), tokens.expires_at) == (current.reveal(), NOW + 60)
    error = failure(refresh, json_answer({"result": "9"}), entry=entry, access_token=current)
    assert error.kind == "unusable"


def test_a_refresh_may_trade_the_access_token_itself() -> None:
    egress = replying(json_answer(TOKENS))
    departures = {"grant_type": "x_exchange", "params": {"x_token": "${access_token}"},
                  "omit": ["refresh_token"], "params_in": "query"}  # fmt: skip
    refresh(egress, provider(token_refresh=departures), access_token=Secret("old"))
    [sent] = egress.sent
    assert "grant_type=x_exchange&x_token=old&client_id=the-client" in sent.url
    assert sent.body == b""


# What goes wrong


@pytest.mark.parametrize("call", [exchange, refresh])
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (json_answer({"error": "invalid_grant"}, 400), "terminal"),
        (json_answer({"error": "bad_refresh_token"}), "terminal"),
        (json_answer({"ok": False, "error": "invalid_code", "access_token": "x"}), "terminal"),
        (json_answer({"error": "invalid_client"}, 401), "configuration"),
        (text_answer("no", 401), "configuration"),
        (text_answer("", 302), "configuration"),
        (json_answer({"access_token": "at"}, 300), "configuration"),
        (json_answer({}, 429, retry_after="9"), "throttled"),
        (json_answer({"access_token": "at"}, 500), "transient"),
        (text_answer("<html>ok</html>"), "unusable"),
        (text_answer(""), "unusable"),
        (text_answer('{"access_token": "a'), "unusable"),
        (json_answer([]), "unusable"),
        (json_answer({"access_token": ""}), "unusable"),
        (json_answer({"error": "nobody_knows_this"}), "unusable"),
        (EgressFailed("connect", sent=False), "transient"),
        (EgressFailed("tls", sent=False), "transient"),
        (EgressFailed("timeout", sent=True), "unknown_fate"),
        (EgressFailed("lost", sent=True), "unknown_fate"),
        (EgressFailed("too_large", sent=True), "unusable"),
        (EgressFailed("malformed", sent=True), "unusable"),
        (EgressRefused("private"), "refused"),
    ],
)
def test_every_failure_has_its_kind(call, answer, kind) -> None:
    assert failure(call, answer).kind == kind


def test_a_form_encoded_answer_is_read() -> None:
    form = text_answer("access_token=at&scope=repo%2Cgist&token_type=bearer", kind="text/plain")
    tokens = exchange(replying(form))
    assert tokens.access_token.reveal() == "at"
    assert tokens.granted_scopes == ("repo", "gist")


def test_an_entry_may_say_what_success_is_and_where_the_error_stands() -> None:
    entry = provider(
        token_success={"path": "code", "equals": 0}, token_error_path="data.error_code"
    )
    bad = json_answer({"code": 1, "data": {"error_code": "invalid_grant"}, "access_token": "a"})
    good = json_answer({"code": 0, "access_token": "a"})
    assert failure(refresh, bad, entry=entry).kind == "terminal"
    assert refresh(replying(good), entry).access_token.reveal() == "a"


def test_no_failure_shows_what_was_sent() -> None:
    echo = (
        "marked-code marked-refresh-token marked-client-secret marked-config-value "
        + VERIFIER.reveal()
    )
    entry = provider(token_params={"password": "${connectionConfig.password}"})
    config = {"password": "marked-config-value"}
    for call in (exchange, refresh):
        answer = json_answer({"error": echo, "error_description": echo}, 400)
        error = failure(call, answer, entry=entry, connection_config=config)
        for secret in ("marked-client-secret", "marked-config-value"):
            assert secret not in f"{error} {error!r}"
        own = "marked-code" if call is exchange else "marked-refresh-token"
        assert own not in f"{error} {error!r}"
    assert "marked" not in repr(failure(exchange, text_answer(echo), entry=entry,
                                        connection_config=config))  # fmt: skip


# RFC 6749 §4.4: client credentials


def test_departures_of_an_entry_count_for_client_credentials_as_for_codes() -> None:
    egress = replying(json_answer({"data": {"token": "at", "ttl": 60}}))
    tokens = client_credentials(
        egress,
        token_exchange={
            "body_format": "json",
            "client_auth": "basic",
            "grant_type": "client",
            "headers": {"X-Own": "${clientId}"},
            "params": {"a": "b"},
            "response": {"root": "data", "access_token": "token", "expires_in": "ttl"},
        },
    )
    sent = egress.sent[0]
    assert sent.json == {"a": "b", "grant_type": "client"}
    assert sent.headers["X-Own"] == CLIENT.client_id
    assert sent.headers["Authorization"].startswith("Basic ")
    assert (tokens.access_token.reveal(), tokens.expires_at) == ("at", NOW + 60)


def test_client_credentials_ask_with_scopes_and_added_parameters() -> None:
    egress = replying(json_answer({"access_token": "at", "expires_in": 60}))
    tokens = client_credentials(
        egress,
        config={"oauth_scopes": "a,b", "authorization_params": {"audience": "x"}, "sub": "s"},
        token_params={"grant_type": "client_credentials", "tenant": "${connectionConfig.sub}"},
        scope_separator="+",
    )
    assert egress.sent[0].form == {
        "grant_type": "client_credentials",
        "tenant": "s",
        "scope": "a+b",
        "audience": "x",
        "client_id": "the-client",
        "client_secret": "marked-client-secret",
    }
    assert tokens.expires_at == NOW + 60


@pytest.mark.parametrize("name", ["client_id", "client_secret", "Grant_Type", "client_assertion"])
def test_added_parameters_cannot_replace_the_client(name: str) -> None:
    with pytest.raises(ReservedParameter):
        client_credentials(replying(), config={"authorization_params": {name: "evil"}})


@pytest.mark.parametrize(
    ("payload", "token", "ends"),
    [
        ({"access_token": "a"}, "a", NOW + 3300),
        ({"data": {"token": "b"}}, "b", NOW + 3300),
        ({"jwt": "c", "expires_in": "60"}, "c", NOW + 60),
        ({"access_token": "a", "expires_at": "2023-11-14T22:14:20Z"}, "a", NOW + 60),
        ({"access_token": "a", "expires_in": -1}, "a", NOW + 3300),
    ],
)
def test_client_credentials_answers_come_in_three_shapes(payload, token, ends) -> None:
    tokens = client_credentials(replying(json_answer(payload)))
    assert (tokens.access_token.reveal(), tokens.expires_at) == (token, ends)


def test_a_life_in_milliseconds_is_one() -> None:
    answer = json_answer({"access_token": "a", "expires_in": 60_000})
    tokens = client_credentials(replying(answer), expires_in_unit="milliseconds")
    assert tokens.expires_at == NOW + 60


def test_client_credentials_may_travel_in_the_query() -> None:
    egress = replying(json_answer({"access_token": "a"}))
    client_credentials(egress, token_url="https://a.example/t?v=1", body_format="query")
    assert egress.sent[0].url == (
        "https://a.example/t?v=1&grant_type=client_credentials&client_id=the-client"
        "&client_secret=marked-client-secret"
    )
    assert egress.sent[0].headers == {"Accept": "application/json", "User-Agent": "Keystow"}


@pytest.mark.parametrize(
    "knobs",
    [
        {"token_request_auth_method": "private_key_jwt"},
        {"require_client_certificate": True},
        {"body_format": "xml"},
    ],
)
def test_what_client_credentials_cannot_do_yet_is_said_and_nothing_is_sent(knobs) -> None:
    egress = replying()
    with pytest.raises(ConfigurationError):
        client_credentials(egress, **knobs)
    assert egress.sent == []


def test_refused_client_credentials_are_a_matter_of_configuration() -> None:
    with pytest.raises(TokenError) as failed:
        client_credentials(replying(json_answer({"error": "invalid_client"}, 401)))
    assert failed.value.kind == "configuration"


# The headers of an entry


@pytest.mark.parametrize("call", [exchange, refresh])
def test_an_entry_may_say_who_asks_and_what_it_takes(call) -> None:
    egress = replying(json_answer(TOKENS))
    headers = {
        "user-agent": "web:my-app/1.0 (by /u/${connectionConfig.user})",
        "accept": "application/vnd.example.v2+json",
        "x-other": "1",
        "content-type": "application/x-www-form-urlencoded; charset=UTF-8",
    }
    call(egress, provider(token_headers=headers), connection_config={"user": "someone"})
    assert {name.lower(): value for name, value in egress.sent[0].headers.items()} == {
        **headers,
        "user-agent": "web:my-app/1.0 (by /u/someone)",
    }
    assert len(egress.sent[0].headers) == len(headers), "no header is sent twice"


def test_an_entry_cannot_take_the_clients_proof_away() -> None:
    egress = replying(json_answer(TOKENS))
    entry = provider(authorization_method="header", token_headers={"authorization": "x"})
    exchange(egress, entry)
    assert egress.sent[0].headers["Authorization"].startswith("Basic ")
    assert "authorization" not in egress.sent[0].headers


def test_a_content_type_that_does_not_fit_the_body_is_not_sent() -> None:
    egress = replying(json_answer(TOKENS))
    exchange(egress, provider(token_headers={"content-type": "application/json"}))
    assert egress.sent[0].headers["Content-Type"] == "application/x-www-form-urlencoded"


def test_a_client_alone_sends_the_headers_of_its_entry() -> None:
    egress = replying(json_answer(TOKENS))
    client_credentials(egress, token_headers={"user-agent": "my-app"})
    assert egress.sent[0].headers["user-agent"] == "my-app"


def test_a_refresh_may_have_parameters_and_headers_of_its_own() -> None:
    egress = replying(json_answer(TOKENS))
    entry = provider(
        refresh_token_params={"x": "${connectionConfig.y}"},
        refresh_token_headers={"x-own": "1"},
        token_headers={"x-own": "0", "x-all": "2"},
    )
    refresh(egress, entry, connection_config={"y": "z"})
    [sent] = egress.sent
    assert (sent.form["x"], sent.headers["x-own"], sent.headers["x-all"]) == ("z", "1", "2")


def test_an_entry_may_say_by_which_method_tokens_are_asked_for() -> None:
    egress = replying(json_answer(TOKENS))
    exchange(egress, provider(token_request_method="GET", body_format="query"))
    assert (egress.sent[0].method, egress.sent[0].body) == ("GET", None)
    assert egress.sent[0].headers == {"Accept": "application/json", "User-Agent": "Keystow"}
