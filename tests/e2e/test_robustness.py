"""Promises 7 and 10: what is done at once is done once, and bad input is answered, not suffered."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.e2e import driving

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.harness import RunningStack

KEY = "demo-api-key"
PLAIN = {"type": "API_KEY", "apiKey": "demo-key-ada-0001"}
KNOWN = {"provider_config_key": KEY, "connection_id": "solid"}
LONG = "x" * 5000


@pytest.fixture(scope="module")
def solid(api: httpx.Client) -> dict[str, Any]:
    """A connection that bad input must not change."""
    body = {**KNOWN, "credentials": PLAIN, "metadata": {"kept": True}}
    driving.done(api.post("/connections", json=body))
    return state(api)


def state(api: httpx.Client) -> dict[str, Any]:
    """What is stored of the connection and of its integration."""
    found: dict[str, Any] = driving.done(driving.read(api, KEY, "solid"))
    found.pop("last_fetched_at")
    found["integration"] = driving.done(api.get(f"/integrations/{KEY}"))
    return found


@dataclass(frozen=True)
class Bad:
    """A request that cannot be right."""

    what: str
    method: str
    path: str
    json: Any = None
    raw: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()
    status: int = 400
    code: str = ""

    def send(self, api: httpx.Client) -> httpx.Response:
        headers = dict(self.headers)
        content = self.raw
        if self.json is not None:
            content = json.dumps(self.json).encode()
        if content is not None:
            headers.setdefault("content-type", "application/json")
        return api.request(self.method, self.path, content=content, headers=headers)


def connection(**changes: Any) -> dict[str, Any]:
    """The body of an import with something in it replaced."""
    return {**KNOWN, "connection_id": "never", "credentials": PLAIN, **changes}


DEEP = b'{"metadata":' + b"[" * 5000 + b"]" * 5000 + b"}"
BAD = (
    Bad("half a document", "POST", "/connections", raw=b'{"provider_config_key":'),
    Bad("a list", "POST", "/connections", json=[1]),
    Bad("a number", "POST", "/integrations", json=7),
    Bad("null", "POST", "/connect/sessions", raw=b"null"),
    Bad("nothing", "POST", "/connections"),
    Bad("bytes that are no text", "POST", "/connections", raw=b"\xff\xfe\x00\x01"),
    Bad("text that is not JSON", "PATCH", "/connections/metadata", raw=b"a=b"),
    Bad("a tower of brackets", "POST", "/connections/metadata", raw=DEEP),
    Bad("a number beyond all", "POST", "/connections/metadata", raw=b'{"metadata":{"a":1e999}}'),
    Bad("not a number", "POST", "/connections/metadata", raw=b'{"metadata":{"a":NaN}}'),
    Bad("half a character", "POST", "/connections", raw=b'{"provider_config_key":"\\ud800"}'),
    Bad("an unknown member", "POST", "/connections", json=connection(surprise=1)),
    Bad("a wrong type", "POST", "/connections", json=connection(connection_id=7)),
    Bad("an id too long", "POST", "/connections", json=connection(connection_id="c" * 256)),
    Bad("an id with a control", "POST", "/connections", json=connection(connection_id="a\u0000b")),
    Bad("an empty credential", "POST", "/connections", json=connection(credentials={})),
    Bad(
        "the wrong kind of credential",
        *("POST", "/connections"),
        json=connection(credentials={"type": "BASIC", "username": "a", "password": "b"}),
    ),
    Bad(
        "a key that does not work",
        *("POST", "/connections"),
        json=connection(credentials={"type": "API_KEY", "apiKey": "demo-key-wrong"}),
        code="connection_test_failed",
    ),
    Bad(
        "an integration that is not there",
        *("POST", "/connections"),
        json=connection(provider_config_key="nope"),
        status=404,
    ),
    Bad(
        "a webhook to the metadata service",
        *("POST", "/connections"),
        json=connection(webhook_url_override="http://169.254.169.254/latest"),
    ),
    Bad("tags that are a list", "PATCH", f"/connections/solid?provider_config_key={KEY}", ["a"]),
    Bad("no integration named", "GET", "/connections/solid"),
    Bad(
        "a flag that is none",
        "GET",
        f"/connections/solid?provider_config_key={KEY}&force_refresh=x",
    ),
    Bad("a query too much", "GET", f"/connections/solid?provider_config_key={KEY}&surprise=1"),
    Bad("a limit of zero", "GET", "/connections?limit=0"),
    Bad("a limit that is text", "GET", "/connections?limit=many"),
    Bad("a page before the first", "GET", "/connections?page=-1"),
    Bad("a forged cursor", "GET", "/connections?cursor=eyJhIjoxfQ"),
    Bad("brackets that do not close", "GET", "/connections?tags[a=b"),
    Bad("percents that are none", "GET", "/connections?search=%zz%ff", status=0),
    Bad("a provider that is not there", "GET", "/providers/nope", status=404, code="not_found"),
    Bad("a search that is no pattern", "GET", "/providers?search=((((a+)+)+$", status=0),
    Bad("a path that is not there", "GET", "/nowhere", status=404),
    Bad("a method that is not there", "PUT", "/connections", json={}, status=404),
    Bad("a path that climbs", "GET", "/connections/..%2f..%2fetc", status=400),
    Bad("an integration's odd key", "GET", "/integrations/a%22b", code="invalid_uri_params"),
    Bad("a key with a slash", "GET", "/integrations/a%2Fb", status=404),  # decoded by API Gateway
    Bad("a key twice as long", "POST", "/integrations", {"provider": "github", "unique_key": LONG}),
    Bad(
        "no key at all",
        *("GET", "/connections"),
        headers=(("authorization", ""),),
        status=401,
    ),
    Bad(
        "a key that is no key",
        *("GET", "/connections"),
        headers=(("authorization", f"Bearer {LONG}"),),
        status=401,
    ),
    Bad("a callback without state", "GET", "/oauth/callback?code=x"),
    Bad("a callback with a made-up state", "GET", f"/oauth/callback?code=x&state={'0' * 64}"),
    Bad(
        "a session token that is none",
        "GET",
        f"/oauth/connect/{KEY}?connect_session_token=x",
        status=401,
    ),
)


@pytest.mark.parametrize("bad", BAD, ids=[each.what for each in BAD])
def test_bad_input_gets_a_clear_answer(api: httpx.Client, solid: dict[str, Any], bad: Bad) -> None:
    answer = bad.send(api)
    if bad.status == 0:  # whether it is refused is a matter of taste
        assert answer.status_code in {200, 400}, answer.text
        return
    assert answer.status_code == bad.status, answer.text
    if "text/html" in answer.headers["content-type"]:
        return
    error = answer.json()["error"]
    assert set(error) <= {"code", "message", "errors", "payload"}
    assert error["code"] == (bad.code or error["code"])


def test_bad_input_changed_nothing(api: httpx.Client, solid: dict[str, Any]) -> None:
    for bad in BAD:
        assert bad.send(api).status_code < 500, bad.what
    assert state(api) == solid
    assert driving.read(api, KEY, "never").status_code == 404


@pytest.mark.parametrize("megabytes", [2, 7, 11])
def test_what_is_too_large_is_said_to_be_so(
    api: httpx.Client, solid: dict[str, Any], megabytes: int
) -> None:
    body = {**KNOWN, "metadata": {"a": "x" * megabytes * 1024 * 1024}}
    answer = api.post("/connections/metadata", json=body)
    assert answer.status_code == 413, answer.text
    if megabytes < 6:  # beyond that API Gateway and Lambda answer in words of their own
        assert answer.json()["error"]["code"] == "request_too_large"
    assert state(api) == solid


def at_once(count: int, call: Callable[[int], httpx.Response]) -> list[httpx.Response]:
    """What so many calls made at the same time were answered."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(call, range(count)))


def test_twenty_changes_of_different_metadata_are_all_kept(api: httpx.Client) -> None:
    driving.done(api.post("/connections", json=connection(connection_id="busy")))
    place = {"provider_config_key": KEY, "connection_id": "busy"}

    def change(number: int) -> httpx.Response:
        body = {**place, "metadata": {f"key-{number}": number}}
        return api.patch("/connections/metadata", json=body)

    assert {each.status_code for each in at_once(20, change)} == {200}
    found = driving.done(driving.read(api, KEY, "busy"))["metadata"]
    assert found == {f"key-{number}": number for number in range(20)}


def test_of_ten_integrations_with_one_key_made_at_once_one_is_made(api: httpx.Client) -> None:
    body = {"provider": "unauthenticated", "unique_key": "only-one"}
    answers = at_once(10, lambda _: api.post("/integrations", json=body))
    assert sorted(each.status_code for each in answers) == [200] + [400] * 9
    listed = driving.done(api.get("/integrations"))["data"]
    assert len([each for each in listed if each["unique_key"] == "only-one"]) == 1


def test_ten_imports_of_one_connection_at_once_make_one_connection(api: httpx.Client) -> None:
    answers = at_once(10, lambda _: api.post("/connections", json=connection(connection_id="same")))
    assert {each.status_code for each in answers} == {201}
    found = driving.done(api.get("/connections", params={"connectionId": "same"}))["connections"]
    assert len(found) == 1
    assert {each.json()["id"] for each in answers} == {found[0]["id"]}


def test_a_connection_deleted_while_it_is_refreshed_stays_deleted(
    api: httpx.Client, provider: driving.Provider
) -> None:
    pair = provider.imported(api, "deleted")
    provider.fault(token_delay_s=3, grant_type="refresh_token")
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(driving.read, api, provider.integration, "deleted")
        driving.wait_for(lambda: provider.log(family=pair.family), 20, "refresh")
        place = driving.path_of("deleted")
        gone = api.delete(place, params={"provider_config_key": provider.integration})
        answer = reading.result()
    provider.fault()
    assert gone.status_code == 200
    assert answer.status_code == 404, answer.text
    assert driving.read(api, provider.integration, "deleted").status_code == 404
    listed = driving.done(api.get("/connections", params={"connectionId": "deleted"}))
    assert listed["connections"] == []


def test_the_token_of_a_connection_deleted_meanwhile_is_revoked(
    stack: RunningStack, api: httpx.Client, provider: driving.Provider
) -> None:
    made = driving.connect(stack, api, provider.integration)["connection_id"]
    credentials = driving.done(driving.read(api, provider.integration, made))["credentials"]
    assert provider.works(credentials["access_token"])
    gone = api.delete(f"/connections/{made}", params={"provider_config_key": provider.integration})
    assert gone.json()["success"] is True
    assert not provider.works(credentials["access_token"])
