"""Requests to a provider's API with a connection's credential, and what comes of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keystow.egress.client import Answer
from keystow.egress.errors import EgressFailed, EgressRefused
from keystow.modes.base import Mode
from keystow.store import Put, tables
from keystow.value import replace
from tests.integration.proxy.world import API, Proxied
from tests.support import FakeEgress, json_answer

PROXY = "environment:proxy"
READ = "environment:connections:read_credentials"
READ_APP = "environment:integrations:read_credentials"
OTHER = "https://collector.example"


def world(*answers: Any, default: Any = None) -> Proxied:
    made = Proxied()
    made.ctx.egress = FakeEgress(*answers, default=default)
    return made


def test_a_request_arrives_with_the_credential_and_its_answer_comes_back() -> None:
    answered = Answer(
        201, {"content-type": "a/b", "x-id": "7"}, b"\xff\x00", (("content-type", "a/b"),)
    )
    proxied = world(answered)
    found = proxied.sent(
        "POST",
        "/items/1?b=2&a=1&a=",
        raw=b'{ "q": 1 }',
        content_type="application/json",
        nango_proxy_x_trace="t",
        x_not_passed_on="1",
    )
    (sent,) = proxied.ctx.egress.sent
    assert (sent.method, sent.url) == ("POST", "https://untried.example/items/1?b=2&a=1&a=")
    assert sent.headers == {
        "authorization": "Bearer k",
        "content-type": "application/json",
        "x-trace": "t",
        "accept-encoding": "identity",
    }
    assert sent.body == b'{ "q": 1 }'
    assert (found.status, found.body, found.headers["x-id"]) == (201, b"\xff\x00", "7")
    assert found.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "method", ["GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "PROPFIND", "REPORT"]
)
def test_every_method_of_an_api_goes_through(method: str) -> None:
    proxied = world(json_answer(200, {}))
    assert proxied.sent(method).status == 200
    assert [sent.method for sent in proxied.ctx.egress.sent] == [method]


def test_a_preflight_of_a_browser_is_answered_here() -> None:
    proxied = world()
    asked = {"origin": "https://app.example", "access-control-request-method": "GET"}
    found = proxied.app.call("OPTIONS", "/proxy/x", key=None, headers=asked)
    assert found.status == 204
    assert "Provider-Config-Key" in found.headers["access-control-allow-headers"]


def test_the_base_url_itself_can_be_asked_for() -> None:
    proxied = world(200)
    assert proxied.sent(path="").status == 200
    assert proxied.ctx.egress.sent[0].url == "https://untried.example"


@pytest.mark.parametrize(
    ("mode", "credentials", "proxy", "header"),
    [
        ("OAUTH2", {"type": "OAUTH2", "access_token": "at"}, {}, "Bearer at"),
        (
            "OAUTH2_CC",
            {"type": "OAUTH2_CC", "token": "cc", "client_id": "i", "client_secret": "s"},
            {},
            "Bearer cc",
        ),
        ("BASIC", {"type": "BASIC", "username": "u", "password": "p"}, {}, "Basic dTpw"),
        ("API_KEY", {"type": "API_KEY", "apiKey": "k"}, {}, None),
        (
            "API_KEY",
            {"type": "API_KEY", "apiKey": "k"},
            {"headers": {"authorization": "Key ${apiKey}"}},
            "Key k",
        ),
        ("NONE", {"type": "NONE"}, {}, None),
    ],
)
def test_mode_and_entry_say_where_the_credential_goes(
    mode: str, credentials: dict[str, Any], proxy: dict[str, Any], header: str | None
) -> None:
    proxied = world(200)
    proxied.provider_of("acme", mode, **proxy)
    proxied.connected("acme", credentials)
    assert proxied.sent(of="acme", connection="acme").status == 200
    (sent,) = proxied.ctx.egress.sent
    assert (sent.url, sent.headers.get("authorization")) == (f"{API}/x", header)


def test_the_clients_id_and_secret_go_where_the_entry_wants_them() -> None:
    proxied = world(200)
    proxied.provider_of("acme", headers={"x-app": "${clientId}:${clientSecret}"})
    proxied.connected("acme", {"type": "OAUTH2", "access_token": "at"})
    assert proxied.sent(of="acme", connection="acme").status == 200
    assert proxied.ctx.egress.sent[0].headers["x-app"] == "id:app-secret"


@pytest.mark.parametrize("status", [204, 304, 400, 403, 404, 409, 422, 429, 500, 503])
def test_what_the_provider_answers_is_the_answer(status: int) -> None:
    headers = {"retry-after": "7", "x-why": "because"}
    body = b"" if status in {204, 304} else b'{"error":{"code":"theirs"}}'
    proxied = world(Answer(status, headers, body))
    found = proxied.sent()
    assert (found.status, found.body) == (status, body)
    assert found.headers["x-why"] == "because"


# ---- what is refused -------------------------------------------------------------------


def test_a_missing_header_is_named_and_nothing_is_sent() -> None:
    proxied = world()
    found = proxied.app.get("/proxy/x", headers={"connection-id": "c1"})
    assert (found.status, found.code) == (400, "invalid_headers")
    assert found.issues == [("invalid_type", ["provider-config-key"])]


def test_without_the_scope_nothing_is_sent() -> None:
    proxied = world()
    for scope in (READ, "environment:connections:*"):
        found = proxied.sent(key=proxied.key(scope))
        assert (found.status, found.code) == (403, "forbidden")
    found = proxied.app.get("/proxy/x", key=None)
    assert (found.status, found.code) == (401, "missing_auth_header")


def test_a_key_that_may_only_proxy_can_use_what_it_cannot_read() -> None:
    proxied = world(200)
    key = proxied.key(PROXY)
    assert proxied.read("c1", key=key).status == 403
    assert proxied.sent(key=key).status == 200


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"of": "nope"}, 404, "unknown_provider_config"),
        ({"connection": "nope"}, 400, "server_error"),
        ({"base_url_override": "https://a.com/?q"}, 400, "invalid_headers"),
    ],
)
def test_what_is_not_there_is_an_error_that_clients_know(
    headers: dict[str, str], status: int, code: str
) -> None:
    proxied = world()
    found = proxied.sent(**headers)
    assert (found.status, found.code) == (status, code)


def test_another_environments_connection_is_not_there() -> None:
    proxied = world()
    other = Proxied(of=proxied, environment="env2")
    other.imported("theirs")
    found = proxied.sent(connection="theirs")
    assert (found.status, found.code) == (400, "server_error")


def test_other_methods_reach_no_provider() -> None:
    proxied = world()
    found = proxied.sent("TRACE")
    assert (found.status, found.code) == (404, "not_found")


@pytest.mark.parametrize("kind", ["OAUTH1", "TBA", "AWS_SIGV4"])
def test_a_request_that_would_have_to_be_signed_is_not_sent_unsigned(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unsigning(Mode):
        credential_type = kind

    proxied = world()
    secret = replace(proxied.secret(), credential_type=kind)
    proxied.ctx.store.put(Put(secret.key, secret.as_item()))
    monkeypatch.setattr("keystow.proxy.forwarding.mode_for", lambda *_: Unsigning())
    found = proxied.sent()
    assert (found.status, found.code) == (400, "unsupported_auth")


def test_a_connection_that_lacks_what_the_entry_needs_is_told_what() -> None:
    proxied = world()
    proxied.provider_of("acme", "API_KEY", headers={"x-key": "${credentials.other}"})
    proxied.connected("acme", {"type": "API_KEY", "apiKey": "marked"})
    found = proxied.sent(of="acme", connection="acme")
    assert (found.status, found.code) == (400, "unsupported_auth")
    assert b"x-key" in found.body
    assert b"marked" not in found.body


# ---- where it may go -------------------------------------------------------------------


def connected_to_acme(*answers: Any, **proxy: Any) -> Proxied:
    proxied = world(*answers)
    proxied.provider_of("acme", **proxy)
    proxied.connected("acme", {"type": "OAUTH2", "access_token": "at"})
    return proxied


@pytest.mark.parametrize("override", [f"{API}/other", "https://auth.acme.example/v2"])
def test_an_override_may_name_a_host_of_the_entry(override: str) -> None:
    proxied = connected_to_acme(200)
    key = proxied.key(PROXY)
    found = proxied.sent(of="acme", connection="acme", key=key, base_url_override=override)
    assert found.status == 200
    assert proxied.ctx.egress.sent[0].url == f"{override}/x"


@pytest.mark.parametrize(
    "override",
    [
        OTHER,
        "https://api.acme.example.evil.com",
        "https://api.acme.example:8443",
        "http://api.acme.example",
        "https://u:p@api.acme.example",
        "https://acme.example",  # where a browser is sent, and no secret
    ],
)
def test_no_other_host_gets_a_credential_that_the_key_may_not_read(override: str) -> None:
    proxied = connected_to_acme()
    key = proxied.key(PROXY)
    found = proxied.sent(of="acme", connection="acme", key=key, base_url_override=override)
    assert (found.status, found.code) == (400, "base_url_override_not_allowed")


@pytest.mark.parametrize("space", [" ", "\t", "\u00a0", "\u0085", "\u2003", "\x1f"])
def test_an_override_leads_to_no_second_host_behind_one_that_is_named(space: str) -> None:
    named = "https://api.acme.example/${connectionConfig.nope}"
    for override in (f"{named}{space}||{space}{OTHER}", f"{OTHER}{space}||{space}{named}"):
        proxied = connected_to_acme()
        key = proxied.key(PROXY)
        found = proxied.sent(of="acme", connection="acme", key=key, base_url_override=override)
        assert found.status == 400
        assert not proxied.ctx.egress.sent


def test_an_override_may_name_a_host_of_the_entry_by_a_value_of_the_connection() -> None:
    proxied = world(200)
    proxied.provider_of("acme", "API_KEY")
    definition = proxied.app.get("/providers/acme").json()["data"]
    definition["proxy"]["base_url"] = "https://${connectionConfig.team}.acme.example"
    definition["connection_config"] = {"team": {"type": "string", "title": "Team"}}
    assert proxied.app.put("/providers/acme", definition).status == 200
    credential = {"type": "API_KEY", "apiKey": "k"}
    proxied.connected("acme", credential, connection_config={"team": "blue"})
    override = "https://${connectionConfig.team}.acme.example/v2"
    key = proxied.key(PROXY)
    found = proxied.sent(of="acme", connection="acme", key=key, base_url_override=override)
    assert found.status == 200
    assert proxied.ctx.egress.sent[0].url == "https://blue.acme.example/v2/x"


def test_a_key_that_may_read_the_credential_may_send_it_anywhere() -> None:
    proxied = connected_to_acme(200)
    key = proxied.key(PROXY, READ)
    found = proxied.sent(of="acme", connection="acme", key=key, base_url_override=OTHER)
    assert found.status == 200
    assert proxied.ctx.egress.sent[0].url == f"{OTHER}/x"


def test_the_apps_secret_goes_to_another_host_only_with_a_key_that_may_read_it_too() -> None:
    proxied = connected_to_acme(200, headers={"x-app": "${clientSecret}"})
    where = {"of": "acme", "connection": "acme", "base_url_override": OTHER}
    found = proxied.sent(key=proxied.key(PROXY, READ), **where)
    assert (found.status, found.code) == (400, "base_url_override_not_allowed")
    assert proxied.sent(key=proxied.key(PROXY, READ, READ_APP), **where).status == 200


def test_an_app_secret_that_the_mode_sends_goes_to_another_host_only_so_too() -> None:
    proxied = world(default=200)
    proxied.provider_of("acme", "OAUTH1", signature_method="PLAINTEXT")
    token = {"type": "OAUTH1", "oauth_token": "t", "oauth_token_secret": "s"}
    proxied.connected("acme", token)
    where = {"of": "acme", "connection": "acme", "base_url_override": OTHER}
    found = proxied.sent(key=proxied.key(PROXY, READ), **where)
    assert (found.status, found.code) == (400, "base_url_override_not_allowed")
    assert proxied.sent(key=proxied.key(PROXY, READ, READ_APP), **where).status == 200


def test_an_entry_without_an_api_needs_an_override() -> None:
    proxied = world(200)
    definition = {
        "display_name": "No API",
        "categories": ["dev-tools"],
        "auth_mode": "NONE",
        "docs": "https://acme.example/docs",
    }
    assert proxied.app.put("/providers/plain", definition).status == 201
    proxied.integration("plain", "plain")
    proxied.connected("plain", {"type": "NONE"})
    found = proxied.sent(of="plain", connection="plain")
    assert (found.status, found.code) == (400, "missing_api_url")
    found = proxied.sent(of="plain", connection="plain", base_url_override=OTHER)
    assert found.status == 200


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("private", "base_url_override_not_allowed"),
        ("redirect", "base_url_override_not_allowed"),
        ("scheme", "base_url_override_not_allowed"),
        ("malformed_header", "invalid_headers"),
        ("malformed_url", "invalid_uri_params"),
    ],
)
def test_what_the_guard_refuses_is_told(reason: str, code: str) -> None:
    found = world(EgressRefused(reason, sent=True)).sent(retries="3")
    assert (found.status, found.code) == (400, code)


@pytest.mark.parametrize(
    ("entry", "header", "follows"),
    [(None, None, False), (True, None, True), (True, "false", False), (None, "true", True)],
)
def test_headers_go_along_to_hosts_of_the_entry_when_somebody_asks(
    entry: bool | None, header: str | None, follows: bool
) -> None:
    said = {} if entry is None else {"forward_headers_on_redirect": entry}
    proxied = connected_to_acme(200, **said)
    given = {} if header is None else {"forward_headers_on_redirect": header}
    assert proxied.sent(of="acme", connection="acme", **given).status == 200
    options = proxied.ctx.egress.sent[0].options
    wanted = ["https://auth.acme.example/token", API] if follows else []
    assert sorted(options["trusted"]) == sorted(wanted)
    assert options["redirects"] == 10
    assert options["unpack"] is False


# ---- again, and in time ----------------------------------------------------------------


def test_without_retries_a_failure_is_passed_on_at_once() -> None:
    proxied = world(503)
    assert proxied.sent().status == 503
    assert proxied.ctx.clock.slept == []


def test_what_passes_by_itself_is_sent_again() -> None:
    proxied = world(503, EgressFailed("lost", sent=True), 429, json_answer(200, {"ok": 1}))
    found = proxied.sent("POST", raw=b"same", retries="3")
    assert (found.status, found.json()) == (200, {"ok": 1})
    assert [sent.body for sent in proxied.ctx.egress.sent] == [b"same"] * 4
    assert len(proxied.ctx.clock.slept) == 3


def test_retries_end() -> None:
    proxied = world(500, 501, 502)
    assert proxied.sent(retries="2").status == 502


def test_the_callers_statuses_and_the_entrys_count() -> None:
    proxied = world(409, 200)
    assert proxied.sent(retries="1", retry_on="409").status == 200
    proxied = connected_to_acme(403, 200, retry={"error_code": ["403"]})
    assert proxied.sent(of="acme", connection="acme", retries="1").status == 200


def test_a_pause_that_the_provider_asks_for_is_kept() -> None:
    proxied = world(Answer(429, {"retry-after": "9"}, b""), 200)
    assert proxied.sent(retries="1").status == 200
    assert proxied.ctx.clock.slept == [9.0]


def test_a_longer_pause_than_there_is_time_is_for_the_caller_to_make() -> None:
    proxied = world(Answer(429, {"retry-after": "27.5"}, b"slow down"))
    found = proxied.sent(retries="5")
    assert (found.status, found.body, found.headers["retry-after"]) == (429, b"slow down", "27.5")
    assert proxied.ctx.clock.slept == []


def test_all_attempts_together_end_before_the_gateway_does() -> None:
    proxied = world(default=lambda _sent: (proxied.ctx.clock.advance(9), Answer(500, {}, b""))[1])
    began = proxied.ctx.clock.now()
    assert proxied.sent(retries="10").status == 500
    assert proxied.ctx.clock.now() - began < 30
    deadlines = [sent.options["deadline"] for sent in proxied.ctx.egress.sent]
    assert deadlines[0] == 28
    assert all(each < 28 - 9 * number + 0.01 for number, each in enumerate(deadlines) if number)


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("timeout", 504, "provider_unavailable"),
        ("connect", 502, "provider_unavailable"),
        ("tls", 502, "provider_unavailable"),
        ("lost", 502, "provider_unavailable"),
        ("malformed", 502, "provider_unavailable"),
        ("too_many_redirects", 502, "provider_unavailable"),
        ("too_large", 502, "response_too_large"),
    ],
)
def test_no_answer_is_told_and_whether_the_request_may_have_arrived(
    kind: Any, status: int, code: str
) -> None:
    found = world(EgressFailed(kind, sent=True)).sent()
    assert (found.status, found.code) == (status, code)
    if code == "provider_unavailable":
        assert b"may have arrived" in found.body


def test_an_answer_that_cannot_be_used_is_not_asked_for_again() -> None:
    proxied = world(EgressFailed("too_large", sent=True))
    assert proxied.sent(retries="3").code == "response_too_large"


# ---- what is left of it ----------------------------------------------------------------


def test_using_a_connection_counts_as_reading_it_and_writes_once_a_day() -> None:
    proxied = world(default=200)
    assert proxied.sent().status == 200
    first = proxied.secret().fetched_at
    assert first == int(proxied.ctx.clock.now() * 1000)
    before = json.dumps(proxied.ctx.store.everything(), default=str, sort_keys=True)
    proxied.ctx.clock.advance(3_600)
    assert proxied.sent(path="/y", retries="2").status == 200
    after = json.dumps(proxied.ctx.store.everything(), default=str, sort_keys=True)
    assert after == before
    assert len(proxied.ctx.store.everything()[tables.CONNECTIONS]) > 0


def test_a_call_leaves_one_line_that_holds_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    proxied = connected_to_acme(503, 200)
    proxied.sent(
        "POST",
        "/marked-path?marked=query",
        of="acme",
        connection="acme",
        retries="1",
        raw=b"marked-body",
        nango_proxy_x="marked-header",
    )
    (line,) = [each for each in caplog.records if each.message == "proxied"]
    told = vars(line)
    assert (told["status"], told["requests"], told["renewed"]) == (200, 2, False)
    assert (told["method"], told["provider"], told["connection"]) == ("POST", "acme", "acme")
    shown = json.dumps({name: str(value) for name, value in told.items()})
    assert "marked" not in shown
    assert '"at"' not in shown
