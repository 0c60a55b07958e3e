"""BILL: a login that brings a session of 35 minutes, against a server that checks every byte."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keystow.catalog import loader
from keystow.catalog.proxy_request import build_request
from keystow.clock import iso
from keystow.egress.client import Answer
from keystow.egress.errors import EgressFailed
from keystow.modes.calling import caller_of
from keystow.records.connection import Sealed
from keystow.secret import Secret
from tests.integration.modes.typed_room import Room
from tests.support import Outside, Sent, json_answer

LOGIN = {"username": "ada", "password": " pw ", "organization_id": "org1", "dev_key": "dev-1234"}
MINUTE = 60


class Bank(Outside):
    """Knows one login; each session is another."""

    def __init__(self) -> None:
        self.sessions = 0
        self.password = " pw "
        self.fault: Any = None

    def answer_to(self, sent: Sent) -> Answer:
        if self.fault is not None:
            if isinstance(self.fault, BaseException):
                raise self.fault
            return self.fault  # type: ignore[no-any-return]
        assert (sent.method, sent.url) == ("POST", "https://gateway.prod.bill.com/connect/v3/login")
        assert sent.headers == {
            "content-type": "application/json",
            "accept": "application/json",
            "user-agent": "Keystow",
        }
        assert json.loads(sent.body).keys() == {"username", "password", "organizationId", "devKey"}
        wanted = {
            "username": "ada",
            "password": self.password,
            "organizationId": "org1",
            "devKey": "dev-1234",
        }
        if sent.json() != wanted:
            return json_answer(401, [{"code": "BDC_1102", "message": "Invalid login: ' pw '"}])
        self.sessions += 1
        return json_answer(
            200,
            {"sessionId": f"s-{self.sessions}", "userId": "u-1", "organizationId": "org1"},
        )


@pytest.fixture
def bank() -> Bank:
    return Bank()


@pytest.fixture
def room(bank: Bank) -> Room:
    return Room(bank, "auth/bill", "bill")


def test_a_login_is_tried_and_read_in_the_contracts_shape(room: Room) -> None:
    made = room.connected(LOGIN)
    assert room.credentials(made) == {
        "type": "BILL",
        **LOGIN,
        "raw": {"sessionId": "s-1", "userId": "u-1", "organizationId": "org1"},
        "session_id": "s-1",
        "user_id": "u-1",
        "expires_at": iso(room.ctx.clock.now() + 35 * MINUTE),
    }


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (None, "bill_tokens_fetch_error"),
        (json_answer(200, {"sessionId": ""}), "invalid_bill_credentials"),
        (Answer(502, {}, b"<html>"), "bill_tokens_fetch_error"),
        (EgressFailed("timeout", sent=True), "bill_tokens_fetch_error"),
    ],
)
def test_a_wrong_login_is_a_4xx_that_stores_and_tells_nothing(
    room: Room, bank: Bank, fault: Any, code: str
) -> None:
    bank.fault = fault
    found = room.submit({**LOGIN, "password": "wrong-one"})
    assert (found.status, found.code) == (400, code)
    assert found.json()["error"]["payload"] == {}
    assert room.stored() == []
    assert room.told("creation") == []
    assert b"wrong-one" not in found.body


@pytest.mark.parametrize("missing", LOGIN)
def test_each_field_is_needed(room: Room, missing: str) -> None:
    found = room.submit({name: value for name, value in LOGIN.items() if name != missing})
    assert (found.status, found.code) == (400, "invalid_body")
    assert found.issues == [("invalid_type", [missing])]
    assert room.submit({**LOGIN, "other": "x"}).code == "invalid_body"


def test_a_session_is_renewed_on_schedule_and_on_read(room: Room, bank: Bank) -> None:
    made = room.connected(LOGIN)
    room.ctx.clock.advance(28 * MINUTE)
    room.swept()
    assert bank.sessions == 2
    assert room.credentials(made)["session_id"] == "s-2"
    room.ctx.clock.advance(36 * MINUTE)
    assert room.credentials(made)["session_id"] == "s-3"


def test_a_changed_password_is_told_once_and_mended_by_a_reconnect(room: Room, bank: Bank) -> None:
    made = room.connected(LOGIN)
    bank.password = "new"
    room.ctx.clock.advance(36 * MINUTE)
    for _ in range(3):
        assert room.get(made).status in {400, 424}
        room.ctx.clock.advance(3 * 3_600)
        room.swept()
    assert len(room.told("refresh")) == 1
    again = room.submit({**LOGIN, "password": "new"}, token=room.reconnecting(made))
    assert again.status == 200, again.body
    assert room.credentials(made)["password"] == "new"
    room.deleted(made)


def test_an_import_needs_no_session_and_keeps_one(room: Room, bank: Bank) -> None:
    made = room.imported({"type": "BILL", **LOGIN})
    assert made.status == 201, made.body
    assert made.json()["credentials"]["session_id"] == "s-1"
    kept = room.imported({"type": "BILL", **LOGIN, "session_id": "mine", "user_id": "u"})
    assert kept.status == 201, kept.body
    assert room.credentials("imported")["session_id"] == "mine"
    assert bank.sessions == 1
    refused = room.imported({"type": "BILL", **LOGIN, "password": "x"})
    assert (refused.status, refused.code) == (400, "bill_tokens_fetch_error")


def test_calls_carry_the_session_and_the_developers_key(room: Room) -> None:
    held = {"type": "BILL", **LOGIN, "session_id": "s-9"}
    provider = loader.built_in("bill")
    assert provider is not None
    integration: Any = type("I", (), {"client_id": None})()
    caller = caller_of(room.ctx, integration, provider, Sealed(Secret(held), Secret({})))
    sent = build_request(caller, "GET", "/v3/bills")
    assert sent.headers == {"devkey": "dev-1234", "sessionid": "s-9"}
