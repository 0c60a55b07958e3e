"""The proxy sends a token that works: renewed before it is over, and once when it is refused."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from keystow.egress.client import Answer
from keystow.environments import keys
from keystow.refresh import lease
from keystow.store import Put
from keystow.vault.kms import KmsError
from tests.authorization_server import answer
from tests.integration.connections.world import Refreshing
from tests.support import StoppedClock, run_in_parallel

if TYPE_CHECKING:
    from tests.app import Result
    from tests.support import Sent

GIVEN = {"provider-config-key": "rot", "connection-id": "c1"}


class Waiting(StoppedClock):
    """A clock that stands still: who waits lets the others go on, however often."""

    others = threading.Event()

    def sleep(self, seconds: float) -> None:
        del seconds
        self.others.wait(0.001)


def world(*, expires_in: float) -> Refreshing:
    return Refreshing(expires_in=expires_in)


def used(made: Refreshing, method: str = "GET", **headers: str) -> Result:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return made.app.call(method, "/proxy/me", headers={**GIVEN, **given})


def tokens(made: Refreshing) -> list[str]:
    return [sent.headers["authorization"].removeprefix("Bearer ") for sent in made.provider.calls]


def only(token: str) -> Any:
    """What takes one token."""

    def api(sent: Sent) -> Any:
        good = sent.headers.get("authorization") == f"Bearer {token}"
        return answer(200 if good else 401, {"taken": good})

    return api


def test_a_token_that_is_over_is_renewed_first() -> None:
    made = world(expires_in=-60)
    assert used(made).status == 200
    assert tokens(made) == ["at-1"]


def test_a_token_with_time_left_is_sent_as_it_is() -> None:
    made = world(expires_in=3_600)
    assert used(made).status == 200
    assert tokens(made) == ["at-0"]
    assert made.provider.requests == []


def test_a_refused_token_is_renewed_once_and_the_request_sent_again() -> None:
    made = world(expires_in=3_600)
    made.provider.api = only("at-1")
    found = used(made, "POST")
    assert (found.status, found.json()) == (200, {"taken": True})
    assert tokens(made) == ["at-0", "at-1"]
    assert len(made.provider.requests) == 1
    assert made.token() == "at-1"


def test_a_renewed_token_goes_only_where_its_own_connection_leads() -> None:
    made = world(expires_in=3_600)
    definition = made.app.get("/providers/rotating").json()["data"]
    definition["proxy"] = {"base_url": "https://${connectionConfig.team}.rotating.example/api"}
    pattern = {"type": "string", "title": "Team", "pattern": "^[a-z]+$"}
    definition["connection_config"] = {"team": pattern}
    assert made.app.put("/providers/rotating", definition).status == 200
    credentials = {"type": "OAUTH2", "access_token": "at-0", "refresh_token": "rt-0"}
    body = {"provider_config_key": "rot", "connection_id": "c1", "credentials": credentials}

    def connected(team: str, token: str) -> None:
        again = {**body, "connection_config": {"team": team}}
        again["credentials"] = {**credentials, "access_token": token}
        assert made.app.post("/connections", again).status in {200, 201}

    def replaced(_sent: Sent) -> Any:
        connected("red", "at-9")
        return answer(401, {})

    connected("blue", "at-0")
    made.provider.api = replaced
    _key, text, writes = keys.new_key(made.ctx, "env1", "scoped", ("environment:proxy",))
    made.ctx.store.transact(list(writes))
    given = {**GIVEN, "base-url-override": "https://blue.rotating.example/api"}
    found = made.app.get("/proxy/me", headers=given, key=text.reveal())
    assert (found.status, found.code) == (400, "base_url_override_not_allowed")
    assert tokens(made) == ["at-0"]


def test_a_provider_that_refuses_every_token_is_believed() -> None:
    made = world(expires_in=3_600)
    made.provider.api = only("none")
    found = used(made)
    assert (found.status, found.json()) == (401, {"taken": False})
    assert tokens(made) == ["at-0", "at-1"]
    # Within seconds no other renewal is begun for it.
    assert used(made).status == 401
    assert len(made.provider.requests) == 1
    made.ctx.clock.advance(11)
    assert used(made).status == 401
    assert len(made.provider.requests) == 2


def test_retries_do_not_renew_again() -> None:
    made = world(expires_in=3_600)
    made.provider.api = only("none")
    assert used(made, retries="2").status == 401
    assert tokens(made) == ["at-0", "at-1", "at-1", "at-1"]
    assert len(made.provider.requests) == 1


def test_the_refusal_of_the_callers_own_header_renews_nothing() -> None:
    made = world(expires_in=3_600)
    made.provider.api = only("none")
    assert used(made, nango_proxy_authorization="Bearer mine").status == 401
    assert made.provider.requests == []


def test_the_refusal_of_a_host_that_got_no_credential_renews_nothing() -> None:
    made = world(expires_in=3_600)
    made.provider.api = lambda _sent: Answer(401, {}, b"", (), elsewhere=True)
    assert used(made).status == 401
    assert made.provider.requests == []


def test_a_refusal_stays_one_when_renewing_fails() -> None:
    made = world(expires_in=3_600)
    made.provider.api = only("none")
    made.provider.fault = lambda _number: answer(400, {"error": "invalid_grant"})
    found = used(made)
    assert (found.status, found.json()) == (401, {"taken": False})
    assert made.secret().failure is not None


def test_a_late_refusal_is_passed_on_since_there_is_no_time_to_renew() -> None:
    made = world(expires_in=3_600)

    def slow(_sent: Sent) -> Any:
        made.ctx.clock.advance(7)
        return answer(401, {})

    made.provider.api = slow
    assert used(made).status == 401
    assert made.provider.requests == []


def test_keys_that_cannot_be_renewed_are_refused_at_once() -> None:
    made = world(expires_in=3_600)
    made.imported("c2")

    class Refusing:
        def send(self, *_: Any, **__: Any) -> Any:
            return answer(401, {})

    made.ctx.egress = Refusing()
    given = {"provider-config-key": "pat", "connection-id": "c2"}
    assert made.app.get("/proxy/x", headers=given).status == 401


def test_many_calls_with_a_dead_token_renew_it_once() -> None:
    made = Refreshing(expires_in=-60, clock=Waiting())
    results = run_in_parallel(8, lambda _place: used(made).status)
    assert set(results) == {200}
    assert len(made.provider.requests) == 1
    assert set(tokens(made)) == {"at-1"}


def test_a_grant_that_is_dead_is_told_as_clients_know_it() -> None:
    made = world(expires_in=-60)
    made.provider.fault = lambda _number: answer(400, {"error": "invalid_grant"})
    found = used(made)
    assert (found.status, found.code) == (400, "server_error")
    assert "payload" not in found.json()["error"]
    again = used(made)
    assert (again.status, again.code) == (424, "connection_refresh_backoff")
    assert made.provider.calls == []


def test_a_token_that_is_being_renewed_is_waited_for_no_longer_than_there_is_time() -> None:
    made = world(expires_in=-60)
    secret = made.secret()
    claimed = lease.claim(made.ctx, secret, forced=False)
    assert isinstance(claimed, lease.Claimed)
    began = made.ctx.clock.now()
    found = used(made)
    assert (found.status, found.code) == (503, "refresh_in_progress")
    assert found.headers["retry-after"]
    assert made.ctx.clock.now() - began < 30


def test_a_credential_that_does_not_open_is_told_without_a_secret() -> None:
    made = world(expires_in=3_600)
    item = made.ctx.store.get(made.secret().key)
    made.ctx.store.put(Put(made.secret().key, {**item, "sealed": {**item["sealed"], "c": b"x"}}))
    found = used(made)
    assert (found.status, found.code) == (424, "server_error")
    assert made.provider.calls == []


@pytest.mark.parametrize("status", [200, 401])
def test_while_kms_is_away_a_valid_token_is_sent(status: int) -> None:
    made = world(expires_in=3_600)
    assert used(made).status == 200
    made.ctx.kms.failure = KmsError("ThrottlingException")
    made.provider.api = lambda _sent: answer(status, {})
    assert used(made).status == status
