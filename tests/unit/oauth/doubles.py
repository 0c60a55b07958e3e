"""An egress that answers from a list, and entries made up for one test."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from keystow.catalog.loader import Provider
from keystow.egress.client import Answer
from keystow.oauth.token_endpoint import OAuthClient
from keystow.secret import Secret

NOW = 1_700_000_000.0
CLIENT = OAuthClient("the-client", Secret("marked-client-secret"))
PUBLIC_CLIENT = OAuthClient("the-client", Secret(""))


@dataclass
class Sent:
    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None
    options: dict[str, Any]

    @property
    def form(self) -> dict[str, str]:
        pairs = parse_qsl((self.body or b"").decode(), keep_blank_values=True)
        assert len(pairs) == len(dict(pairs)), "a parameter was sent twice"
        return dict(pairs)

    @property
    def json(self) -> Any:
        return json.loads(self.body or b"null")


@dataclass
class FakeEgress:
    """Gives the next answer (or raises it) and remembers what was sent."""

    answers: list[Answer | Exception]
    sent: list[Sent] = field(default_factory=list)

    def send(self, method: str, url: str, *, headers=None, body=None, **options: Any) -> Answer:
        self.sent.append(Sent(method, url, dict(headers or {}), body, options))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def replying(*answers: Answer | Exception) -> FakeEgress:
    return FakeEgress(list(answers))


def json_answer(payload: Any, status: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(
        status, {"content-type": "application/json"} | named, json.dumps(payload).encode()
    )


def text_answer(text: str, status: int = 200, kind: str = "text/html") -> Answer:
    return Answer(status, {"content-type": kind}, text.encode())


def jwt(header: Any = None, **claims: Any) -> str:
    """Return a token that looks signed (RFC 7519)."""
    parts = ({"alg": "RS256", "typ": "at+jwt"} if header is None else header, claims)
    encoded = (urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)
    return ".".join((*encoded, "c2ln"))


def provider(**definition: Any) -> Provider:
    base = {
        "auth_mode": "OAUTH2",
        "authorization_url": "https://auth.example.com/authorize",
        "token_url": "https://auth.example.com/token",
    }
    return Provider("made-up", {**base, **definition})
