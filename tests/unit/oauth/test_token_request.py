"""What token requests carry, spelled as servers expect it, and what is kept of their answers."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from keystow.clock import iso
from keystow.oauth.errors import TokenError
from keystow.secret import Secret
from tests.unit.oauth.doubles import NOW, json_answer, provider, replying
from tests.unit.oauth.test_token_endpoint import (
    TOKENS,
    client_credentials,
    exchange,
    failure,
    refresh,
)


def test_a_part_of_the_verifier_that_comes_back_is_not_shown() -> None:
    said = {"error": "invalid_grant", "error_description": "got marked-verif instead"}
    error = failure(exchange, json_answer(said, 400))
    assert error.description == "got *** instead"


def test_parameters_are_written_as_browsers_write_them() -> None:
    egress = replying(json_answer(TOKENS))
    exchange(egress, provider(token_params={"x": "a*b~c d-._é"}))
    assert b"&x=a*b%7Ec+d-._%C3%A9&" in (egress.sent[0].body or b"") + b"&"


@pytest.mark.parametrize(("skip", "path"), [([], "x%2Fy"), (["base_url"], "x/y")])
def test_an_entry_says_whether_values_in_the_token_url_are_encoded(skip, path) -> None:
    egress = replying(json_answer(TOKENS))
    url = "https://a.example/${connectionConfig.path}/token"
    entry = provider(token_url=url, token_url_skip_encode=skip)
    exchange(egress, entry, connection_config={"path": "x/y"})
    assert egress.sent[0].url == f"https://a.example/{path}/token"


def test_an_access_token_is_kept_only_where_the_entry_says_so() -> None:
    current = Secret("marked-access-token")
    error = failure(refresh, json_answer({"result": "ok"}), access_token=current)
    assert error.kind == "unusable"


def test_an_answer_to_a_refresh_may_have_a_shape_of_its_own() -> None:
    entry = provider(
        token_exchange={"response": {"access_token": "first"}},
        token_refresh={"response": {"access_token": "again"}},
    )
    answer = json_answer({"first": "a", "again": "b"})
    assert refresh(replying(answer), entry).access_token.reveal() == "b"
    assert exchange(replying(answer), entry).access_token.reveal() == "a"


@pytest.mark.parametrize("scopes", ["", None, 5, ["a"]])
def test_without_scopes_in_words_none_are_asked_for(scopes: Any) -> None:
    egress = replying(json_answer({"access_token": "at"}))
    client_credentials(egress, config={"oauth_scopes": scopes})
    assert "scope" not in egress.sent[0].form


def test_a_client_may_prove_itself_by_user_name_and_password() -> None:
    egress = replying(json_answer({"access_token": "at"}))
    client_credentials(egress, token_request_auth_method="custom")
    assert egress.sent[0].form == {
        "grant_type": "client_credentials",
        "username": "the-client",
        "password": "marked-client-secret",
    }


def test_without_pkce_an_exchange_needs_no_verifier() -> None:
    egress = replying(json_answer(TOKENS))
    exchange(egress, provider(disable_pkce=True), code_verifier=None)
    assert "code_verifier" not in egress.sent[0].form


def test_an_entry_may_give_the_grant_type_of_its_exchange() -> None:
    egress = replying(json_answer(TOKENS))
    exchange(egress, provider(token_exchange={"grant_type": "urn:own"}))
    assert egress.sent[0].form["grant_type"] == "urn:own"


def test_a_refresh_has_as_long_as_it_is_given_and_twenty_seconds_else() -> None:
    egress = replying(json_answer(TOKENS), json_answer(TOKENS))
    refresh(egress, deadline=7.0)
    refresh(egress)
    assert [sent.options["deadline"] for sent in egress.sent] == [7.0, 20.0]


def test_headers_and_parameters_of_a_refresh_may_hold_what_is_refreshed() -> None:
    egress = replying(json_answer(TOKENS))
    entry = provider(
        refresh_token_params={"again": "${refresh_token}"},
        refresh_token_headers={"x-own": "0", "x-all": "1"},
        token_refresh={"headers": {"x-own": "Bearer ${access_token}"}},
    )
    refresh(egress, entry, access_token=Secret("current"))
    [sent] = egress.sent
    assert sent.form["again"] == "marked-refresh-token"
    assert (sent.headers["x-own"], sent.headers["x-all"]) == ("Bearer current", "1")


def test_a_new_access_token_takes_the_place_of_one_that_could_be_kept() -> None:
    entry = provider(token_refresh={"keeps_access_token": True})
    tokens = refresh(
        replying(json_answer({"access_token": "new"})), entry, access_token=Secret("a")
    )
    assert tokens.access_token.reveal() == "new"


def test_scopes_of_a_client_alone_are_apart_by_spaces() -> None:
    egress = replying(json_answer({"access_token": "at"}))
    client_credentials(egress, config={"oauth_scopes": "a, b,"})
    assert egress.sent[0].form["scope"] == "a b"


def test_headers_of_a_client_alone_are_filled_in() -> None:
    egress = replying(json_answer({"access_token": "at"}))
    headers = {"x-site": "${connectionConfig.site}"}
    client_credentials(egress, config={"site": "acme"}, token_headers=headers)
    assert egress.sent[0].headers["x-site"] == "acme"


def test_a_client_alone_that_is_refused_hears_the_reason() -> None:
    said = json_answer({"error": "invalid_client", "error_description": "Unknown"}, 401)
    with pytest.raises(TokenError) as failed:
        client_credentials(replying(said))
    assert (failed.value.code, failed.value.description) == ("invalid_client", "Unknown")


@pytest.mark.parametrize("call", [exchange, refresh, client_credentials])
def test_patience_that_is_asked_for_until_a_date_is_heard(call) -> None:
    busy = json_answer({}, 429, retry_after="Tue, 14 Nov 2023 22:14:20 GMT")
    with pytest.raises(TokenError) as failed:
        call(replying(busy))
    assert (failed.value.kind, failed.value.retry_after) == ("throttled", 60.0)


def test_what_an_entry_lacks_for_a_connection_is_told_by_a_code() -> None:
    for entry, code in (
        ({"token_url": "https://${connectionConfig.sub}.example.com/t"}, "missing_parameters"),
        ({"token_params": {"x": "${connectionConfig.sub}"}}, "missing_parameters"),
        ({"body_format": "xml"}, "unsupported_body_format"),
        (
            {"token_exchange": {"client_auth": "private_key_jwt"}},
            "unsupported_client_authentication",
        ),
    ):
        error = failure(exchange, entry=provider(**entry))
        assert (error.kind, error.code, error.sent) == ("configuration", code, False)
        assert error.description


def test_the_moment_something_random_and_the_client_may_stand_in_a_request() -> None:
    egress = replying(json_answer(TOKENS))
    params = {"at": "${now}", "nonce": "${random}", "proof": "${clientId}:${clientSecret}"}
    exchange(egress, provider(token_params=params))
    form = egress.sent[0].form
    assert form["at"] == iso(NOW)
    assert UUID(form["nonce"]).version == 4
    assert form["proof"] == "the-client:marked-client-secret"


def test_an_entry_may_leave_out_what_is_not_there_anyway() -> None:
    egress = replying(json_answer(TOKENS))
    exchange(egress, provider(token_exchange={"omit": ["unknown", "grant_type"]}))
    assert "grant_type" not in egress.sent[0].form


@pytest.mark.parametrize(
    "entry", [{"token_request_method": "GET"}, {"token_exchange": {"method": "GET"}}]
)
def test_a_request_by_get_has_its_parameters_in_the_url(entry: dict[str, Any]) -> None:
    egress = replying(json_answer(TOKENS))
    exchange(egress, provider(**entry))
    [sent] = egress.sent
    assert (sent.method, sent.body) == ("GET", None)
    assert "grant_type=authorization_code&code=marked-code&" in sent.url


def test_no_answer_to_a_token_request_is_taken_beyond_a_megabyte() -> None:
    egress = replying(json_answer(TOKENS))
    exchange(egress)
    assert egress.sent[0].options["max_bytes"] == 1_000_000
