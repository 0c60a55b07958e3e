"""A provider of OAuth 1.0a: Authlib's server, which checks every signature and nonce itself."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

from authlib.oauth1 import AuthorizationServer as Base
from authlib.oauth1 import OAuth1Request, ResourceProtector, TemporaryCredential
from authlib.oauth1.errors import OAuth1Error
from authlib.oauth1.rfc5849.signature import generate_signature_base_string
from authlib.oauth1.rfc5849.util import escape

from keystow.egress.client import Answer
from tests.support import Outside, Sent

if TYPE_CHECKING:
    from collections.abc import Callable

METHODS = ["HMAC-SHA1", "HMAC-SHA256", "RSA-SHA1", "PLAINTEXT"]
HOST = "https://signed.example"
FORM = {"content-type": "application/x-www-form-urlencoded"}


def _verify_hmac_sha256(request: Any) -> bool:
    key = f"{escape(request.client_secret)}&{escape(request.token_secret or '')}"
    text = generate_signature_base_string(request)
    made = hmac.new(key.encode(), text.encode(), hashlib.sha256).digest()
    return hmac.compare_digest(base64.b64encode(made).decode(), request.signature)


@dataclass
class Client:
    """The app at the provider."""

    client_id: str
    secret: str
    public_key: str = ""

    def get_client_secret(self) -> str:
        return self.secret

    def get_rsa_public_key(self) -> str:
        return self.public_key


@dataclass
class Token:
    """A token of one account."""

    token: str
    secret: str

    def get_oauth_token(self) -> str:
        return self.token

    def get_oauth_token_secret(self) -> str:
        return self.secret


class _Kept:
    """What both halves of the provider know."""

    SUPPORTED_SIGNATURE_METHODS = METHODS
    EXPIRY_TIME = 0  # the clock of a test stands still

    def __init__(self, provider: Provider) -> None:
        self.provider = provider

    def get_client_by_id(self, client_id: str) -> Client | None:
        found = self.provider.client
        return found if found.client_id == client_id else None

    def exists_nonce(self, nonce: str, request: Any) -> bool:
        key = (nonce, request.timestamp, request.token)
        seen = key in self.provider.nonces
        self.provider.nonces.add(key)
        return seen


class _Tokens(_Kept, Base):
    def create_oauth1_request(self, request: OAuth1Request) -> OAuth1Request:
        return request

    def handle_response(self, status: int, payload: Any, headers: Any) -> Answer:
        body = urlencode(payload) if payload else ""
        if body and self.provider.more and status == 200:
            body += "&" + urlencode(self.provider.more)
        return Answer(status, {name.lower(): text for name, text in headers}, body.encode())

    def create_temporary_credential(self, request: OAuth1Request) -> TemporaryCredential:
        number = len(self.provider.temporary)
        made = TemporaryCredential(
            oauth_token=f"request/{number}",
            oauth_token_secret=f"request secret+{number}",
            client_id=request.client_id,
            oauth_callback=request.redirect_uri,
        )
        self.provider.temporary[made["oauth_token"]] = made
        return made

    def get_temporary_credential(self, request: OAuth1Request) -> TemporaryCredential | None:
        return self.provider.temporary.get(request.token)

    def delete_temporary_credential(self, request: OAuth1Request) -> None:
        self.provider.temporary.pop(request.token, None)

    def create_authorization_verifier(self, request: OAuth1Request) -> str:
        request.credential["oauth_verifier"] = "verified"
        return "verified"

    def create_token_credential(self, request: OAuth1Request) -> Token:
        made = Token(f"token/{len(self.provider.tokens)}", "token secret+/=&")
        self.provider.tokens[made.token] = made
        return made


class _Api(_Kept, ResourceProtector):
    def get_token_credential(self, request: OAuth1Request) -> Token | None:
        return self.provider.tokens.get(request.token)


for _half in (_Tokens, _Api):
    _half.register_signature_method("HMAC-SHA256", _verify_hmac_sha256)


@dataclass
class Provider(Outside):
    """What answers for the internet; every request stands in ``sent``.

    ``more`` are further fields of its tokens' answers; ``fault`` answers in its place.
    """

    client: Client
    temporary: dict[str, Any] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    nonces: set[Any] = field(default_factory=set)
    more: dict[str, str] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    fault: Callable[[Sent], Answer | None] | None = None

    def answer_to(self, sent: Sent) -> Answer:
        """Answer as the provider does."""
        self.sent.append(sent)
        found = self.fault(sent) if self.fault else None
        if found is not None:
            return found
        place = urlsplit(sent.url).path
        server = _Tokens(self)
        if place == "/request":
            return server.create_temporary_credentials_response(_request(sent))
        if place == "/access":
            return server.create_token_response(_request(sent))
        try:
            _api_request = _request(sent)
            _Api(self).validate_request(
                sent.method, sent.url, _body(sent), dict(_api_request.headers)
            )
        except OAuth1Error as error:
            return Answer(401, {}, str(error).encode())
        return Answer(200, {"content-type": "application/json"}, b'{"login": "ada"}')

    def approved(self, location: str) -> dict[str, str]:
        """Say yes on the page that a browser was sent to; return what it brings back."""
        back = self._decided(location, grant_user="ada")
        return {name: values[0] for name, values in back.items()}

    def _decided(self, location: str, grant_user: Any) -> dict[str, list[str]]:
        request = OAuth1Request("GET", location, None, {})
        answer = _Tokens(self).create_authorization_response(request, grant_user)
        return parse_qs(urlsplit(answer.headers["location"]).query)


def _body(sent: Sent) -> str:
    return sent.body.decode() if sent.headers.get("content-type") == FORM["content-type"] else ""


def _request(sent: Sent) -> OAuth1Request:
    headers = {"Authorization": sent.headers.get("authorization", "")}
    if "content-type" in sent.headers:
        headers["Content-Type"] = sent.headers["content-type"]
    return OAuth1Request(sent.method, sent.url, _body(sent), headers)
