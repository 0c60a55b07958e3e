"""Bodies are JavaScript's own text, and signatures are those that receivers check."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystow.events import webhook_body
from keystow.events.outbox import AuthEvent
from keystow.records.connection import EndUser
from keystow.secret import Secret
from tests.support import SIGNING_KEY, make_context, seed_environment

# The vector of the contract, appendix B2.
BODY = (
    '{"authMode":"OAUTH2","connectionId":"c1","environment":"dev","from":"nango",'
    '"operation":"creation","provider":"github","providerConfigKey":"gh","success":true,'
    '"tags":{},"type":"auth"}'
)


def event(**changes: Any) -> AuthEvent:
    fields: dict[str, Any] = {
        "environment": seed_environment(make_context()).environment,
        "provider": "github",
        "auth_mode": "OAUTH2",
        "provider_config_key": "gh",
        "connection_id": "c1",
        "operation": "creation",
        "success": True,
        "tags": {},
    }
    return AuthEvent(**{**fields, **changes})


def test_the_body_and_signatures_are_those_of_the_contract() -> None:
    body = webhook_body.auth_event(event())
    headers = webhook_body.signed_headers([Secret(SIGNING_KEY)], "evt_1", 1_700_000_000, body)

    assert body == BODY
    assert headers["x-nango-signature"] == (
        "8ec51152b3d76569aebc7b1e882884f9b840b53fdfac0692e7d28ee189950fdd"
    )
    assert headers["x-nango-hmac-sha256"] == (
        "060126ad3726f61e5056b9381f6a7ed28da4a213a5f9f7a3ef6e635e0573dd97"
    )
    assert headers["content-type"] == "application/json"


def test_a_library_of_standard_webhooks_accepts_the_signature() -> None:
    key = Secret(SIGNING_KEY)
    headers = webhook_body.signed_headers([key], "evt_1", 1_700_000_000, BODY)

    # What such libraries do with the secret and the headers.
    secret = base64.b64decode(webhook_body.standard_secret(key).reveal().removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{BODY}"
    expected = base64.b64encode(hmac.new(secret, signed.encode(), hashlib.sha256).digest())
    assert headers["webhook-signature"] == "v1," + expected.decode()


END_USER = EndUser("u1", "a@b.com", "Ann", {"k": "v"}, "o1", "Org")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"end_user": END_USER, "tags": {"b": "2", "a": "1"}},
            (
                '{"authMode":"OAUTH2","connectionId":"c1","endUser":{"endUserEmail":"a@b.com",'
                '"endUserId":"u1","organizationId":"o1","tags":{"k":"v"}},"environment":"dev",'
                '"from":"nango","operation":"creation","provider":"github",'
                '"providerConfigKey":"gh","success":true,"tags":{"a":"1","b":"2"},"type":"auth"}'
            ),
        ),
        (
            {"end_user": EndUser("u1"), "operation": "override"},
            (
                '{"authMode":"OAUTH2","connectionId":"c1","endUser":{"endUserEmail":null,'
                '"endUserId":"u1","tags":{}},"environment":"dev","from":"nango",'
                '"operation":"override","provider":"github","providerConfigKey":"gh",'
                '"success":true,"tags":{},"type":"auth"}'
            ),
        ),
        (
            {
                "operation": "refresh",
                "success": False,
                "error": ("refresh_token_external_error", "It said no."),
                "end_user": END_USER,
            },
            (
                '{"authMode":"OAUTH2","connectionId":"c1","environment":"dev","error":{'
                '"description":"It said no.","type":"refresh_token_external_error"},'
                '"from":"nango","operation":"refresh","provider":"github",'
                '"providerConfigKey":"gh","success":false,"tags":{},"type":"auth"}'
            ),
        ),
        (
            {"operation": "refresh"},
            (
                '{"authMode":"OAUTH2","connectionId":"c1","environment":"dev","from":"nango",'
                '"operation":"refresh","provider":"github","providerConfigKey":"gh",'
                '"success":true,"tags":{},"type":"auth"}'
            ),
        ),
        (
            {"success": False, "error": ("unknown", "No."), "tags": {"a": "1"}, "provider": ""},
            (
                '{"authMode":"OAUTH2","connectionId":"c1","environment":"dev","error":{'
                '"description":"No.","type":"unknown"},"from":"nango","operation":"creation",'
                '"provider":"unknown","providerConfigKey":"gh","success":false,"type":"auth"}'
            ),
        ),
    ],
    ids=["end user", "bare end user", "failed refresh", "recovery", "failed creation"],
)
def test_each_kind_of_event_has_its_body(changes: dict[str, Any], expected: str) -> None:
    assert webhook_body.auth_event(event(**changes)) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"b": 1, "a": {"d": [], "c": {}}}, '{"a":{"c":{},"d":[]},"b":1}'),
        ({"b": 0, "10": 0, "9": 0, "01": 0, "-1": 0}, '{"9":0,"10":0,"-1":0,"01":0,"b":0}'),
        ({"4294967295": 0, "4294967294": 0, "5": 0}, '{"5":0,"4294967294":0,"4294967295":0}'),
        ({"\uffff": 1, "😀": 2}, '{"😀":2,"\uffff":1}'),
        ("grüße \u2028 😀", '"grüße \u2028 😀"'),
        ('\x00\x1f\x7f"\\/\b\n', '"\\u0000\\u001f\x7f\\"\\\\/\\b\\n"'),
        ("a\ud83d", '"a\\ud83d"'),
        ("\ud83d\ude00", '"😀"'),
        ({"\udc00": 1}, '{"\\udc00":1}'),
        ([1.0, -0.0, 0.1, 1e21, 1e-7, 123456789012345680000.0], None),
        ([1e20, 5e-324, 1.7976931348623157e308, 0.000001, 1.5e300, 2**53 + 1, 2**70], None),
        ([None, True, False, (), {}], "[null,true,false,[],{}]"),
        ([float("nan"), float("inf"), 10**400], "[null,null,null]"),
    ],
)
def test_values_are_written_as_javascript_writes_them(value: Any, expected: str | None) -> None:
    if expected is None:
        expected = {
            1.0: "[1,0,0.1,1e+21,1e-7,123456789012345680000]",
            1e20: "[100000000000000000000,5e-324,1.7976931348623157e+308,0.000001,1.5e+300,"
            "9007199254740992,1.1805916207174113e+21]",
        }[value[0]]

    assert webhook_body.stringify(value) == expected


def test_what_json_does_not_hold_is_refused() -> None:
    with pytest.raises(TypeError):
        webhook_body.stringify({"a": b"bytes"})


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers().map(str), inner),
    max_leaves=12,
)


@given(values)
@settings(max_examples=150, deadline=None)
def test_a_body_is_utf8_json_that_stays_itself(value: Any) -> None:
    text = webhook_body.stringify(value)

    text.encode()
    assert webhook_body.stringify(json.loads(text)) == text


def test_javascript_makes_the_same_text_of_it() -> None:
    samples: list[Any] = []

    @given(values)
    @settings(max_examples=200, deadline=None, database=None)
    def collect(value: Any) -> None:
        samples.append(value)

    collect()
    lines = [webhook_body.stringify(sample) for sample in samples]
    script = (
        "const t=require('fs').readFileSync(0,'utf8').split('\\n');"
        "t.forEach((l,i)=>{if(JSON.stringify(JSON.parse(l))!==l)"
        "{console.log(i,l,JSON.stringify(JSON.parse(l)));process.exit(1)}})"
    )

    checked = subprocess.run(
        [str(Path(sys.executable).with_name("node")), "-e", script],
        input="\n".join(lines).encode(),
        capture_output=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stdout.decode() + checked.stderr.decode()


def test_while_a_key_is_rotated_both_sign_and_the_older_headers_use_the_new_one() -> None:
    new, old = Secret("new-key"), Secret("old-key")

    headers = webhook_body.signed_headers([new, old], "evt_1", 1_700_000_000, BODY)

    assert headers["webhook-signature"].split(" ") == [
        webhook_body.standard_signature(key, "evt_1", 1_700_000_000, BODY) for key in (new, old)
    ]
    assert headers["x-nango-hmac-sha256"] == webhook_body.hmac_hex(new, BODY)
