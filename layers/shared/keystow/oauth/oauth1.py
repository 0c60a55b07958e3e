"""Signed requests of OAuth 1.0a (RFC 5849): the header, and what the two token requests answer.

    method, URL, query, form ─┐
    protocol parameters ──────┴▶ base string ─▶ signature ─▶ Authorization: OAuth …
                                 (3.4.1)        (3.4.2-4)    (3.5.1)

The rules of encoding and signing are oauthlib's. Nonce and time are handed in.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlsplit

from keystow.secret import Secret
from keystow.value import Value, field

if TYPE_CHECKING:
    from collections.abc import Mapping

FORM: Final = "application/x-www-form-urlencoded"
NONCE_BYTES: Final = 16
_MOST_FIELDS: Final = 100
_NO_SECRET: Final = Secret("")


class UnusableKey(ValueError):  # noqa: N818 - what it is
    """The client's secret is no private key, or the signature method is not known."""


class Signer(Value):
    """Who signs.

    Attributes:
        client_id: the client's identifier (``oauth_consumer_key``).
        client_secret: its secret; for ``RSA-SHA1`` its private key as PEM text.
        method: ``HMAC-SHA1``, ``HMAC-SHA256``, ``RSA-SHA1`` or ``PLAINTEXT``.
        token: of whoever the request is made for; "" before there is one.
        token_secret: the token's.
        realm: sent along and not signed (3.5.1).
    """

    client_id: str
    client_secret: Secret[str]
    method: str
    token: str = ""
    token_secret: Secret[str] = _NO_SECRET
    realm: str = ""

    def header(
        self,
        method: str,
        url: str,
        *,
        nonce: str,
        timestamp: int,
        content_type: str = "",
        body: bytes | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> str:
        """Return the ``Authorization`` header of a request.

        Args:
            method: HTTP method.
            url: with its query, as it is sent.
            nonce: never used twice with the same timestamp (3.3).
            timestamp: epoch seconds.
            content_type: of the body; the fields of a form are signed, other bodies are not.
            body: as it is sent.
            extra: more protocol parameters, such as ``oauth_callback``.

        Raises:
            UnusableKey: nothing can be signed with what there is.
        """
        from oauthlib.oauth1.rfc5849 import parameters, signature, utils

        sent = {
            "oauth_consumer_key": self.client_id,
            "oauth_nonce": nonce,
            "oauth_signature_method": self.method,
            "oauth_timestamp": str(timestamp),
            "oauth_version": "1.0",
            **({"oauth_token": self.token} if self.token else {}),
            **(extra or {}),
        }
        fields = [*_pairs(urlsplit(url).query), *sent.items()]
        if body and content_type.partition(";")[0].strip().lower() == FORM:
            fields += _pairs(body.decode(errors="replace"))
        text = signature.signature_base_string(
            method,
            signature.base_string_uri(url),
            signature.normalize_parameters(fields),
        )
        sent["oauth_signature"] = self._signature(text)
        realm = utils.escape(self.realm)
        found = parameters.prepare_headers(list(sent.items()), realm=realm)
        return str(found["Authorization"])

    def _signature(self, text: str) -> str:
        from oauthlib.oauth1.rfc5849 import signature

        if self.method == "RSA-SHA1":
            return _rsa_sha1(text, self.client_secret)
        ways = {
            "HMAC-SHA1": signature.sign_hmac_sha1_with_client,
            "HMAC-SHA256": signature.sign_hmac_sha256_with_client,
            "PLAINTEXT": signature.sign_plaintext_with_client,
        }
        if self.method not in ways:
            raise UnusableKey(f"{self.method[:40]} is no known signature method")
        secrets = SimpleNamespace(
            client_secret=self.client_secret.reveal(),
            resource_owner_secret=self.token_secret.reveal(),
        )
        return str(ways[self.method](text, secrets))


def _pairs(encoded: str) -> list[tuple[str, str]]:
    return parse_qsl(encoded, keep_blank_values=True)


def _rsa_sha1(text: str, key: Secret[str]) -> str:
    """Return the signature of 3.4.3. oauthlib would need another library for it."""
    import base64

    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.hashes import SHA1
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        found = load_pem_private_key(key.reveal().encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        found = None
    if not isinstance(found, RSAPrivateKey):
        raise UnusableKey("RSA-SHA1 needs an RSA private key in PEM form as the client's secret")
    return base64.b64encode(found.sign(text.encode(), PKCS1v15(), SHA1())).decode()  # noqa: S303


class Issued(Value):
    """A token with its secret, and everything that came along (2.1, 2.3)."""

    token: str
    secret: Secret[str]
    raw: Secret[dict[str, Any]] = field(default_factory=lambda: Secret({}))


def issued(body: bytes) -> Issued | None:
    """Return the token of an answer's form; None where there is none, or a field comes twice."""
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"
        )
    except ValueError:
        return None
    raw = dict(pairs)
    token, secret = raw.get("oauth_token"), raw.get("oauth_token_secret")
    if not token or secret is None or len(raw) != len(pairs):
        return None
    return Issued(token, Secret(secret), Secret(raw))
