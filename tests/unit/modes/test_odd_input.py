"""What strangers and imports may hand to a mode: refused, and no fault of ours."""

from __future__ import annotations

import pytest

from keystow.catalog.loader import Provider
from keystow.modes import mode_of, registered, sts
from keystow.modes.failure import AuthorizationFailed
from keystow.oauth import jwt
from keystow.oauth.discovery import _covers, _is_plain_url
from keystow.oauth.oauth1 import UnusableKey as UnusableOAuth1Key
from keystow.oauth.oauth1 import _rsa_sha1
from keystow.secret import Secret

GENERIC = Provider("mcp", {"display_name": "M", "auth_mode": "MCP_OAUTH2_GENERIC"})
# PKCS #8 of an elliptic curve that no library of ours knows (GOST R 34.10).
UNKNOWN_KIND = """-----BEGIN PRIVATE KEY-----
MEYCAQAwHwYGKoUDAgITMBUGByqFAwICIwEGCiqFAwICHgEDAQQgAQIDBAUGBwgJ
CgsMDQ4PEBESExQVFhcYGRobHB0eHyA=
-----END PRIVATE KEY-----
"""


@pytest.mark.parametrize("told", ["[]", "5", "null", "{", True, "[" * 100_000, {}, None])
def test_whatever_an_import_calls_metadata_names_no_host(told: object) -> None:
    mode = mode_of("MCP_OAUTH2_GENERIC")
    assert mode is not None
    assert mode.token_host(GENERIC, {"oauth_metadata": told}) is None


@pytest.mark.parametrize("url", ["https://[a", "https://", "https://[", "http:", "ftp://a.example"])
def test_what_is_no_address_of_a_server_is_none(url: str) -> None:
    assert not _is_plain_url(url)


def test_a_resource_covers_what_lies_in_it_and_no_more() -> None:
    assert _covers("https://a.example/mcp", "https://a.example/mcp/tools")
    assert not _covers("https://a.example/mcp", "https://a.example/mcp2")


def test_a_client_belongs_to_the_endpoint_that_its_secret_goes_to() -> None:
    honest = registered.name_of("https://a.example/register", "https://a.example/token", "cb")
    mixed = registered.name_of("https://a.example/register", "https://evil.example/token", "cb")
    assert honest != mixed


@pytest.mark.parametrize(
    "key", ['{"a":' + "[" * 65_000, '{"keys":["x"]}', '{"keys":[]}', "{}", UNKNOWN_KIND, "", "x"]
)
def test_a_key_that_is_none_is_told_so(key: str) -> None:
    with pytest.raises(jwt.UnusableKey):
        jwt.signed({"alg": "RS256"}, {"a": 1}, Secret(key))
    with pytest.raises(UnusableOAuth1Key):
        _rsa_sha1("text", Secret(key))


@pytest.mark.parametrize(
    "body",
    [
        b'<?xml version="1.0" encoding="foo"?><a/>',
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        b"",
        b"{}",
    ],
)
def test_an_answer_of_sts_that_is_no_plain_xml_tells_nothing(body: bytes) -> None:
    assert sts._xml(body) == {}


def test_a_mode_without_a_popup_says_so() -> None:
    mode = mode_of("API_KEY")
    assert mode is not None
    with pytest.raises(AuthorizationFailed, match="API_KEY is not authorized in a popup"):
        mode.begin(None, None)  # type: ignore[arg-type]
    with pytest.raises(AuthorizationFailed, match="auth_mode_err"):
        mode.complete(None, None)  # type: ignore[arg-type]
