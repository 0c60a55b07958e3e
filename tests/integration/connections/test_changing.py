"""Changing connections: metadata, end users, tags; deleting them."""

from __future__ import annotations

from typing import Any

import pytest

from keystow.store import tables
from tests.authorization_server import answer
from tests.integration.connections.world import World
from tests.moto_tables import moto_store
from tests.support import run_in_parallel


@pytest.fixture
def world() -> World:
    world = World()
    for each in ("c1", "c2", "c3"):
        world.imported(each)
    return world


def change(world: World, verb: str, ids: Any, metadata: Any, key: str = "pat") -> Any:
    body = {"connection_id": ids, "provider_config_key": key, "metadata": metadata}
    return world.app.call(verb, "/connections/metadata", body)


def metadata_of(world: World, connection_id: str) -> Any:
    return world.read(connection_id).json()["metadata"]


def test_post_replaces_and_patch_merges_one_level_deep(world: World) -> None:
    assert change(world, "POST", "c1", {"a": 1, "b": {"x": 1}}).status == 201
    assert change(world, "POST", "c1", {"b": {"x": 1}, "c": None}).status == 201
    assert metadata_of(world, "c1") == {"b": {"x": 1}, "c": None}
    assert change(world, "PATCH", "c1", {"b": {"y": 2}, "d": [1]}).status == 200
    assert metadata_of(world, "c1") == {"b": {"y": 2}, "c": None, "d": [1]}


def test_the_answer_is_the_body(world: World) -> None:
    body = {"connection_id": ["c1"], "provider_config_key": "pat", "metadata": {"a": 1}}
    assert world.app.post("/connections/metadata", body).json() == body
    assert world.app.patch("/connection/metadata", body).json() == body


def test_several_are_changed_together(world: World) -> None:
    assert change(world, "POST", ["c1", "c2", "c1"], {"a": 1}).status == 201
    assert change(world, "PATCH", ["c1", "c3"], {"b": 2}).status == 200
    assert [metadata_of(world, each) for each in ("c1", "c2", "c3")] == [
        {"a": 1, "b": 2},
        {"a": 1},
        {"b": 2},
    ]


@pytest.mark.parametrize(
    ("ids", "issue"),
    [([], "too_small"), ([f"c{n}" for n in range(91)], "too_big"), ([1], "invalid_union")],
)
def test_no_connections_and_too_many_are_told_apart(world: World, ids: Any, issue: str) -> None:
    refused = change(world, "POST", ids, {"a": 1})
    assert (refused.status, refused.issues) == (400, [(issue, ["connection_id"])])


@pytest.mark.parametrize("verb", ["POST", "PATCH"])
def test_one_unknown_connection_leaves_all_of_them_as_they_were(world: World, verb: str) -> None:
    refused = change(world, verb, ["c1", "nope", "c2"], {"a": 1})
    assert (refused.status, refused.code) == (404, "unknown_connection")
    assert [metadata_of(world, each) for each in ("c1", "c2")] == [{}, {}]
    assert change(world, verb, "c1", {"a": 1}, key="nope").status == 404
    assert change(world, verb, "c1", {"a": 1}, key="rot").status == 404


def test_the_older_path_takes_the_metadata_itself(world: World) -> None:
    path = "/connection/c1/metadata?provider_config_key=pat"
    made = world.app.post(path, {"a": 1})
    assert (made.status, made.json()) == (201, {"a": 1})
    merged = world.app.patch(
        "/connection/c1/metadata", {"b": 2}, headers={"Provider-Config-Key": "pat"}
    )
    assert (merged.status, merged.json()) == (200, {"b": 2})
    assert metadata_of(world, "c1") == {"a": 1, "b": 2}
    assert world.app.post("/connection/c1/metadata", {}).code == "invalid_query_params"
    assert world.app.post("/connection/c1/other?provider_config_key=pat", {}).code == "not_found"


def test_twenty_patches_at_once_keep_all_their_keys() -> None:
    with moto_store() as (store, _client):
        world = World(store=store)
        world.imported("c1")
        answers = run_in_parallel(
            20, lambda place: change(world, "PATCH", "c1", {f"key{place}": place})
        )
        assert [each.status for each in answers] == [200] * 20
        assert metadata_of(world, "c1") == {f"key{place}": place for place in range(20)}


def test_twenty_patches_at_once_of_a_connection_without_metadata_keep_all_their_keys() -> None:
    with moto_store() as (store, _client):
        world = World(store=store)
        world.imported("c1")
        key = next(item for item in every(store, world, "c1") if item["sk"] == tables.CONNECTION)
        from keystow.store import Key, Update

        place = Key(tables.CONNECTIONS, key["pk"], key["sk"])
        store.update(Update(place, remove=("metadata", "metadata_revision")))
        answers = run_in_parallel(
            20, lambda place: change(world, "PATCH", "c1", {f"key{place}": place})
        )
        assert [each.status for each in answers] == [200] * 20
        assert metadata_of(world, "c1") == {f"key{place}": place for place in range(20)}


def every(store: Any, world: World, connection_id: str) -> list[Any]:
    from keystow.registry import integrations

    integration = integrations.by_unique_key(world.ctx, world.environment, "pat", fresh=True)
    assert integration is not None
    pk = tables.connection_pk(world.environment, integration.id, connection_id)
    return list(store.query(tables.CONNECTIONS, pk).items)


@pytest.mark.parametrize("known", [True, False])
def test_patches_of_many_and_of_long_entries_arrive_whole(known: bool) -> None:
    with moto_store() as (store, _client):
        world = World(store=store)
        world.imported("c1", **({"metadata": {"old": 1}} if known else {}))
        many = {f"key{number}" + "x" * 40: number for number in range(300)}
        long = {f"long{number}": "ü" * 5_000 for number in range(10)}
        assert change(world, "PATCH", "c1", many).status == 200
        assert change(world, "PATCH", "c1", long).status == 200
        odd = {"a.b": 1, "#n0": 2, ":v0": 3, "size": 4, "ä b": 5}
        assert change(world, "PATCH", "c1", odd).status == 200
        old = {"old": 1} if known else {}
        assert metadata_of(world, "c1") == {**old, **many, **long, **odd}


def test_what_is_too_large_to_be_stored_is_refused_and_changes_nothing(world: World) -> None:
    refused = change(world, "POST", "c1", {"a": "x" * 500_000})
    assert (refused.status, refused.code) == (413, "request_too_large")
    assert metadata_of(world, "c1") == {}


def patched(world: World, body: Any, query: str = "?provider_config_key=pat") -> Any:
    return world.app.patch(f"/connections/c1{query}", body)


def test_an_end_user_replaces_the_tags_by_its_own(world: World) -> None:
    assert patched(world, {"tags": {"Team": "blue"}}).json() == {"success": True}
    assert world.read("c1").json()["tags"] == {"team": "blue"}
    user = {"id": "u1", "email": "u1@example.com", "tags": {"Plan": "pro"}}
    assert patched(world, {"end_user": user}).status == 200
    found = world.read("c1").json()
    assert found["end_user"]["tags"] == {"Plan": "pro"}
    assert found["tags"] == {
        "end_user_id": "u1",
        "end_user_email": "u1@example.com",
        "plan": "pro",
    }
    assert world.listed(endUserId="u1") == ["c1"]
    assert patched(world, {"end_user": {"id": "u2"}, "tags": {"a": "b"}}).status == 200
    assert world.read("c1").json()["tags"] == {"end_user_id": "u2", "a": "b"}
    assert world.listed(endUserId="u1") == []
    assert patched(world, {"tags": {}}).status == 200
    found = world.read("c1").json()
    assert (found["tags"], found["end_user"]["id"]) == ({}, "u2")


def test_a_webhook_override_is_set_checked_and_taken_away(world: World) -> None:
    url = "https://hooks.example.com/x"
    assert patched(world, {"webhook_url_override": url}).status == 200
    assert world.read("c1").json()["webhook_url_override"] == url
    for bad in ("http://127.0.0.1/x", "https://169.254.169.254/", "ftp://a.example", "x"):
        assert patched(world, {"webhook_url_override": bad}).code == "invalid_body"
    assert world.read("c1").json()["webhook_url_override"] == url
    assert patched(world, {"webhook_url_override": ""}).status == 200
    assert world.read("c1").json()["webhook_url_override"] is None


def test_changes_of_what_is_not_there_say_so(world: World) -> None:
    body = {"tags": {"a": "b"}}
    unknown = world.app.patch("/connections/nope?provider_config_key=pat", body)
    assert (unknown.status, unknown.code) == (404, "not_found")
    assert patched(world, body, "?provider_config_key=nope").code == "unknown_provider_config"
    assert patched(world, body, "").issues == [("invalid_type", ["provider_config_key"])]
    assert world.listed(connectionId="nope") == []


def test_a_deleted_connection_is_gone_and_revoked_at_the_provider() -> None:
    world = World()
    world.imported("c1", "rot")
    path = "/connections/c1?provider_config_key=rot"
    assert world.app.delete(path).json() == {"success": True}
    assert "rt-0" in world.provider.revoked
    assert world.ctx.store.everything()[tables.CONNECTIONS] == []
    again = world.app.delete(path)
    assert (again.status, again.code) == (400, "unknown_connection")
    assert world.read("c1", "rot").status == 404


def test_a_provider_that_does_not_revoke_does_not_stop_the_deletion() -> None:
    world = World()
    world.imported("c1", "rot")
    world.ctx.egress.send = lambda *_args, **_options: answer(500, {})
    assert world.app.delete("/connection/c1?provider_config_key=rot").status == 200
    assert world.ctx.store.everything()[tables.CONNECTIONS] == []


def test_what_is_imported_again_after_a_deletion_is_another_connection() -> None:
    world = World()
    before = world.imported("c1", metadata={"a": 1})
    assert world.app.delete("/connections/c1?provider_config_key=pat").status == 200
    world.ctx.clock.advance(1)
    after = world.imported("c1")
    assert after["id"] != before["id"]
    assert after["metadata"] == {}


def test_an_import_over_an_existing_connection_keeps_its_id_and_age() -> None:
    world = World()
    before = world.imported("c1", metadata={"a": 1}, tags={"x": "y"})
    world.ctx.clock.advance(60)
    after = world.imported("c1")
    assert (after["id"], after["created_at"]) == (before["id"], before["created_at"])
    assert after["updated_at"] != before["updated_at"]
    assert (after["metadata"], after["tags"]) == ({}, {"x": "y"})
