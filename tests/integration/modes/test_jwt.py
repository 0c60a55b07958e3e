"""JWT: tokens that are signed here, verified by another implementation."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import jwt as other
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from keystow.clock import iso
from keystow.egress.client import Answer
from tests.integration.modes.typed_room import Room
from tests.support import Outside, Sent, json_answer

SECRET = "ab" * 32
GHOST_KEY = f"{'0' * 24}:{SECRET}"
GHOST = {"params[adminDomain]": "acme.ghost.io", "params[version]": "v5.0"}
PLAIN = {
    "display_name": "Plain",
    "auth_mode": "JWT",
    "signature": {"protocol": "HMAC", "hmac_secret_encoding": "utf8"},
    "token": {
        "signing_key": "${credentials.id}||${credentials.key}",
        "expires_in_ms": 300_000,
        "header": {"alg": "HS256", "typ": "JWT"},
        "payload": {"iss": "${credentials.id}", "tags": ["${credentials.tags}"], "n": 1},
    },
    "credentials": {
        "id": {"title": "Id"},
        "key": {"title": "Key", "secret": True},
        "tags": {"title": "Tags", "optional": True},
    },
    "proxy": {"base_url": "https://plain.example"},
}


def pem_of(key: Any) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


CURVE = ec.generate_private_key(ec.SECP256R1())
PAIR = rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Blog(Outside):
    """Takes a token only if it is signed as its documentation says, and is good now."""

    def __init__(self) -> None:
        self.seen: list[Sent] = []
        self.now = 0.0

    def answer_to(self, sent: Sent) -> Answer:
        self.seen.append(sent)
        assert (sent.method, sent.url) == ("GET", "https://acme.ghost.io/ghost/api/admin/users/")
        kind, _, token = sent.headers["authorization"].partition(" ")
        assert kind == "Ghost"
        try:
            told = other.decode(
                token,
                bytes.fromhex(SECRET),
                algorithms=["HS256"],
                audience="/admin/",
                options={"verify_exp": False, "verify_iat": False},
            )
        except other.InvalidSignatureError:
            return json_answer(401, {"errors": [{"message": "Invalid token"}]})
        assert other.get_unverified_header(token) == {
            "alg": "HS256",
            "typ": "JWT",
            "kid": "0" * 24,
        }
        assert told == {"aud": "/admin/", "iat": told["iat"], "exp": told["iat"] + 300}
        return json_answer(200, {"users": []})


def decoded(token: str, key: Any, algorithm: str, **options: Any) -> dict[str, Any]:
    return dict(
        other.decode(
            token,
            key,
            algorithms=[algorithm],
            options={"verify_exp": False, "verify_iat": False, "verify_aud": False},
            **options,
        )
    )


def test_a_secret_in_hex_behind_its_id_signs_what_the_provider_takes() -> None:
    blog = Blog()
    room = Room(blog, "auth/jwt", "ghost-admin")
    made = room.connected({"type": "JWT", "privateKey": GHOST_KEY}, **GHOST)
    found = room.credentials(made)
    assert found == {
        "type": "JWT",
        "privateKey": GHOST_KEY,
        "token": found["token"],
        "expires_at": iso(room.ctx.clock.now() + 300),
    }
    assert f"Ghost {found['token']}" == blog.seen[0].headers["authorization"]


def test_id_and_secret_may_come_apart() -> None:
    room = Room(Blog(), "auth/jwt", "ghost-admin")
    made = room.connected({"privateKey": {"id": "0" * 24, "secret": SECRET}}, **GHOST)
    assert room.credentials(made)["privateKey"] == {"id": "0" * 24, "secret": SECRET}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"privateKey": f"{'0' * 24}:{'cd' * 32}"}, "connection_test_failed"),
        ({"privateKey": f"{'0' * 24}:not-hex"}, "failed_to_sign"),
        ({"privateKey": "no-colon"}, "failed_to_sign"),
        ({}, "invalid_body"),
        ({"privateKey": 5}, "invalid_body"),
        ({"privateKey": GHOST_KEY, "token": "x"}, "invalid_body"),
        ({"privateKey": GHOST_KEY, "type": "API_KEY"}, "invalid_body"),
    ],
)
def test_a_wrong_key_is_a_4xx_and_nothing_is_stored(body: Any, code: str) -> None:
    room = Room(Blog(), "auth/jwt", "ghost-admin")
    found = room.submit(body, **GHOST)
    assert (found.status, found.code) == (400, code)
    assert room.stored() == []
    assert room.told("creation") == []
    for each in ("cdcd", "not-hex", "no-colon"):
        assert each.encode() not in found.body


def test_a_token_is_renewed_on_schedule_and_on_read_and_asks_nobody() -> None:
    blog = Blog()
    room = Room(blog, "auth/jwt", "ghost-admin")
    made = room.connected({"privateKey": GHOST_KEY}, **GHOST)
    first = room.credentials(made)["token"]
    room.ctx.clock.advance(240)
    room.swept()
    second = room.credentials(made)["token"]
    room.ctx.clock.advance(1_000)
    third = room.credentials(made)["token"]
    assert len({first, second, third}) == 3
    assert len(blog.seen) == 1
    now = room.ctx.clock.now()
    assert decoded(third, bytes.fromhex(SECRET), "HS256")["exp"] == int(now + 300)


def test_an_elliptic_key_pasted_into_one_line_signs() -> None:
    room = Room(Blog(), "auth/jwt", "apple-app-store")
    key = pem_of(CURVE).replace("\n", " ")
    body = {"issuerId": "iss", "privateKeyId": "kid", "privateKey": key}
    made = room.connected(body, **{"params[scope]": "GET /v1/apps, GET /v1/builds"})
    token = room.credentials(made)["token"]
    told = decoded(token, CURVE.public_key(), "ES256")
    assert other.get_unverified_header(token) == {"alg": "ES256", "kid": "kid", "typ": "JWT"}
    assert told["scope"] == ["GET /v1/apps", "GET /v1/builds"]
    assert (told["aud"], told["exp"] - told["iat"]) == ("appstoreconnect-v1", 900)
    without = room.connected(body)
    assert "scope" not in decoded(room.credentials(without)["token"], CURVE.public_key(), "ES256")


@pytest.mark.parametrize("line", ["\n", "\\n", "", "\r\n"])
def test_an_rsa_key_names_itself_by_its_fingerprint(line: str) -> None:
    class Warehouse(Outside):
        def answer_to(self, sent: Sent) -> Answer:
            assert sent.url == "https://acme.snowflakecomputing.com/api/v2/statements"
            assert sent.json() == {"statement": "SELECT CURRENT_TIMESTAMP"}
            assert sent.headers["x-snowflake-authorization-token-type"] == "KEYPAIR_JWT"
            token = sent.headers["authorization"].removeprefix("Bearer ")
            public = PAIR.public_key()
            der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            mark = base64.b64encode(hashlib.sha256(der).digest()).decode()
            told = decoded(token, public, "RS256")
            assert told["iss"] == f"ACME.ADA.SHA256:{mark}"
            assert told["sub"] == "ACME.ADA"
            return json_answer(200, {})

    room = Room(Warehouse(), "auth/jwt", "snowflake-jwt")
    key = pem_of(PAIR).strip().replace("\n", line)
    body = {"accountIdentifier": "ACME", "userName": "ADA", "privateKey": key}
    room.connected(body, **{"params[subdomain]": "acme"})


def test_a_key_of_another_kind_does_not_sign() -> None:
    room = Room(Blog(), "auth/jwt", "apple-app-store")
    body = {"issuerId": "iss", "privateKeyId": "kid", "privateKey": pem_of(PAIR)}
    found = room.submit(body)
    assert (found.status, found.code) == (400, "failed_to_sign")


def test_texts_without_a_fallback_are_joined_and_lists_are_split() -> None:
    room = Room(Blog(), "auth/jwt", PLAIN)
    made = room.connected({"id": "i", "key": "k" * 40, "tags": "a,b"})
    told = decoded(room.credentials(made)["token"], b"i||" + b"k" * 40, "HS256")
    assert told == {"iss": "i", "tags": ["a", "b"], "n": 1, "iat": told["iat"], "exp": told["exp"]}


def test_an_import_is_signed_and_tried() -> None:
    room = Room(Blog(), "auth/jwt", "ghost-admin")
    config = {"adminDomain": "acme.ghost.io", "version": "v5.0"}
    made = room.imported({"type": "JWT", "privateKey": GHOST_KEY, "token": "old"}, config)
    assert made.status == 201, made.body
    token = made.json()["credentials"]["token"]
    assert decoded(token, bytes.fromhex(SECRET), "HS256")["aud"] == "/admin/"
    wrong = room.imported({"type": "JWT", "privateKey": f"1:{'cd' * 32}"}, config)
    assert (wrong.status, wrong.code) == (400, "connection_test_failed")
    nothing = room.imported({"type": "JWT"}, config)
    assert (nothing.status, nothing.code) == (400, "invalid_body")
    assert nothing.issues == [("invalid_type", ["credentials", "privateKey"])]


def test_a_definition_that_no_longer_fits_the_key_is_told_once_and_mended_by_a_reconnect() -> None:
    room = Room(Blog(), "auth/jwt", PLAIN)
    made = room.connected({"id": "i", "key": "k" * 40})
    changed = {**PLAIN, "signature": {"protocol": "HMAC", "hmac_secret_encoding": "hex"}}
    assert room.app.put("/providers/room-provider", changed).status == 200
    room.ctx.cache.clear()
    for _ in range(3):
        room.ctx.clock.advance(3 * 3_600)
        room.swept()
        assert room.get(made).status in {400, 424}
    (event,) = room.told("refresh")
    assert event["success"] is False
    assert room.app.put("/providers/room-provider", PLAIN).status == 200
    room.ctx.cache.clear()
    again = room.submit({"id": "i", "key": "l" * 40}, token=room.reconnecting(made))
    assert again.status == 200, again.body
    assert decoded(room.credentials(made)["token"], b"i||" + b"l" * 40, "HS256")["iss"] == "i"
    room.deleted(made)


def test_a_form_asks_for_what_the_entry_declares() -> None:
    room = Room(Blog(), "auth/jwt", PLAIN)
    found = room.app.get("/providers/room-provider", key=room.session()).json()["data"]
    way = {"way": "post", "path": "auth/jwt", "fields": ["id", "key", "tags"]}
    assert found["connect"] == way
