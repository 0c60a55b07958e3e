"""A provider's token endpoint in memory: rotates tokens, detects reuse, fails at will."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

from keystow.egress.client import Answer
from keystow.egress.errors import EgressFailed
from tests.support import Outside, Sent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DEFINITION: dict[str, Any] = {
    "display_name": "Rotating",
    "categories": ["dev-tools"],
    "auth_mode": "OAUTH2",
    "authorization_url": "https://rotating.example/authorize",
    "token_url": "https://rotating.example/token",
    "revocation_url": "https://rotating.example/revoke",
    "issuer": "https://rotating.example",
    "docs": "https://rotating.example/docs",
    "proxy": {"base_url": "https://rotating.example/api"},
}


class AuthorizationServer(Outside):
    """Stands in for egress in tests; every token request is kept in ``requests``.

    ``fault`` is called with the request's number before anything happens and may raise or return an
    answer of its own; ``fault_after`` likewise after rotation. What is asked of the provider's API
    is kept in ``calls``, and answered by ``api``.
    """

    def __init__(self, *, life: int | None = 3600) -> None:
        self.life = life
        self.requests: list[dict[str, str]] = []
        self.revoked: list[str] = []
        self.issued = 0
        self.family_dead = False
        self.fault: Callable[[int], Answer | None] | None = None
        self.fault_after: Callable[[int], Answer | None] | None = None
        self.extra: dict[str, Any] = {}
        self.introspections: list[Sent] = []
        self.introspection: Callable[[], Answer] = lambda: answer(404, {})
        self.calls: list[Sent] = []
        self.api: Callable[[Sent], Answer] = lambda _sent: answer(200, {})
        self.in_flight = 0
        self.most_in_flight = 0
        self._current = "rt-0"
        self._lock = threading.Lock()

    def answer_to(self, sent: Sent) -> Answer:
        """Answer like the provider."""
        form = sent.form()
        if sent.url.endswith("/revoke"):
            self.revoked.append(form["token"])
            return answer(200, {})
        if sent.url.endswith("/introspect"):
            self.introspections.append(sent)
            return self.introspection()
        if "/api/" in sent.url:
            self.calls.append(sent)
            return self.api(sent)
        assert sent.url.endswith("/token"), sent
        with self._lock:
            self.requests.append(form)
            number = len(self.requests)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return self._answer(form, number)
        finally:
            with self._lock:
                self.in_flight -= 1

    def _answer(self, form: dict[str, str], number: int) -> Answer:
        if self.fault is not None and (early := self.fault(number)) is not None:
            return early
        with self._lock:
            stale = form.get("refresh_token") != self._current
            if form["grant_type"] == "refresh_token" and (self.family_dead or stale):
                self.family_dead = True
                return answer(400, {"error": "invalid_grant"})
            self.issued += 1
            self._current = f"rt-{self.issued}"
            body = {
                "access_token": f"at-{self.issued}",
                "refresh_token": self._current,
                "token_type": "bearer",
                **({} if self.life is None else {"expires_in": self.life}),
                **self.extra,
            }
        if self.fault_after is not None and (late := self.fault_after(number)) is not None:
            return late
        return answer(200, body)


def answer(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """Return a JSON answer."""
    given = {"content-type": "application/json", **(headers or {})}
    return Answer(status, given, json.dumps(body).encode())


def lost(_number: int) -> Answer:
    """The answer never arrives."""
    raise EgressFailed("lost", sent=True)


def unreachable(_number: int) -> Answer:
    """Nothing was sent."""
    raise EgressFailed("connect", sent=False)
