"""Signatures of OAuth 1.0a, against a published example; the rest is tried on Authlib's server."""

from __future__ import annotations

import pytest

from keystow.oauth.oauth1 import FORM, Signer, UnusableKey, issued
from keystow.secret import Secret

SIGNER = Signer(
    "xvz1evFS4wEEPTGEFPHBog",
    Secret("kAcSOqF21Fu85e7zjz7ZN2U4ZRhfV3WpwPAoE3Z7kBw"),
    "HMAC-SHA1",
    "370773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb",
    Secret("LswwdoUaIvS8ltyTt5jkRh4J50vUPVVHtR2YPi5kE"),
)
BODY = b"status=Hello%20Ladies%20%2b%20Gentlemen%2c%20a%20signed%20OAuth%20request%21"


def header(signer: Signer = SIGNER, content_type: str = FORM, body: bytes | None = BODY) -> str:
    return signer.header(
        "post",
        "https://API.twitter.com:443/1.1/statuses/update.json?include_entities=true",
        nonce="kYjzVBB8Y0ZFabxSWbWovY3uYSQ2pTgmZeNu2VS4cg",
        timestamp=1_318_622_958,
        content_type=content_type,
        body=body,
    )


def test_a_published_example_has_the_published_signature() -> None:
    assert 'oauth_signature="hCtSmYh%2BiHYCEqBWrE7C7hYmtUk%3D"' in header()
    assert header(content_type=f"{FORM}; charset=utf-8") == header()


def test_a_body_that_is_no_form_is_not_signed() -> None:
    assert header(content_type="application/json") == header(body=None)


@pytest.mark.parametrize("method", ["RSA-SHA1", "HMAC-MD5"])
def test_what_cannot_sign_says_so_without_the_secret(method: str) -> None:
    with pytest.raises(UnusableKey) as found:
        header(Signer("id", Secret("not a key"), method))
    assert "not a key" not in str(found.value)


def test_a_token_is_read_from_a_form_in_which_each_field_comes_once() -> None:
    found = issued(b"oauth_token=a%2Fb&oauth_token_secret=&x=%C3%A9")
    assert found is not None
    assert (found.token, found.secret.reveal()) == ("a/b", "")
    assert found.raw.reveal()["x"] == "é"
    for body in (b"", b"{}", b"oauth_token=a", b"oauth_token=&oauth_token_secret=b", b"%ff" * 9):
        assert issued(body) is None
    assert issued(b"oauth_token=a&oauth_token_secret=b&oauth_token_secret=c") is None
