"""What token requests carry, spelled as servers expect it, and what is kept of their answers."""

from __future__ import annotations

from typing import Any

import pytest

from keystow.secret import Secret
from tests.unit.oauth.doubles import json_answer, provider, replying
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
