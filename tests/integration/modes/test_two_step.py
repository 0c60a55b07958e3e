"""TWO_STEP: tokens that requests of an entry's own bring, against servers that check every byte."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

import jwt as other
import pytest

from keystow.catalog import loader
from keystow.catalog.loader import Provider
from keystow.catalog.proxy_request import build_request
from keystow.clock import iso
from keystow.egress.client import Answer
from keystow.egress.errors import EgressFailed
from keystow.modes.calling import caller_of
from keystow.records.connection import Sealed
from keystow.secret import Secret
from tests.integration.modes.test_jwt import PAIR, decoded, pem_of
from tests.integration.modes.typed_room import KEY, Room
from tests.support import FakeEgress, Sent, json_answer

HOUR = 3_600
PATH = "auth/two-step"
LOGIN: dict[str, Any] = {
    "display_name": "Login",
    "auth_mode": "TWO_STEP",
    "token_url": "https://login.example/session?tenant=${credentials.team}",
    "token_headers": {"x-client": "${connectionConfig.client}"},
    "token_params": {
        "user": "${credentials.username}",
        "nested": {"password": "${credentials.password}", "otp": "${credentials.otp}"},
        "remember": True,
    },
    "token_response": {
        "token": "data.tokens[0].value",
        "refresh_token": "data.renewal",
        "token_expiration": "data.seconds",
        "token_expiration_strategy": "expireIn",
    },
    "refresh_url": "https://login.example/renew",
    "refresh_token_params": {"renewal": "${refresh_token}"},
    "refresh_token_headers": {"authorization": "Bearer ${accessToken}"},
    "token_response_metadata": ["data.region"],
    "proxy": {"base_url": "https://api.login.example"},
    "connection_config": {"client": {"title": "Client"}},
    "credentials": {
        "team": {"title": "Team"},
        "username": {"title": "User"},
        "password": {"title": "Password", "secret": True},
        "otp": {"title": "Code", "optional": True},
    },
}
TYPED = {"type": "TWO_STEP", "team": "a&b", "username": "ada", "password": " pw "}
CLIENT = {"params[client]": "web"}


def granted(number: int, **more: Any) -> Answer:
    tokens = [{"value": f"t-{number}"}]
    data = {"tokens": tokens, "renewal": f"r-{number}", "seconds": HOUR, "region": "eu", **more}
    return json_answer(200, {"data": data})


def is_login(sent: Sent) -> None:
    assert (sent.method, sent.url) == ("POST", "https://login.example/session?tenant=a%26b")
    assert sent.headers == {
        "user-agent": "Keystow",
        "accept": "application/json",
        "content-type": "application/json",
        "x-client": "web",
    }
    assert sent.body == b'{"user":"ada","nested":{"password":" pw "},"remember":true}'


def is_renewal(sent: Sent, number: int) -> None:
    assert (sent.method, sent.url) == ("POST", "https://login.example/renew")
    assert sent.headers["authorization"] == f"Bearer t-{number}"
    assert sent.json() == {"renewal": f"r-{number}"}


def room_of(definition: Any, *answers: Any, **integration: Any) -> tuple[Room, FakeEgress]:
    web = FakeEgress(*answers)
    return Room(web, PATH, definition, **integration), web


def headers_of(provider: Provider, held: dict[str, Any], config: Any = None) -> dict[str, str]:
    """Return what a call of the provider's API carries."""
    room, _ = room_of(LOGIN)
    integration: Any = type("I", (), {"client_id": None})()
    sealed = Sealed(Secret({"type": "TWO_STEP", **held}), Secret(config or {}))
    caller = caller_of(room.ctx, integration, provider, sealed)
    return dict(build_request(caller, "GET", "/x").headers)


def test_a_login_is_sent_to_the_byte_and_read_in_the_contracts_shape() -> None:
    room, web = room_of(LOGIN, granted(1))
    made = room.connected(TYPED, **CLIENT)
    is_login(web.sent[0])
    found = room.read(made, refresh_token="true")
    assert found["credentials"] == {
        **TYPED,
        "token": "t-1",
        "refresh_token": "r-1",
        "expires_at": iso(room.ctx.clock.now() + HOUR),
        "raw": {"data": {"tokens": [{"value": "t-1"}], "seconds": HOUR, "region": "eu"}},
    }
    assert found["connection_config"] == {"client": "web", "data.region": "eu"}
    assert "r-1" not in str(room.read(made))


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (json_answer(401, {"message": "bad password: ' pw '"}), "two_step_credentials_fetch_error"),
        (json_answer(200, {"data": {}}), "invalid_two_step_credentials"),
        (json_answer(200, {"data": {"tokens": [{"value": ""}]}}), "invalid_two_step_credentials"),
        (Answer(503, {}, b"<html>"), "two_step_credentials_fetch_error"),
        (EgressFailed("timeout", sent=True), "two_step_credentials_fetch_error"),
        (granted(1, tokens=[{"value": "x" * 70_000}]), "invalid_two_step_credentials"),
    ],
)
def test_a_wrong_credential_is_a_4xx_that_stores_and_tells_nothing(answer: Any, code: str) -> None:
    room, _ = room_of(LOGIN, answer)
    found = room.submit({**TYPED, "password": "hunter-2"}, **CLIENT)
    assert (found.status, found.code) == (400, code)
    assert found.json()["error"]["payload"] == {}
    assert room.stored() == []
    assert room.told("creation") == []
    assert b"hunter-2" not in found.body


@pytest.mark.parametrize(
    ("body", "issue"),
    [
        ({**TYPED, "username": None}, ("invalid_type", ["username"])),
        ({**TYPED, "username": 5}, ("invalid_type", ["username"])),
        ({**TYPED, "type": "JWT"}, ("invalid_literal", ["type"])),
        ({**TYPED, "refresh_token": "r"}, ("unrecognized_keys", ["refresh_token"])),
        ({**TYPED, "assertionOption": "x"}, ("invalid_type", ["assertionOption"])),
        ({**TYPED, "username": "u" * 70_000}, ("too_big", ["username"])),
    ],
)
def test_a_body_that_cannot_be_meant_is_refused_before_anything_is_sent(
    body: Any, issue: Any
) -> None:
    room, web = room_of(LOGIN)
    found = room.submit(body, **CLIENT)
    assert (found.status, found.code, found.issues) == (400, "invalid_body", [issue])
    assert web.sent == []


def test_a_config_value_that_is_missing_is_named() -> None:
    room, web = room_of(LOGIN)
    found = room.submit(TYPED)
    assert (found.status, found.code) == (400, "two_step_credentials_fetch_error")
    assert b"connectionConfig.client" in found.body
    assert web.sent == []


def test_a_refresh_token_renews_on_schedule_and_on_read() -> None:
    room, web = room_of(LOGIN, granted(1), granted(2), granted(3))
    made = room.connected(TYPED, **CLIENT)
    room.ctx.clock.advance(0.76 * HOUR)
    room.swept()
    assert room.credentials(made)["token"] == "t-2"
    room.ctx.clock.advance(2 * HOUR)
    assert room.credentials(made)["token"] == "t-3"
    assert [each.url.rpartition("/")[2] for each in web.sent[1:]] == ["renew", "renew"]
    is_renewal(web.sent[1], 1)
    is_renewal(web.sent[2], 2)


def test_a_refresh_token_that_is_refused_gives_way_to_the_whole_login() -> None:
    dead = json_answer(400, {"error": "invalid_grant"})
    room, web = room_of(LOGIN, granted(1), dead, granted(2))
    made = room.connected(TYPED, **CLIENT)
    room.ctx.clock.advance(2 * HOUR)
    assert room.credentials(made)["token"] == "t-2"
    is_login(web.sent[2])
    assert room.told("refresh") == []


def test_an_outage_at_the_refresh_does_not_try_the_password() -> None:
    room, web = room_of(LOGIN, granted(1), 503)
    made = room.connected(TYPED, **CLIENT)
    room.ctx.clock.advance(0.99 * HOUR)
    assert room.get(made).status == 200
    assert len(web.sent) == 2


def test_a_changed_password_is_told_once_and_mended_by_a_reconnect() -> None:
    wrong = json_answer(401, {"message": "wrong"})
    room, web = room_of(LOGIN, granted(1))
    web.default = wrong
    made = room.connected(TYPED, **CLIENT)
    room.ctx.clock.advance(2 * HOUR)
    for _ in range(3):
        assert room.get(made).status in {400, 424}
        room.ctx.clock.advance(3 * HOUR)
        room.swept()
    assert len(room.told("refresh")) == 1
    web.answers = [granted(7)]
    again = room.submit(TYPED, token=room.reconnecting(made), **CLIENT)
    assert again.status == 200, again.body
    assert room.credentials(made)["token"] == "t-7"
    room.deleted(made)


def test_an_import_logs_in_unless_it_brings_its_token() -> None:
    room, web = room_of(LOGIN, granted(1), json_answer(401, {}))
    made = room.imported(TYPED, {"client": "web"})
    assert made.status == 201, made.body
    assert made.json()["credentials"]["token"] == "t-1"
    refused = room.imported(TYPED, {"client": "web"})
    assert (refused.status, refused.code) == (400, "two_step_credentials_fetch_error")
    ends = iso(room.ctx.clock.now() + HOUR)
    held = {**TYPED, "token": "mine", "refresh_token": "r-0", "expires_at": ends}
    kept = room.imported(held, {"client": "web"})
    assert kept.status == 201, kept.body
    assert room.credentials("imported")["token"] == "mine"
    assert len(web.sent) == 2
    for bad in ({**held, "expires_at": "soon"}, {**held, "team": ""}, {"type": "TWO_STEP"}):
        found = room.imported(bad, {"client": "web"})
        assert (found.status, found.code) == (400, "invalid_body")


def test_what_the_integration_sets_is_used_and_stored_with_no_connection() -> None:
    definition = {
        "display_name": "Partner",
        "auth_mode": "TWO_STEP",
        "token_url": "https://partner.example/token",
        "body_format": "form",
        "token_params": {"partner": "${credentials.partnerKey}", "user": "${credentials.user}"},
        "token_response": {"token": "t"},
        "proxy": {"base_url": "https://partner.example"},
        "integration_config": {"partnerKey": {"title": "Partner key", "secret": True}},
        "credentials": {"user": {"title": "User"}},
    }
    config = {"partnerKey": "ours-1234"}
    room, web = room_of(definition, *[json_answer(200, {"t": "x"})] * 3, integration_config=config)
    made = room.connected({"user": "ada", "partnerKey": "theirs"})
    assert web.sent[0].body == b"partner=ours-1234&user=ada"
    assert room.credentials(made) == {
        "type": "TWO_STEP", "user": "ada", "token": "x", "raw": {"t": "x"},
    }  # fmt: skip
    assert room.get(made, force_refresh="true").status == 200
    assert web.sent[1].body == web.sent[0].body
    assert room.imported({"type": "TWO_STEP", "user": "bob"}).status == 201
    assert web.sent[2].body == b"partner=ours-1234&user=bob"
    shown = room.app.get(f"/integrations/{KEY}").json()["data"]
    assert shown["preconfigured_credentials"] == ["partnerKey"]


def ended(told: dict[str, Any], answer: Any, **more: Any) -> Any:
    """Return how many seconds a token lives, of an entry and an answer."""
    definition = {**LOGIN, "token_response": told, **more}
    for name in ("refresh_url", "refresh_token_params", "refresh_token_headers"):
        definition.pop(name)
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    room, _ = room_of(definition, Answer(200, {}, body))
    found = room.credentials(room.connected(TYPED, **CLIENT))
    if "expires_at" not in found:
        return None
    from keystow.clock import parse_iso

    moment = parse_iso(found["expires_at"])
    assert moment is not None
    return moment - room.ctx.clock.now()


def test_the_end_of_a_token_is_read_as_the_entry_says() -> None:
    lives = {"token": "t", "token_expiration": "e", "token_expiration_strategy": "expireIn"}
    at = {**lives, "token_expiration_strategy": "expireAt"}
    assert ended(lives, {"t": "x", "e": 100}) == 100
    assert ended(lives, {"t": "x", "e": "7200"}) == 7_200
    assert ended(lives, {"t": "x", "e": 90_000}, expires_in_unit="milliseconds") == 90
    assert ended(at, {"t": "x", "e": "01:00:00"}) == HOUR
    assert ended(lives, {"t": "x", "e": 100}, token_expires_in_ms=1_700_000) == 1_700
    assert ended(lives, {"t": "x", "e": 100}, token_expires_in_ms=0) is None
    assert ended({"token": "t"}, {"t": "x"}) is None
    assert ended({}, b'"whole-body"', token_expires_in_ms=60_000) == 60
    assert ended({}, b"whole-body", token_expires_in_ms=60_000) == 60


def test_a_token_that_is_a_jwt_is_renewed_before_its_own_end() -> None:
    def of(seconds: float) -> Any:
        from tests.support import START

        claims = {"exp": int(START) + seconds}
        return {"t": other.encode(claims, "k" * 40, algorithm="HS256"), "e": 10 * HOUR}

    told = {"token": "t", "token_expiration": "e", "token_expiration_strategy": "expireIn"}
    assert ended(told, of(HOUR)) == pytest.approx(HOUR - 900, abs=1)
    assert ended(told, of(600)) == pytest.approx(600, abs=1)
    assert ended(told, of(20 * HOUR)) == 10 * HOUR


def test_a_signed_assertion_is_the_request() -> None:
    def server(sent: Sent) -> Answer:
        assert (sent.method, sent.url) == ("POST", "https://oauth2.googleapis.com/token")
        assert sent.headers["content-type"] == "application/x-www-form-urlencoded"
        form = dict(parse_qsl(sent.body.decode(), strict_parsing=True))
        assert form.keys() == {"grant_type", "assertion"}
        assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        told = decoded(form["assertion"], PAIR.public_key(), "RS256")
        assert told == {
            "iss": "robot@p.iam.gserviceaccount.com",
            "scope": "a b",
            "aud": "https://oauth2.googleapis.com/token",
            "iat": told["iat"],
            "exp": told["iat"] + HOUR,
        }
        return json_answer(200, {"access_token": "ya29", "expires_in": 3_599})

    room, web = room_of("google-service-account")
    web.default = server
    key = pem_of(PAIR).replace("\n", "\\n")
    body = {
        "serviceAccountEmailAddress": "robot@p.iam.gserviceaccount.com",
        "privateKey": key,
        "scopes": "a b",
    }
    made = room.connected(body)
    assert room.credentials(made)["token"] == "ya29"
    room.ctx.clock.advance(2 * HOUR)
    assert room.credentials(made)["token"] == "ya29"
    assert len(web.sent) == 2
    bad = room.submit({**body, "privateKey": "no key at all"})
    assert (bad.status, bad.code) == (400, "two_step_credentials_fetch_error")
    assert b"no key at all" not in bad.body


def test_an_assertion_of_a_certificate_is_made_anew_each_time_and_not_kept() -> None:
    seen = []

    def server(sent: Sent) -> Answer:
        assert sent.url == "https://login.microsoftonline.com/ten/oauth2/v2.0/token"
        form = sent.form()
        assert form["scope"] == "https://graph.microsoft.com/.default"
        token = form["client_assertion"]
        header = other.get_unverified_header(token)
        assert header == {"alg": "PS256", "typ": "JWT", "x5t#S256": "thumb"}
        told = decoded(token, PAIR.public_key(), "PS256")
        assert (told["iss"], told["sub"], told["aud"]) == ("cid", "cid", sent.url)
        seen.append(told["jti"])
        return json_answer(200, {"access_token": "t", "expires_in": 3_599})

    room, web = room_of("microsoft-oauth2-cc-cert")
    web.default = server
    body = {"clientId": "cid", "privateKey": pem_of(PAIR), "certificateThumbprint": "thumb"}
    scope = "https://graph.microsoft.com/.default"
    made = room.connected(body, **{"params[tenantId]": "ten", "params[oauth_scopes]": scope})
    assert "assertion" not in room.credentials(made)
    room.ctx.clock.advance(2 * HOUR)
    room.credentials(made)
    assert len(set(seen)) == 2


def test_what_an_assertion_is_made_of_once_is_not_stored() -> None:
    definition = {
        "display_name": "Once",
        "auth_mode": "TWO_STEP",
        "token_url": "https://once.example/token",
        "body_format": "form",
        "assertion": {
            "type": "jwt",
            "key": "${assertionOption.privateKey}",
            "issuer": "${credentials.clientId}",
            "audiences": "https://once.example/token",
            "lifetimeInSeconds": 100_000,
            "header": {"alg": "RS256"},
        },
        "assertion_option": {"privateKey": {"title": "Key", "secret": True}},
        "token_params": {"assertion": "${credentials.assertion}"},
        "token_response": {"token": "t"},
        "token_expires_in_ms": 3_600_000,
        "proxy": {"base_url": "https://once.example"},
        "credentials": {"clientId": {"title": "Id"}, "assertion": {"automated": True}},
    }
    room, web = room_of(definition, *[json_answer(200, {"t": "x"})] * 2)
    option = {"privateKey": pem_of(PAIR)}
    made = room.connected({"clientId": "c", "assertionOption": option})
    held = room.credentials(made)
    assert held.keys() == {"type", "clientId", "assertion", "token", "expires_at", "raw"}
    told = decoded(held["assertion"], PAIR.public_key(), "RS256")
    assert (told["iss"], told["exp"] - told["iat"]) == ("c", 100_000)
    room.ctx.clock.advance(2 * HOUR)
    assert room.credentials(made)["assertion"] == held["assertion"]
    assert web.sent[0].body == web.sent[1].body
    missing = room.submit({"clientId": "c"})
    assert (missing.status, missing.code) == (400, "two_step_credentials_fetch_error")
    form = room.app.get("/providers/room-provider", key=room.session()).json()["data"]
    assert form["connect"]["fields"] == ["clientId"]
    assert list(form["assertion_option"]) == ["privateKey"]


def test_the_default_bearer_gives_way_to_headers_that_place_the_token() -> None:
    plain = Provider("x", LOGIN)
    assert headers_of(plain, {"token": "t"})["authorization"] == "Bearer t"
    tableau = loader.built_in("tableau")
    assert tableau is not None
    config = {"hostname": "h.example", "version": "3.1"}
    found = headers_of(tableau, {"token": "t"}, config)
    assert found == {"accept": "application/json", "x-tableau-auth": "t"}
    sap = loader.built_in("sap-business-one")
    assert sap is not None
    found = headers_of(sap, {"token": "t", "_cookies": "B1SESSION=1"}, {"domain": "h.example"})
    assert found == {"cookie": "B1SESSION=1"}
