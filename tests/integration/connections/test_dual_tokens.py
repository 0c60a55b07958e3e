"""Two grants in one connection: the app's and, beside it, the one of who installed it."""

from __future__ import annotations

from typing import Any

import pytest

from keystow.egress.client import Answer
from keystow.egress.errors import EgressFailed
from keystow.refresh import sweep
from tests.authorization_server import answer
from tests.integration.authorization.popup import make_world
from tests.integration.connections.world import World
from tests.support import Outside, Sent

ENTRY = {
    "display_name": "Dual",
    "categories": ["dev-tools"],
    "auth_mode": "OAUTH2",
    "authorization_url": "https://dual.example/authorize",
    "token_url": "https://dual.example/token",
    "revocation_url": "https://dual.example/revoke",
    "alternate_access_token_response_path": "authed_user",
    "dual_tokens": True,
    "token_success": {"path": "ok", "equals": True},
    "token_error_path": "error",
    "proxy": {"base_url": "https://dual.example/api"},
}
HALF_A_DAY = 43_200


class DualProvider(Outside):
    """Rotates two families of tokens, each refresh token once; refuses what is used up."""

    def __init__(self) -> None:
        self.life: dict[str, int | None] = {"app": HALF_A_DAY, "user": HALF_A_DAY}
        self.issued = {"app": 0, "user": 0}
        self.current = {"app": "app-r0", "user": "user-r0"}
        self.asked: list[str] = []
        self.revoked: list[str] = []
        self.fault: dict[str, Any] = {}
        self.nested = False
        self.seconds = 0.0
        self.clock: Any = None

    def tokens(self, family: str) -> dict[str, Any]:
        self.issued[family] += 1
        number = self.issued[family]
        self.current[family] = f"{family}-r{number}"
        return {
            "access_token": f"{family}-a{number}",
            "refresh_token": self.current[family],
            "expires_in": self.life[family],
        }

    def answer_to(self, sent: Sent) -> Answer:
        form = sent.form()
        if sent.url.endswith("/revoke"):
            self.revoked.append(form["token"])
            return answer(200, {"ok": True})
        if self.clock is not None:
            self.clock.advance(self.seconds)
        if form["grant_type"] == "authorization_code":
            user = {"id": "U1", "scope": "search", **self.tokens("user")}
            return answer(200, {"ok": True, **self.tokens("app"), "authed_user": user})
        given = form["refresh_token"]
        family = given.partition("-")[0]
        self.asked.append(given)
        if family in self.fault:
            fault = self.fault[family]
            if isinstance(fault, Exception):
                raise fault
            return answer(*fault)
        if given != self.current[family]:
            return answer(200, {"ok": False, "error": "invalid_refresh_token"})
        made = self.tokens(family)
        if family == "user" and self.nested:
            return answer(200, {"ok": True, "authed_user": {"id": "U1", **made}})
        return answer(200, {"ok": True, "token_type": family, **made})


class Dual(World):
    """A world with one connection, ``c1``, of two grants whose tokens are over."""

    def __init__(self, raw: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.dual = DualProvider()
        self.ctx.egress = self.dual
        self.dual.clock = self.ctx.clock
        assert self.app.put("/providers/dual", ENTRY).status == 201
        client = {"type": "OAUTH2", "client_id": "id", "client_secret": "app-secret"}
        self.integration("dual", "dual", credentials=client)
        user = {"id": "U1", "access_token": "user-a0", "refresh_token": "user-r0"}
        flat = {
            "provider_config_key": "dual",
            "connection_id": "c1",
            "access_token": "app-a0",
            "refresh_token": "app-r0",
            "expires_in": 0,
            "raw": {"ok": True, "authed_user": user} if raw is None else raw,
        }
        assert self.app.post("/connection", flat).status == 201

    def credentials(self, query: str = "") -> dict[str, Any]:
        found = self.app.get(f"/connections/c1?provider_config_key=dual&refresh_token=true{query}")
        assert found.status == 200, found.body
        return dict(found.json()["credentials"])


def test_both_tokens_are_renewed_and_stored_together() -> None:
    world = Dual()
    found = world.credentials()
    user = found["raw"]["authed_user"]
    assert (found["access_token"], found["refresh_token"]) == ("app-a1", "app-r1")
    assert (user["access_token"], user["refresh_token"]) == ("user-a1", "user-r1")
    assert user["id"] == "U1"
    for _round in range(3):
        world.ctx.clock.advance(HALF_A_DAY)
        found = world.credentials()
    assert found["access_token"] == "app-a4"
    assert found["raw"]["authed_user"]["access_token"] == "user-a4"
    assert world.dual.asked == [f"{f}-r{n}" for n in range(4) for f in ("app", "user")]


def test_the_second_token_may_be_answered_where_it_stood_at_first() -> None:
    world = Dual()
    world.dual.nested = True
    assert world.credentials()["raw"]["authed_user"]["access_token"] == "user-a1"


def test_a_connection_is_renewed_when_the_first_of_its_tokens_ends() -> None:
    world = Dual()
    world.dual.life["user"] = 3_600
    world.credentials()
    world.ctx.clock.advance(3_600)
    assert world.credentials()["raw"]["authed_user"]["access_token"] == "user-a2"


@pytest.mark.parametrize(
    "fault",
    [(500, {}), (200, {"hello": 1}), (429, {}), EgressFailed("lost", sent=True), ValueError("x")],
)
def test_trouble_with_the_second_token_never_costs_the_first(fault) -> None:
    world = Dual()
    world.dual.fault["user"] = fault
    found = world.credentials()
    assert (found["access_token"], found["refresh_token"]) == ("app-a1", "app-r1")
    assert found["raw"]["authed_user"]["refresh_token"] == "user-r0"
    assert world.secret().lease_until is None

    world.dual.fault.clear()
    world.ctx.clock.advance(1_800)
    assert sweep.sweep(world.ctx) == 1
    assert world.work() == []
    assert world.credentials()["raw"]["authed_user"]["access_token"] == "user-a1"


def test_a_second_grant_that_is_dead_is_told_once_and_left_alone() -> None:
    world = Dual()
    world.dual.fault["user"] = (200, {"ok": False, "error": "token_revoked"})
    found = world.credentials()
    assert found["access_token"] == "app-a1"
    assert "refresh_token" not in found["raw"]["authed_user"]
    log = world.app.get("/activity?connection_id=c1").json()["data"][0]
    (message,) = world.app.get(f"/activity/{log['id']}").json()["data"]["messages"]
    assert (message["level"], "(token_revoked)" in message["message"]) == ("warn", True)
    world.ctx.clock.advance(HALF_A_DAY)
    assert world.credentials()["access_token"] == "app-a2"
    assert world.dual.asked == ["app-r0", "user-r0", "app-r1"]


def test_a_dead_first_grant_is_the_end_of_the_connection() -> None:
    world = Dual()
    world.dual.fault["app"] = (200, {"ok": False, "error": "token_revoked"})
    assert world.read("c1", "dual").status == 400
    assert world.dual.asked == ["app-r0"]


def test_the_second_token_waits_when_the_first_has_used_the_time_up() -> None:
    world = Dual()
    world.dual.seconds = 17.0
    found = world.credentials()
    assert found["access_token"] == "app-a1"
    assert found["raw"]["authed_user"]["access_token"] == "user-a0"
    assert world.dual.asked == ["app-r0"]
    world.dual.seconds = 0.0
    world.ctx.clock.advance(1_800)
    sweep.sweep(world.ctx)
    world.work()
    assert world.credentials()["raw"]["authed_user"]["access_token"] == "user-a1"


@pytest.mark.parametrize(("life", "seconds"), [(600, 450), (None, 1_800), (86_400, 1_800)])
def test_a_second_token_that_is_tried_again_never_delays_the_first(
    life: int | None, seconds: int
) -> None:
    world = Dual()
    world.dual.life["app"] = life
    world.dual.fault["user"] = (500, {})
    world.credentials()
    secret = world.secret()
    assert secret.due_at is not None
    assert 0.95 * seconds <= secret.due_at / 1000 - world.ctx.clock.now() <= seconds


def test_a_grant_of_the_user_alone_has_one_token_in_both_places() -> None:
    user = {"id": "U1", "access_token": "app-a0", "refresh_token": "app-r0"}
    world = Dual({"ok": True, "authed_user": user})
    found = world.credentials()
    assert found["access_token"] == found["raw"]["authed_user"]["access_token"] == "app-a1"
    assert found["refresh_token"] == found["raw"]["authed_user"]["refresh_token"] == "app-r1"
    assert world.dual.asked == ["app-r0"]


@pytest.mark.parametrize("raw", [{}, {"authed_user": 5}, {"authed_user": {"access_token": 5}}])
def test_a_connection_without_a_second_token_is_renewed_like_any(raw) -> None:
    world = Dual(raw)
    assert world.credentials()["access_token"] == "app-a1"
    assert world.dual.asked == ["app-r0"]


def test_both_tokens_are_revoked_with_their_connection() -> None:
    world = Dual()
    assert world.app.delete("/connections/c1?provider_config_key=dual").status == 200
    assert world.dual.revoked == ["user-r0", "app-r0"]


def test_a_new_connection_ends_with_the_first_of_its_tokens() -> None:
    world = make_world(ENTRY)
    world.ctx.egress = dual = DualProvider()
    dual.life["user"] = 600
    found = world.read(world.connected()).json()["credentials"]
    assert found["access_token"] == "app-a1"
    assert found["raw"]["authed_user"]["access_token"] == "user-a1"
    world.ctx.clock.advance(600)
    (connection,) = world.connections()
    found = world.read(connection["connection_id"]).json()["credentials"]
    assert found["raw"]["authed_user"]["access_token"] == "user-a2"
