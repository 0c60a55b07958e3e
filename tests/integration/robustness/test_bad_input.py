"""Whatever comes in is answered with a clear 4xx and changes nothing (design, promise 10)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.robustness.routes import (
    BODYLESS,
    BY_SESSION,
    FORM,
    LEGACY_METADATA,
    OPEN,
    PROXY,
    World,
    all_routes,
    check_answer,
    path_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

JSON = {"content-type": "application/json"}
WRITES = [
    route
    for route in all_routes()
    if route.split()[0] in {"POST", "PUT", "PATCH"} and route not in BODYLESS
]


def nested(depth: int) -> bytes:
    return b'{"metadata":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"


# Wrong for every route that takes a body.
BODIES: dict[str, bytes] = {
    "half": b'{"provider":',
    "text": b"hello",
    "an array": b"[]",
    "a string": b'"x"',
    "a number": b"1",
    "null": b"null",
    "true": b"true",
    "only spaces": b"   ",
    "not UTF-8": b'{"a":"\xff\xfe"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "an encoded surrogate": b'{"a":"\xed\xa0\x80"}',
    "a lone surrogate": b'{"display_name":"\\ud800","tags":{"a":"\\udfff"}}',
    "a surrogate as name": b'{"\\ud800":1}',
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":-Infinity}',
    "a float without end": b'{"a":1e999}',
    "an endless integer": b'{"a":' + b"9" * 5_000 + b"}",
    "a long integer": b'{"timestamp":' + b"9" * 400 + b',"expires_at":' + b"9" * 400 + b"}",
    "deep": nested(100),
    "very deep": nested(100_000),
    "deep arrays": b"[" * 200_000,
    "unknown keys": b'{"zzz":1,"__proto__":{"a":1},"constructor":2}',
    "an empty name": b'{"":1}',
    "a null byte as name": b'{"\\u0000":1}',
    "trailing text": b"{} x",
    "two objects": b"{}{}",
    "a byte order mark": b"\xef\xbb\xbf{}",
}
# What becomes wrong when it stands for any field of a body.
WRONG: list[Any] = [None, 1, -1.5, True, [], {}, [[]], "\x00", "x" * 5_000, {"a": {"b": []}}, "é\n"]
FIELDS = (
    "provider_config_key",
    "connection_id",
    "credentials",
    "metadata",
    "connection_config",
    "end_user",
    "tags",
    "webhook_url_override",
    "allowed_integrations",
    "integrations_config_defaults",
    "overrides",
    "organization",
    "integration_id",
    "apiKey",
    "username",
    "password",
    "client_id",
    "client_secret",
    "provider",
    "unique_key",
    "display_name",
    "forward_webhooks",
    "custom",
    "integration_config",
    "primary_url",
    "on_auth_creation",
    "name",
    "environment_id",
    "key_id",
    "scopes",
    "token",
    "event",
    "timestamp",
    "dimensions",
    "auth_mode",
    "proxy",
    "token_url",
    "categories",
    "access_token",
    "expires_in",
)
QUERIES = {
    "an unknown name": "zzz=1",
    "invalid UTF-8": "provider_config_key=%ff%fe&search=%ff&zzz=%c3",
    "a surrogate": "search=%ed%a0%80&limit=%ed%a0%80",
    "null bytes": "connectionId=%00&search=%00&zzz=%00",
    "long values": "search=" + "a" * 100_000,
    "long names": "a" * 100_000 + "=1",
    "many names": "&".join(f"a{number}=1" for number in range(3_000)),
    "doubled names": "provider_config_key=a&provider_config_key=b&limit=1&limit=2&search=a&search=",
    "brackets": "tags[a][b][c][d][e][f][g]=1&params[[]]=1&limit[]=1&connection_id[x]=1&[=&]=&[]=1",
    "objects for texts": "limit[a]=1&search[a]=1&connectionId[]=1&cursor[a]=1&include[a]=1",
    "texts for objects": "tags=1&params=1&authorization_params=1&credentials=1",
    "both": "params=1&params[a]=2&tags[a]=1&tags[a][b]=2&tags[a]=3",
    "no numbers": "limit=abc&page=-1",
    "huge numbers": "limit=" + "9" * 30 + "&page=" + "9" * 30,
    "other digits": "limit=%D9%A1&page=%D9%A1",
    "a wrong cursor": "cursor=%F0%9F%98%80",
    "a forged cursor": "cursor=W10",
    "flags": "force_refresh=maybe&refresh_token=",
    "just signs": "&&&===&=&?&%&%zz",
    "prototypes": "__proto__[a]=1&constructor[prototype][a]=1&tags[__proto__]=1",
}
HEADERS: dict[str, dict[str, str]] = {
    "a long header": {"x-long": "a" * 100_000},
    "a long authorization": {"authorization": "Bearer " + "a" * 100_000},
    "a basic authorization": {"authorization": "Basic dTpw"},
    "a session as key": {"authorization": "Bearer nango_connect_session_" + "0" * 64},
    "an empty authorization": {"authorization": ""},
    "odd characters": {"authorization": "Bearer \u00e9\u20ac"},
    "a wrong type": {"content-type": "text/plain"},
    "a form": {"content-type": "application/x-www-form-urlencoded"},
    "parts": {"content-type": "multipart/form-data; boundary=x"},
    "an odd cookie": {"cookie": "=; ;;a; __Host-x=\u00e9; " + "b" * 50_000},
    "a language": {"accept-language": "x" * 10_000},
}


@pytest.fixture(scope="module")
def shared() -> dict[str, World]:
    return {"world": World()}


class Watch:
    """A world that is replaced by a new one as soon as something was allowed to change it."""

    def __init__(self, shared: dict[str, World]) -> None:
        self.shared = shared

    @property
    def world(self) -> World:
        return self.shared["world"]

    def send(self, route: str, *, changes: bool = False, **options: Any) -> Any:
        """Send, and require that nothing changed unless the answer says so."""
        before = self.world.state()
        answer = self.world.call(route, **options)
        check_answer(route, answer)
        if self.world.state() != before:
            assert answer.status < 400, (route, options, answer.status, answer.body[:200])
            self.shared["world"] = World()
        return answer


@pytest.fixture
def watch(shared: dict[str, World]) -> Watch:
    return Watch(shared)


@pytest.mark.parametrize("route", WRITES)
def test_a_body_that_is_none_is_refused(watch: Watch, route: str) -> None:
    for name, body in BODIES.items():
        answer = watch.send(route, raw=body, headers=JSON)
        # No body is wanted there; and here any object is metadata.
        empty = name == "only spaces" and route.startswith("POST /auth/unauthenticated")
        free = name in {"unknown keys", "a null byte as name"} and route in LEGACY_METADATA
        assert empty or free or 400 <= answer.status < 500, (name, answer.status)


@pytest.mark.parametrize("route", WRITES)
def test_a_field_of_a_wrong_type_is_refused(watch: Watch, route: str) -> None:
    for field in FIELDS:
        for value in WRONG:
            watch.send(route, body={field: value})


COMPLETE: dict[str, dict[str, Any]] = {
    "POST /connections": {
        "provider_config_key": "key",
        "connection_id": "c2",
        "credentials": {"type": "API_KEY", "apiKey": "k"},
        "metadata": {"a": 1},
        "connection_config": {"a": "b"},
        "end_user": {"id": "u", "email": "u@example.com", "display_name": "U", "tags": {"a": "b"}},
        "tags": {"a": "b"},
        "webhook_url_override": "https://hooks.example.com",
    },
    "POST /connection": {
        "provider_config_key": "key",
        "connection_id": "c2",
        "api_key": "k",
        "metadata": {"a": 1},
        "connection_config": {"a": "b"},
    },
    "POST /connections/metadata": {
        "provider_config_key": "key",
        "connection_id": ["c1"],
        "metadata": {"a": 1},
    },
    "PATCH /connections/{connectionId+}": {
        "end_user": {"id": "u", "email": "u@example.com"},
        "tags": {"a": "b"},
        "webhook_url_override": "https://hooks.example.com",
    },
    "POST /connect/sessions": {
        "end_user": {"id": "u", "email": "u@example.com", "display_name": "U", "tags": {"a": "b"}},
        "organization": {"id": "o", "display_name": "O"},
        "allowed_integrations": ["key"],
        "integrations_config_defaults": {
            "key": {
                "user_scopes": "a",
                "authorization_params": {"a": "b"},
                "connection_config": {"oauth_scopes_override": "a", "b": "c"},
            }
        },
        "overrides": {"key": {"docs_connect": "https://docs.example.com"}},
        "tags": {"a": "b"},
        "webhook_url_override": "https://hooks.example.com",
    },
    "POST /connect/sessions/reconnect": {
        "connection_id": "c1",
        "integration_id": "key",
        "end_user": {"id": "u"},
    },
    "POST /api-auth/api-key/{providerConfigKey}": {"apiKey": "k"},
    "POST /integrations": {
        "provider": "github",
        "unique_key": "new",
        "display_name": "N",
        "forward_webhooks": True,
        "credentials": {
            "type": "OAUTH2",
            "client_id": "a",
            "client_secret": "b",
            "scopes": "a,b",
            "webhook_secret": "c",
        },
    },
    "PATCH /integrations/{uniqueKey}": {"unique_key": "other", "display_name": "N"},
    "PUT /environment/webhook-settings": {
        "primary_url": "https://a.example.com",
        "secondary_url": "https://b.example.com",
        "on_auth_creation": True,
        "on_auth_refresh_error": True,
        "on_connection_deletion": True,
    },
    "POST /environment/api-keys": {"environment_id": 1, "display_name": "k", "scopes": ["a"]},
    "POST /environments": {"name": "staging", "is_production": False},
    "POST /connect/telemetry": {
        "token": "t",
        "event": "open",
        "timestamp": "2026-01-01T00:00:00Z",
        "dimensions": {"integration": "key"},
    },
    "PUT /providers/{provider}": {
        "display_name": "Custom",
        "categories": ["dev-tools"],
        "auth_mode": "API_KEY",
        "proxy": {"base_url": "https://custom.example", "headers": {"a": "b"}},
        "credentials": {"apiKey": {"type": "string", "title": "API key"}},
    },
}


def spoilt(body: Any) -> Iterator[Any]:
    """Yield copies of a body with one place of it, at any depth, replaced by something wrong."""
    for name in body:
        for wrong in WRONG:
            yield {**body, name: wrong}
        if isinstance(body[name], dict):
            yield {**body, name: {**body[name], "zzz\x00": 1}}
            for deeper in spoilt(body[name]):
                yield {**body, name: deeper}


@pytest.mark.parametrize("route", COMPLETE)
def test_one_wrong_place_in_a_good_body_is_no_fault(watch: Watch, route: str) -> None:
    for body in spoilt(COMPLETE[route]):
        watch.send(route, body=body)


@pytest.mark.parametrize("route", WRITES)
def test_a_body_over_the_limit_is_too_large(watch: Watch, route: str) -> None:
    answer = watch.send(route, raw=b'{"a":"' + b"x" * 1_100_000 + b'"}', headers=JSON)
    assert (answer.status, answer.code) == (413, "request_too_large")


@pytest.mark.parametrize("route", WRITES)
def test_another_content_type_is_refused(watch: Watch, route: str) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/jsonx/\x00"):
        answer = watch.send(route, raw=b"a=1", headers={"content-type": kind})
        assert 400 <= answer.status < 500
    plain = watch.send(route, raw=b"a=1", headers={"content-type": "text/plain"})
    assert (plain.status, plain.code) == (415, "invalid_content_type")


@pytest.mark.parametrize("route", all_routes())
def test_an_odd_query_is_no_fault(watch: Watch, route: str) -> None:
    for query in QUERIES.values():
        watch.send(route, query=query)


STRICT = [
    route
    for route in all_routes()
    if not path_of(route).startswith(
        ("/oauth", "/api-auth/", "/auth/", "/ui/", "/health", "/ready", "/proxy")
    )
]


@pytest.mark.parametrize("route", STRICT)
def test_an_unknown_parameter_is_refused(watch: Watch, route: str) -> None:
    answer = watch.send(route, query="zzz=1")
    refused = answer.status in {400, 403, 404}
    legacy = route in LEGACY_METADATA or route == "POST /connection"
    assert legacy or refused, (answer.status, answer.body)


@pytest.mark.parametrize("route", all_routes())
def test_odd_headers_are_no_fault(watch: Watch, route: str) -> None:
    for headers in HEADERS.values():
        watch.send(route, headers=headers)


@pytest.mark.parametrize("route", [each for each in all_routes() if each not in OPEN])
def test_nobody_gets_in_without_a_credential(watch: Watch, route: str) -> None:
    world = watch.world
    before = world.state()
    path, method = path_of(route), route.split(maxsplit=1)[0]
    keys = [
        None,
        "11111111-1111-4111-8111-111111111111",
        "nango_connect_session_" + "0" * 64,
        "x",
        world.token,
    ]
    for key in keys:
        if key == world.token and (route in BY_SESSION or path.startswith(("/prov", "/integr"))):
            continue
        answer = world.app.call(method, path, {}, key=key)
        check_answer(route, answer)
        assert answer.status == 401, (route, key, answer.status, answer.body)
    assert world.state() == before


@pytest.mark.parametrize("route", all_routes())
def test_a_method_that_is_not_offered_is_not_found(watch: Watch, route: str) -> None:
    offered = {each.split()[0] for each in all_routes() if path_of(each) == path_of(route)}
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "TRACE", "BREW"} - offered:
        answer = watch.world.app.call(method, path_of(route), {})
        if method == "HEAD" and path_of(route) in {"/health", "/ready"}:
            assert (answer.status, answer.body) == (200, b"")
            continue
        check_answer(route, answer)
        assert 400 <= answer.status < 500, (method, route, answer.status)


ERASURE = "DELETE /end-users/{endUserId+}"
NAMES = ["%00", "%ff", "%ED%A0%80", "a" * 1_000, "..%2f..%2f", "%3Cscript%3E", "%F0%9F%98%80", "%"]


@pytest.mark.parametrize("route", [e for e in all_routes() if "{" in e and e not in PROXY])
def test_odd_names_in_a_path_are_no_fault(watch: Watch, route: str) -> None:
    variable = route.split("{")[1].split("}", maxsplit=1)[0].rstrip("+")
    for name in NAMES:
        before = watch.world.state()
        answer = watch.world.call_path(route, path_of(route, **{variable: name}), body=None)
        check_answer(route, answer)
        # An end user's id may be any text, and one of whom nothing is kept is no error.
        fine = {200, 400} if route == ERASURE else range(400, 500)
        assert answer.status in fine, (name, answer.status)
        assert watch.world.state() == before


def test_a_form_that_is_too_long_or_no_form_is_no_fault(watch: Watch) -> None:
    kind = {"content-type": "application/x-www-form-urlencoded"}
    for body in (b"", b"\xff" * 100, b"a=" + b"x" * 1_000_000, b"&".join([b"a=1"] * 100_000)):
        answer = watch.send(FORM, raw=body, headers=kind)
        check_answer(FORM, answer)
        assert answer.status in {303, 400}
        assert len(answer.headers.get("location", "")) < 7_000


def test_what_is_within_bounds_is_stored_and_comes_back_unchanged(watch: Watch) -> None:
    metadata = {
        "deep": json.loads("[" * 60 + "]" * 60),
        "null\x00byte": "\x00",
        "number": 12345678901234567890123,
        "float": 1.5e300,
        "pair": "\U0001f600",
        "": None,
    }
    del metadata[""]
    world = watch.world
    body = {"connection_id": "c1", "provider_config_key": "key", "metadata": metadata}
    assert world.app.post("/connections/metadata", body).status == 201
    found = world.app.get("/connections/c1?provider_config_key=key")
    assert found.json()["metadata"] == metadata
    watch.shared["world"] = World()
