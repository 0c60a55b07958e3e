"""RFC 6749 §2.3: how a client proves itself to the token endpoint, as a provider's entry says.

| entry | exchange and refresh | client credentials grant |
|---|---|---|
| nothing | id and secret in the body | the same |
| ``authorization_method: header`` | Basic, form-encoded (§2.3.1), no id in body | the same |
| ``token_request_auth_method: basic`` | raw Basic, besides the above | raw Basic only |
| ``token_request_auth_method: custom`` | — | ``username`` and ``password`` in the body |

Raw Basic besides the body is more than §2.3 allows. It is what the providers with that entry are
known to accept, so it is kept for them and used nowhere else. A client without secret is a public
one: its id stands in the body (§3.2.1) and nothing pretends to be a secret.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

from keystow.oauth.errors import ConfigurationError
from keystow.oauth.redaction import basic_spellings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystow.secret import Secret


@dataclass(frozen=True)
class OAuthClient:
    """The app that was registered with the provider; an empty secret makes it a public client."""

    client_id: str
    client_secret: Secret[str]

    @property
    def is_public(self) -> bool:
        """Whether there is no secret."""
        return not self.client_secret.reveal()

    def secrets(self) -> tuple[str, ...]:
        """Return every spelling in which the secret travels, for redaction only."""
        secret = self.client_secret.reveal()
        return (secret, *basic_spellings(self.client_id, secret)) if secret else ()


@dataclass(frozen=True, repr=False)
class ClientProof:
    """What client authentication adds to a request."""

    headers: Mapping[str, str]
    body: Mapping[str, str]


def for_code_grant(definition: Mapping[str, Any], client: OAuthClient) -> ClientProof:
    """Return the proof for the authorization code and refresh token grants.

    Raises:
        ConfigurationError: the entry asks for a method that is not supported.
    """
    method = _method(definition)
    if client.is_public:
        return ClientProof({}, {"client_id": client.client_id})
    secret = client.client_secret.reveal()
    headers: dict[str, str] = {}
    body: dict[str, str] = {}
    if definition.get("authorization_method") == "header":
        headers["Authorization"] = basic(quote_plus(client.client_id), quote_plus(secret))
    else:
        body = {"client_id": client.client_id, "client_secret": secret}
    if method == "basic":
        headers["Authorization"] = basic(client.client_id, secret)
    return ClientProof(headers, body)


def for_client_credentials(definition: Mapping[str, Any], client: OAuthClient) -> ClientProof:
    """Return the proof for the client credentials grant (one method only, contract 9.7).

    Raises:
        ConfigurationError: the entry asks for a method that is not supported.
    """
    method = _method(definition)
    secret = client.client_secret.reveal()
    if method == "basic":
        # With an empty secret too: there the id is an API key, and Basic its envelope.
        return ClientProof({"Authorization": basic(client.client_id, secret)}, {})
    if definition.get("authorization_method") == "header":
        encoded = basic(quote_plus(client.client_id), quote_plus(secret))
        return ClientProof({"Authorization": encoded}, {})
    if method == "custom":
        return ClientProof({}, {"username": client.client_id, "password": secret})
    body = {"client_id": client.client_id}
    return ClientProof({}, body if client.is_public else {**body, "client_secret": secret})


def basic(username: str, password: str) -> str:
    """Return the value of an HTTP Basic header (RFC 7617)."""
    return "Basic " + b64encode(f"{username}:{password}".encode()).decode("ascii")


def _method(definition: Mapping[str, Any]) -> str:
    method = definition.get("token_request_auth_method") or ""
    if method not in ("", "basic", "body", "custom"):
        raise ConfigurationError(
            "unsupported_client_authentication",
            f"client authentication by {method} is not supported yet",
        )
    if definition.get("require_client_certificate"):
        raise ConfigurationError(
            "unsupported_client_authentication",
            "client authentication by certificate (mutual TLS) is not supported yet",
        )
    return str(method)
