"""TWO_STEP: several requests, cookies, XML, and the built-in entries that use them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keystow.clock import iso
from keystow.egress.client import Answer, Egress
from tests.integration.modes.test_two_step import HOUR, room_of
from tests.support import json_answer

STEPS: dict[str, Any] = {
    "display_name": "Steps",
    "auth_mode": "TWO_STEP",
    "token_url": "https://steps.example/where",
    "token_request_method": "GET",
    "token_params": {"user": "${credentials.username}"},
    "additional_steps": [
        {
            "token_url": "${step1.login}/token",
            "token_params": {"user": "${credentials.username}", "ticket": "${step1.ticket}"},
            "token_headers": {"cookie": "${credentials._cookies}"},
            "body_format": "form",
        },
        {
            "token_url": "https://steps.example/of/${step2.id}",
            "token_request_method": "PUT",
            "token_params": {"key": "${step2.key}"},
        },
    ],
    "token_response": {"token": "token"},
    "token_response_headers": ["set-cookie", "x-session"],
    "token_response_metadata": ["login", "place"],
    "proxy": {"base_url": "https://steps.example"},
    "credentials": {"username": {"title": "User"}},
}
FIRST = {"login": "https://login.steps.example/v2", "ticket": "tick et"}


def with_cookies(*cookies: str, body: Any) -> Answer:
    pairs = tuple(("set-cookie", each) for each in cookies)
    headers = {
        "content-type": "application/json",
        "set-cookie": ", ".join(cookies),
        "x-session": "s",
    }
    return Answer(200, headers, json.dumps(body).encode(), pairs)


def test_later_steps_read_earlier_answers_and_cookies() -> None:
    cookies = ("sid=1; Path=/; HttpOnly", "node=a=b; Secure")
    room, web = room_of(
        STEPS,
        with_cookies(*cookies, body=FIRST),
        json_answer(200, {"id": "a/b", "key": 7}),
        json_answer(201, {"token": "t", "place": "p"}),
    )
    made = room.connected({"username": "ada"})
    first, second, third = web.sent
    assert (first.method, first.url) == ("GET", "https://steps.example/where?user=ada")
    assert first.body == b""
    assert (second.method, second.url) == ("POST", "https://login.steps.example/v2/token")
    assert second.body == b"user=ada&ticket=tick+et"
    assert second.headers["cookie"] == "sid=1; node=a=b"
    assert (third.method, third.url) == ("PUT", "https://steps.example/of/a%2Fb")
    assert third.body == b'{"key":"7"}'
    found = room.read(made)
    assert found["credentials"] == {
        "type": "TWO_STEP",
        "username": "ada",
        "sid": "1",
        "node": "a=b",
        "_cookies": "sid=1; node=a=b",
        "x-session": "s",
        "token": "t",
        "raw": {"token": "t", "place": "p"},
    }
    assert found["connection_config"] == {"login": FIRST["login"], "place": "p"}


def test_a_later_step_that_fails_says_so() -> None:
    room, _ = room_of(STEPS, with_cookies("a=b", body=FIRST), json_answer(403, {"error": "denied"}))
    found = room.submit({"username": "ada"})
    assert (found.status, found.code) == (400, "invalid_two_step_credentials_second_request")
    assert room.stored() == []


@pytest.mark.parametrize("login", ["http://169.254.169.254", "file:///etc/passwd", "https://a b"])
def test_where_a_step_leads_is_checked_like_every_way_out(login: str) -> None:
    def connect(*_args: Any) -> Any:
        raise AssertionError("nothing may be connected to")

    room, web = room_of(STEPS)
    real = Egress(connect=connect)
    real_send = real.send
    web.answers = [
        with_cookies("a=b", body={**FIRST, "login": login}),
        lambda sent: real_send(sent.method, sent.url, headers=sent.headers, body=sent.body),
    ]
    found = room.submit({"username": "ada"})
    assert (found.status, found.code) == (400, "invalid_two_step_credentials_second_request")


def test_a_cookie_never_replaces_what_was_typed_in_or_the_token() -> None:
    cookies = ("username=eve", "token=evil", "type=API_KEY", "_cookies=x")
    last = json_answer(200, {"token": "t"})
    room, _ = room_of(
        STEPS, with_cookies(*cookies, body=FIRST), json_answer(200, {"id": 1, "key": 1}), last
    )
    found = room.credentials(room.connected({"username": "ada"}))
    assert (found["username"], found["token"], found["type"]) == ("ada", "t", "TWO_STEP")
    assert found["_cookies"] == "username=eve; token=evil; type=API_KEY; _cookies=x"


XML: dict[str, Any] = {
    "display_name": "Ledger",
    "auth_mode": "TWO_STEP",
    "token_url": "https://ledger.example/gateway",
    "body_format": "xml",
    "token_params": {
        "request": {
            "control": {
                "sender": "${credentials.sender}",
                "unique": False,
                "controlid": "${now:X}",
            },
            "content": {"function": [{"$controlid": "1", "getSession": {}}, {"$controlid": "2"}]},
        }
    },
    "token_response": {
        "token": "response.result.data.api.sessionid",
        "token_expiration": "response.ends",
        "token_expiration_strategy": "expireAt",
    },
    "proxy": {"base_url": "https://ledger.example"},
    "credentials": {"sender": {"title": "Sender"}},
}


def xml(text: str) -> Answer:
    return Answer(200, {"content-type": "text/xml; charset=utf-8"}, text.encode())


def test_xml_goes_out_and_comes_back() -> None:
    room, web = room_of(XML)
    ends = iso(room.ctx.clock.now() + HOUR)
    web.answers = [
        xml(
            f'<?xml version="1.0"?><response xmlns="urn:x"><result a="b"><data><api>'
            f"<sessionid> s-1 </sessionid></api></data></result><ends>{ends}</ends></response>"
        )
    ]
    now = int(room.ctx.clock.now())
    made = room.connected({"sender": "a<b>&c"})
    assert web.sent[0].headers["content-type"] == "application/xml"
    assert web.sent[0].body.decode() == (
        "<?xml version='1.0' encoding='utf-8'?>\n"
        "<request><control><sender>a&lt;b&gt;&amp;c</sender><unique>false</unique>"
        f"<controlid>{now}</controlid></control><content>"
        '<function controlid="1"><getSession /></function><function controlid="2" />'
        "</content></request>"
    )
    found = room.credentials(made)
    assert (found["token"], found["expires_at"]) == ("s-1", ends)


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><response>&e;</response>',
        "<response><result>",
        "<response>" + "<a>" * 200 + "</a>" * 200 + "</response>",
        "<html><body>Down</body></html>",
    ],
)
def test_xml_that_is_none_or_would_do_harm_gives_no_token(text: str) -> None:
    room, _ = room_of(XML, xml(text))
    found = room.submit({"sender": "a"})
    assert (found.status, found.code) == (400, "invalid_two_step_credentials")


def test_an_empty_site_is_sent_empty() -> None:
    room, web = room_of("tableau", json_answer(200, {"credentials": {"token": "t"}}))
    query = {"params[hostname]": "h.example", "params[version]": "3.1"}
    room.connected({"pat": "p", "secret": "s"}, **query)
    assert web.sent[0].url == "https://h.example/api/3.1/auth/signin"
    assert web.sent[0].json()["credentials"]["site"] == {"contentUrl": ""}


def test_cookies_of_a_service_layer_carry_its_session() -> None:
    cookies = ("B1SESSION=abc; HttpOnly", "ROUTEID=.node1; path=/")
    answer = with_cookies(*cookies, body={"SessionId": "abc", "SessionTimeout": 30})
    room, web = room_of("sap-business-one", answer)
    query = {"params[domain]": "sap.example.com:50000", "params[companyDb]": "DB"}
    made = room.connected({"userName": "u", "password": "p"}, **query)
    assert web.sent[0].url == "https://sap.example.com:50000/b1s/v2/Login"
    assert web.sent[0].body == b'{"CompanyDB":"DB","UserName":"u","Password":"p"}'
    found = room.credentials(made)
    assert found["_cookies"] == "B1SESSION=abc; ROUTEID=.node1"
    assert found["expires_at"] == iso(room.ctx.clock.now() + 1_700)


def test_the_identity_service_of_an_account_is_found_first() -> None:
    service = "https://login-emea.docuware.cloud/0a1b"
    room, web = room_of(
        "docuware",
        json_answer(200, {"IdentityServiceUrl": service}),
        json_answer(200, {"token_endpoint": f"{service}/connect/token"}),
        json_answer(200, {"access_token": "t", "expires_in": HOUR}),
    )
    query = {"params[domain]": "acme.docuware.cloud"}
    made = room.connected({"username": "u", "password": "p w"}, **query)
    assert [each.url for each in web.sent] == [
        "https://acme.docuware.cloud/DocuWare/Platform/Home/IdentityServiceInfo",
        f"{service}/.well-known/openid-configuration",
        f"{service}/connect/token",
    ]
    assert web.sent[2].body == (
        b"grant_type=password&scope=docuware.platform&client_id=docuware.platform.net.client"
        b"&username=u&password=p+w"
    )
    assert room.credentials(made)["token"] == "t"
