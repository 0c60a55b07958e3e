"""Integrations that are changed, renamed and deleted, and who sees it when."""

from __future__ import annotations

from keystow.integrations import removal
from keystow.records.connection import created_order, integration_partition
from keystow.registry import integrations
from keystow.store import Put, tables
from tests.integration.integrations.calls import OAUTH2, create
from tests.support import make_context, run_in_parallel


def connect(api, unique_key: str, connection_id: str = "c1") -> None:
    found = integrations.by_unique_key(api.ctx, api.environment, unique_key, fresh=True)
    place = tables.connection(api.environment, found.id, connection_id)
    partition = integration_partition(api.environment, found.id)
    item = {
        "integration": partition,
        "environment": api.environment,
        "created": created_order(1, 2),
    }
    secret = tables.connection_secret(api.environment, found.id, connection_id)
    journal = tables.journal(api.environment, found.id, connection_id, "1")
    api.ctx.store.transact([Put(place, item), Put(secret, {"a": 1}), Put(journal, {"a": 1})])


def test_parallel_patches_lose_nothing(api):
    create(api, provider="github", unique_key="x", credentials=OAUTH2)
    changes = [
        {"display_name": "New"},
        {"forward_webhooks": False},
        {"credentials": {**OAUTH2, "client_id": "new-id"}},
        *({"custom": {f"name{n}": "v"}} for n in range(5)),
    ]
    answers = run_in_parallel(
        len(changes), lambda n: api.send("PATCH", "/integrations/x", changes[n])
    )
    assert [answer.status for answer in answers] == [200] * len(changes)
    found = integrations.by_unique_key(api.ctx, api.environment, "x", fresh=True)
    assert (found.display_name, found.forward_webhooks, found.client_id) == ("New", False, "new-id")
    assert sorted(found.secrets(api.ctx.vault).custom.reveal()) == [f"name{n}" for n in range(5)]
    assert found.revision == 1 + len(changes)


def test_a_patch_changes_what_it_names_and_keeps_the_rest(api):
    create(
        api,
        provider="github",
        unique_key="x",
        credentials={**OAUTH2, "webhook_secret": "w"},
    )
    api.ctx.clock.advance(60)
    patch = {"credentials": {"type": "OAUTH2", "client_id": "n", "client_secret": "m"}}
    answer = api.send("PATCH", "/integrations/x", patch)
    assert answer.data["updated_at"] == "2026-01-01T00:01:00.000Z"
    assert answer.data["created_at"] == "2026-01-01T00:00:00.000Z"
    shown = api.send("GET", "/integrations/x?include=credentials").data["credentials"]
    assert shown["client_secret"] == "m"
    assert (shown["scopes"], shown["webhook_secret"]) == ("repo", "w")
    assert api.send("PATCH", "/integrations/x", {}).status == 200
    answer = api.send("PATCH", "/integrations/x", {"foo": 1})
    assert (answer.code, answer.issues) == ("invalid_body", [("unrecognized_keys", [])])
    wrong = {"credentials": {"type": "OAUTH1", "client_id": "a", "client_secret": "b"}}
    answer = api.send("PATCH", "/integrations/x", wrong)
    assert (answer.code, answer.issues) == ("invalid_body", [])


def test_a_rename_moves_the_claim_and_frees_the_old_key(api):
    create(api, provider="airtable-pat", unique_key="old")
    create(api, provider="airtable-pat", unique_key="taken")
    before = integrations.by_unique_key(api.ctx, api.environment, "old")
    answer = api.send("PATCH", "/integrations/old", {"unique_key": "taken"})
    assert (answer.status, answer.code, answer.issues) == (400, "invalid_body", [])
    assert api.send("PATCH", "/integrations/old", {"unique_key": "new"}).data["unique_key"] == "new"
    assert api.send("GET", "/integrations/old").status == 404
    after = integrations.by_unique_key(api.ctx, api.environment, "new")
    assert after.id == before.id
    assert create(api, provider="airtable-pat", unique_key="old").status == 200


def test_an_integration_with_connections_is_not_renamed(api):
    create(api, provider="airtable-pat", unique_key="x")
    connect(api, "x")
    answer = api.send("PATCH", "/integrations/x", {"unique_key": "y"})
    assert (answer.status, answer.code) == (400, "invalid_body")
    assert api.send("PATCH", "/integrations/x", {"unique_key": "x"}).status == 200


def test_deleting_an_integration_removes_its_connections_and_no_others(api):
    create(api, provider="airtable-pat", unique_key="x")
    create(api, provider="airtable-pat", unique_key="y")
    for number in range(3):
        connect(api, "x", f"c{number}")
    connect(api, "y")
    assert api.send("DELETE", "/integrations/x").body == {"success": True}
    left = {row["pk"].rpartition("#")[2] for row in api.ctx.store.everything()["connections"]}
    assert left == {"c1"}
    assert len(api.ctx.store.everything()["connections"]) == 3
    assert api.send("DELETE", "/integrations/x").code == "not_found"
    assert integrations.by_unique_key(api.ctx, api.environment, "x") is None
    assert create(api, provider="airtable-pat", unique_key="x").status == 200


def test_what_one_removal_cannot_finish_the_next_one_does(api, monkeypatch):
    monkeypatch.setattr(removal, "BATCH", 2)
    create(api, provider="airtable-pat", unique_key="x")
    for number in range(7):
        connect(api, "x", f"c{number}")
    found = integrations.by_unique_key(api.ctx, api.environment, "x")
    monkeypatch.setattr(removal, "purge", lambda *_: False)
    api.send("DELETE", "/integrations/x")
    monkeypatch.undo()
    assert integrations.by_id(api.ctx, api.environment, found.id) is None
    monkeypatch.setattr(removal, "BATCH", 2)
    assert not removal.purge(api.ctx, api.environment, "x", 2)
    assert removal.purge(api.ctx, api.environment, "x", 10)
    assert api.ctx.store.everything()["connections"] == []


def test_a_removal_that_one_call_cannot_finish_says_so_and_the_same_call_goes_on(api, monkeypatch):
    monkeypatch.setattr(removal, "BATCH", 2)
    monkeypatch.setattr(removal.purge, "__defaults__", (2,))
    create(api, provider="airtable-pat", unique_key="x")
    for number in range(7):
        connect(api, "x", f"c{number}")
    first = api.send("DELETE", "/integrations/x")
    assert (first.status, first.code) == (503, "temporarily_unavailable")
    assert first.headers["retry-after"] == "1"
    assert api.send("GET", "/integrations/x").status == 404
    assert api.send("DELETE", "/integrations/x").body == {"success": True}
    assert api.ctx.store.everything()["connections"] == []
    assert api.send("DELETE", "/integrations/x").code == "not_found"


def test_a_lookup_is_remembered_for_half_a_minute_and_no_longer(api):
    create(api, provider="airtable-pat", unique_key="x")
    other = make_context(store=api.ctx.store, clock=api.ctx.clock)
    assert integrations.by_unique_key(other, api.environment, "x") is not None
    api.send("DELETE", "/integrations/x")
    assert integrations.by_unique_key(other, api.environment, "x") is not None
    assert integrations.by_unique_key(other, api.environment, "x", fresh=True) is None
    assert integrations.by_unique_key(other, api.environment, "x") is None


def test_a_remembered_integration_is_read_again_by_its_id_alone_and_renames_are_seen(api):
    create(api, provider="airtable-pat", unique_key="old")
    assert integrations.by_unique_key(api.ctx, api.environment, "old")
    reads = []
    real = api.ctx.store.get
    api.ctx.store.get = lambda key: reads.append(key.sk) or real(key)
    api.ctx.clock.advance(31)
    assert integrations.by_unique_key(api.ctx, api.environment, "old")
    assert [sk.partition("#")[0] for sk in reads] == ["integration"]
    assert api.send("PATCH", "/integrations/old", {"unique_key": "new"}).status == 200
    api.ctx.clock.advance(31)
    assert integrations.by_unique_key(api.ctx, api.environment, "old") is None
    found = integrations.by_unique_key(api.ctx, api.environment, "new")
    assert found is not None
    assert found.unique_key == "new"


def test_a_change_that_leaves_the_secret_out_does_not_lose_it(api):
    body = {"provider": "github", "unique_key": "x", "credentials": OAUTH2}
    assert api.send("POST", "/integrations", body).status == 200
    without = {"credentials": {"type": "OAUTH2", "client_id": "id", "scopes": "repo"}}
    answer = api.send("PATCH", "/integrations/x", without)
    assert (answer.status, answer.issues) == (
        400,
        [("invalid_type", ["credentials", "client_secret"])],
    )
    shown = api.send("GET", "/integrations/x?include=credentials").body["data"]["credentials"]
    assert shown["client_secret"] == "marked-secret"
    public = {"credentials": {"type": "OAUTH2", "client_id": "id", "client_secret": ""}}
    assert api.send("PATCH", "/integrations/x", public).status == 200
