"""However long what comes in is, in characters or in bytes, it is answered with a 4xx."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from keystow.store import tables
from keystow.store.memory import MemoryStore
from tests.app import App, invoke
from tests.integration.robustness.routes import (
    FORM,
    PROXY,
    World,
    all_routes,
    check_answer,
    path_of,
)
from tests.moto_tables import moto_store
from tests.support import FakeEgress, make_context, seed_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

# Longer than a key in characters, and in bytes alone.
LONG = {"characters": "x" * 100_000, "bytes": "😀" * 600, "more bytes": "é" * 30_000}
QUERY_NAMES = (
    "provider_config_key",
    "connectionId",
    "connection_id",
    "integration_id",
    "cursor",
    "search",
    "limit",
    "state",
    "code",
    "iss",
    "error",
    "ws_client_id",
    "connect_session_token",
    "public_key",
    "endUserId",
    "endUserOrganizationId",
    "tags[a]",
    "params[site]",
    "authorization_params[a]",
    "credentials[oauth_client_id_override]",
    "include",
    "type",
    "hmac",
    "user_scope",
)
FIELDS = (
    "provider_config_key",
    "connection_id",
    "integration_id",
    "provider",
    "unique_key",
    "name",
    "display_name",
    "token",
    "end_user",
    "apiKey",
    "username",
    "api_key",
    "access_token",
    "client_id",
    "environment_id",
    "key_id",
)


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(params=LONG)
def long(request: pytest.FixtureRequest) -> str:
    return LONG[request.param]


# Behind /proxy/ stands a path of the provider's, which may be as long as a URL.
OWN_PATHS = [each for each in all_routes() if "{" in each and each not in PROXY]


@pytest.mark.parametrize("route", OWN_PATHS)
def test_a_long_name_in_a_path_is_no_fault_and_changes_nothing(
    world: World, route: str, long: str
) -> None:
    before = world.state()
    for each in route.split("{")[1:]:
        variable = each.split("}")[0].rstrip("+")
        given = {**world.values, variable: quote(long)}
        answer = world.call_path(route, path_of(route, **given), body=None)
        check_answer(route, answer)
        assert answer.status >= 400, route
    assert world.state() == before


@pytest.mark.parametrize("route", all_routes())
def test_a_long_text_in_the_query_is_no_fault(world: World, route: str, long: str) -> None:
    for name in QUERY_NAMES:
        check_answer(route, world.call(route, query=f"{name}={quote(long)}"))


@pytest.mark.parametrize("route", [each for each in all_routes() if each[:3] in {"POS", "PUT"}])
def test_a_long_text_in_the_body_is_no_fault(world: World, route: str, long: str) -> None:
    for field in FIELDS:
        for value in (long, [long], {"id": long}, {long: long}):
            body = {"provider_config_key": "key", "connection_id": "c1", field: value}
            check_answer(route, world.call(route, body=body))


@pytest.mark.parametrize("route", all_routes())
def test_a_long_credential_or_cookie_is_no_fault(world: World, route: str, long: str) -> None:
    method = route.split(maxsplit=1)[0]
    for headers in (
        {"authorization": f"Bearer {long}"},
        {"authorization": f"Bearer nango_connect_session_{long}"},
        {"cookie": f"__Host-keystow-{long}={long}"},
    ):
        path = path_of(route, **world.values)
        answer = world.app.call(method, path, headers=headers, key=None)
        check_answer(route, answer)


def test_a_long_state_in_a_form_is_no_fault(world: World, long: str) -> None:
    kind = {"content-type": "application/x-www-form-urlencoded"}
    raw = f"state={quote(long)}&code={quote(long)}".encode()
    check_answer(FORM, world.app.call("POST", "/oauth/callback", raw=raw, headers=kind))


def test_a_long_message_of_a_browsers_socket_is_no_fault(world: World, long: str) -> None:
    for connection in (long, "c1"):
        event = {
            "requestContext": {
                "connectionId": connection,
                "routeKey": "$default",
                "eventType": "MESSAGE",
            },
            "body": long,
        }
        answer = invoke(world.ctx, "browser_socket", event)
        assert answer["statusCode"] < 500


@pytest.fixture(params=["memory", "dynamodb"])
def app(request: pytest.FixtureRequest) -> Iterator[App]:
    if request.param == "memory":
        yield _app(MemoryStore())
        return
    with moto_store() as (store, _client):
        yield _app(store)


def _app(store: Any) -> App:
    ctx: Any = make_context(store=store, egress=FakeEgress(default=200))
    app = App(ctx, seed_environment(ctx).secret_key)
    body = {"provider": "unauthenticated", "unique_key": "key"}
    assert app.post("/integrations", body).status == 200
    return app


def test_a_legacy_import_under_a_key_that_no_table_takes_names_an_unknown_integration(
    app: App, long: str
) -> None:
    flat = {"provider_config_key": long, "connection_id": "c1"}
    answer = app.post("/connection", flat)
    assert (answer.status, answer.code) == (400, "unknown_provider_config")
    flat = {"provider_config_key": "key", "connection_id": long}
    answer = app.post("/connection", flat)
    assert (answer.status, answer.code) == (400, "invalid_body")


def test_the_longest_end_user_id_is_stored_found_and_changed(app: App) -> None:
    longest = "😀" * 255
    body = {
        "provider_config_key": "key",
        "connection_id": "c1",
        "credentials": {"type": "NONE"},
        "end_user": {"id": longest},
    }
    assert app.post("/connections", body).status == 201
    found = app.get(f"/connections?endUserId={quote(longest)}").json()["connections"]
    assert [each["connection_id"] for each in found] == ["c1"]
    other = {"end_user": {"id": "😁" * 255}}
    changed = app.patch("/connections/c1?provider_config_key=key", other)
    assert changed.status == 200
    found = app.get(f"/connections?endUserId={quote('😁' * 255)}").json()["connections"]
    assert [each["end_user"]["id"] for each in found] == ["😁" * 255]


def test_an_integration_of_the_longest_key_can_be_made_used_and_removed(app: App) -> None:
    longest = "k" * 255
    body = {"provider": "unauthenticated", "unique_key": longest}
    assert app.post("/integrations", body).status == 200
    made = {
        "provider_config_key": longest,
        "connection_id": "c" * 255,
        "credentials": {"type": "NONE"},
    }
    assert app.post("/connections", made).status == 201
    path = f"/connections/{'c' * 255}?provider_config_key={longest}"
    assert app.get(path).status == 200
    assert app.delete(f"/integrations/{longest}").status == 200
    left = app.ctx.store.query(tables.CONNECTIONS, "env1", index="by_environment")
    assert left.items == []
