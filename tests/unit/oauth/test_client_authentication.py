from __future__ import annotations

from base64 import b64decode

import pytest

from keystow.oauth.client_authentication import OAuthClient, for_client_credentials, for_code_grant
from keystow.oauth.errors import ConfigurationError
from keystow.secret import Secret

CLIENT = OAuthClient("i d", Secret("s&e"))
PUBLIC = OAuthClient("i d", Secret(""))
IN_BODY = {"client_id": "i d", "client_secret": "s&e"}


def basic(headers) -> str:
    scheme, _, credentials = headers["Authorization"].partition(" ")
    assert scheme == "Basic"
    return b64decode(credentials).decode()


def test_id_and_secret_stand_in_the_body_unless_the_entry_says_otherwise() -> None:
    proof = for_code_grant({}, CLIENT)
    assert (proof.body, proof.headers) == (IN_BODY, {})


def test_the_header_method_encodes_both_as_form_values_first() -> None:
    proof = for_code_grant({"authorization_method": "header"}, CLIENT)
    assert basic(proof.headers) == "i+d:s%26e"
    assert proof.body == {}


def test_raw_basic_is_not_encoded_and_stands_beside_the_body() -> None:
    proof = for_code_grant({"token_request_auth_method": "basic"}, CLIENT)
    assert basic(proof.headers) == "i d:s&e"
    assert proof.body == IN_BODY


def test_raw_basic_with_the_header_method_leaves_the_body_alone() -> None:
    entry = {"token_request_auth_method": "basic", "authorization_method": "header"}
    proof = for_code_grant(entry, CLIENT)
    assert basic(proof.headers) == "i d:s&e"
    assert proof.body == {}


@pytest.mark.parametrize(
    "entry", [{}, {"authorization_method": "header"}, {"token_request_auth_method": "basic"}]
)
def test_a_client_without_secret_is_public_and_sends_its_id_only(entry) -> None:
    proof = for_code_grant(entry, PUBLIC)
    assert (proof.body, proof.headers) == ({"client_id": "i d"}, {})


def test_client_credentials_use_one_method_only() -> None:
    assert for_client_credentials({}, CLIENT).body == IN_BODY
    raw = for_client_credentials({"token_request_auth_method": "basic"}, CLIENT)
    assert (basic(raw.headers), raw.body) == ("i d:s&e", {})
    encoded = for_client_credentials({"authorization_method": "header"}, CLIENT)
    assert (basic(encoded.headers), encoded.body) == ("i+d:s%26e", {})
    custom = for_client_credentials({"token_request_auth_method": "custom"}, CLIENT)
    assert (custom.headers, custom.body) == ({}, {"username": "i d", "password": "s&e"})


def test_a_public_client_alone_sends_its_id_and_nothing_for_a_secret() -> None:
    proof = for_client_credentials({}, PUBLIC)
    assert (proof.body, proof.headers) == ({"client_id": "i d"}, {})


def test_an_api_key_as_client_id_goes_as_basic_with_an_empty_password() -> None:
    raw = for_client_credentials({"token_request_auth_method": "basic"}, PUBLIC)
    assert basic(raw.headers) == "i d:"


@pytest.mark.parametrize(
    "entry",
    [{"token_request_auth_method": "private_key_jwt"}, {"require_client_certificate": True}],
)
@pytest.mark.parametrize("proof", [for_code_grant, for_client_credentials])
def test_what_is_not_supported_says_so_before_anything_is_sent(entry, proof) -> None:
    with pytest.raises(ConfigurationError) as error:
        proof(entry, CLIENT)
    assert error.value.code == "unsupported_client_authentication"
    assert error.value.sent is False


def test_neither_client_nor_proof_shows_the_secret() -> None:
    shown = f"{CLIENT!r} {for_code_grant({}, CLIENT)!r}"
    assert "s&e" not in shown
