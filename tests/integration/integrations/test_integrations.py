"""Integrations through their function: shapes, statuses and issues as clients know them."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from keystow import ids
from keystow.integrations import removal
from keystow.records.connection import created_order, integration_partition
from keystow.records.session import ConnectSession
from keystow.registry import integrations
from keystow.sessions import tokens
from keystow.store import Put, tables
from keystow.value import replace
from tests.integration.integrations.calls import call, forget_catalogue, use_catalogue
from tests.support import make_context, run_in_parallel, seed_environment

PEM = "-----BEGIN RSA PRIVATE KEY-----\nMARKED-PRIVATE-KEY\n-----END RSA PRIVATE KEY-----"
OAUTH2 = {"type": "OAUTH2", "client_id": "id", "client_secret": "marked-secret", "scopes": "repo"}


@pytest.fixture
def api(monkeypatch, tmp_path):
    use_catalogue(monkeypatch, tmp_path)
    ctx = make_context()
    seeded = seed_environment(ctx)

    def send(method: str, path: str, body: Any = None, key: str = seeded.secret_key) -> Any:
        route = "/integrations"
        if path.partition("?")[0].startswith("/integrations/"):
            route = path if path == "/integrations/quickstart" else "/integrations/{uniqueKey}"
        return call(ctx, "manage_integrations", f"{method} {route}", path, key=key, body=body)

    yield SimpleNamespace(ctx=ctx, seeded=seeded, send=send, environment=seeded.environment.id)
    forget_catalogue()


def create(api, **body):
    return api.send("POST", "/integrations", body)


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


def test_a_created_integration_is_shown_without_its_secrets(api):
    answer = create(
        api, provider="github", unique_key="gh", display_name="GitHub Test", credentials=OAUTH2
    )
    assert answer.status == 200
    assert answer.data == {
        "unique_key": "gh",
        "provider": "github",
        "display_name": "GitHub Test",
        "logo": "https://keystow.test/ui/logos/github.svg",
        "own_callback": False,
        "callback_url": "https://keystow.test/oauth/callback",
        "forward_webhooks": True,
        "created_at": "2026-01-01T00:00:00.000Z",
        "updated_at": "2026-01-01T00:00:00.000Z",
    }


@pytest.mark.parametrize(
    ("provider", "credentials", "words"),
    [
        (
            "github-app",
            {"type": "APP", "app_id": "7", "app_link": "https://x.io/a", "private_key": PEM},
            "Accounts of mode APP cannot be connected in a connect session yet.",
        ),
    ],
)
def test_an_integration_that_nobody_can_connect_says_so_when_it_is_made(
    api, provider, credentials, words
):
    answer = create(api, provider=provider, unique_key="x", credentials=credentials)
    assert answer.status == 200
    assert (answer.data["connectable"], answer.data["note"]) == (False, words)
    assert api.send("GET", "/integrations").data[0]["connectable"] is False
    other = create(api, provider="github", unique_key="y", credentials=OAUTH2)
    assert not {"connectable", "note"} & set(other.data)


@pytest.mark.parametrize(
    ("provider", "credentials"),
    [
        ("github", {**OAUTH2, "webhook_secret": "marked-webhook"}),
        (
            "github-app",
            {"type": "APP", "app_id": "7", "app_link": "https://x.io/a", "private_key": PEM},
        ),
        (
            "github-app-oauth",
            {
                "type": "CUSTOM",
                "client_id": "id",
                "client_secret": "marked-secret",
                "app_id": "7",
                "app_link": "https://x.io/a",
                "private_key": PEM,
            },
        ),
        ("netsuite-tba", {"type": "TBA", "client_id": "a", "client_secret": "marked-secret"}),
    ],
)
def test_credentials_come_back_as_they_were_given_and_lie_sealed(api, provider, credentials):
    create(api, provider=provider, unique_key="x", credentials=credentials)
    shown = api.send("GET", "/integrations/x?include=credentials").data["credentials"]
    client = {"scopes": None, "webhook_secret": None}
    extra = client if credentials["type"] in {"OAUTH2", "TBA"} else {}
    assert shown == {**extra, **credentials}
    stored = repr(api.ctx.store.everything())
    for planted in ("marked-secret", "marked-webhook", "MARKED", "TUFSS0VE"):
        assert planted not in stored


def test_credentials_are_left_out_without_the_scope_for_them(api):
    create(api, provider="github", unique_key="x", credentials=OAUTH2)
    reader = seed_environment(
        api.ctx, id="env2", scopes=("environment:integrations:read",), name="other"
    )
    item = api.ctx.store.get(tables.api_key_lookup(ids.sha256_hex(reader.secret_key)))
    api.ctx.store.put(
        Put(
            tables.api_key_lookup(ids.sha256_hex(reader.secret_key)),
            {**item, "owner": api.environment},
        )
    )
    answer = api.send("GET", "/integrations/x?include=credentials", key=reader.secret_key)
    assert answer.status == 200
    assert "credentials" not in answer.data


def test_an_integration_of_another_environment_does_not_exist(api):
    create(api, provider="github", unique_key="x", credentials=OAUTH2)
    other = seed_environment(api.ctx, id="env2", name="other")
    assert api.send("GET", "/integrations/x", key=other.secret_key).status == 404
    assert api.send("PATCH", "/integrations/x", {}, key=other.secret_key).status == 404
    assert api.send("DELETE", "/integrations/x", key=other.secret_key).status == 404
    assert api.send("GET", "/integrations", key=other.secret_key).data == []


@pytest.mark.parametrize(
    ("body", "issues"),
    [
        ({}, [("invalid_type", ["provider"]), ("invalid_type", ["unique_key"])]),
        (None, [("invalid_type", [])]),
        ("[]", [("invalid_type", [])]),
        ({"credentials": {"type": "API_KEY"}}, [("invalid_union", ["credentials", "type"])]),
        ({"credentials": {}}, [("invalid_union", ["credentials", "type"])]),
        ({"credentials": []}, [("invalid_type", ["credentials"])]),
        ({"credentials": None}, [("invalid_type", ["credentials"])]),
        (
            {"credentials": {"type": "TBA", "client_id": "a"}},
            [("invalid_type", ["credentials", "client_secret"])],
        ),
        (
            {"credentials": {**OAUTH2, "scopes": "a b"}},
            [("invalid_union", ["credentials", "scopes"])],
        ),
        (
            {"credentials": {**OAUTH2, "scopes": "a,,b"}},
            [("invalid_union", ["credentials", "scopes"])],
        ),
        (
            {"credentials": {**OAUTH2, "scopes": 'a"b'}},
            [("invalid_union", ["credentials", "scopes"])],
        ),
        (
            {"credentials": {**OAUTH2, "scopes": "caf\u00e9"}},
            [("invalid_union", ["credentials", "scopes"])],
        ),
        (
            {"credentials": {**OAUTH2, "client_id": "\u00a0"}},
            [("too_small", ["credentials", "client_id"])],
        ),
        ({"credentials": {**OAUTH2, "x": 1}}, [("unrecognized_keys", ["credentials"])]),
        ({"display_name": ""}, [("too_small", ["display_name"])]),
        ({"unique_key": "a/b"}, [("invalid_format", ["unique_key"])]),
        ({"unique_key": "a" * 300}, [("too_big", ["unique_key"])]),
        ({"provider": "nope"}, [("invalid_string", ["provider"])]),
        ({"custom": {"a": 1}}, [("invalid_type", ["custom", "a"])]),
        ({"zzz": 1}, [("unrecognized_keys", [])]),
        ({"credentials": {"type": "OAUTH1", "client_id": "a", "client_secret": "b"}}, []),
        ({"integration_config": {"a": "b"}, "credentials": OAUTH2}, []),
    ],
)
def test_a_faulty_body_is_refused_with_the_issues_that_clients_know(api, body, issues):
    whole = body
    if isinstance(body, dict) and body:
        whole = {"provider": "github", "unique_key": "x", **body}
    answer = api.send("POST", "/integrations", whole)
    assert (answer.status, answer.code, answer.issues) == (400, "invalid_body", issues)


def test_a_mode_that_needs_a_client_refuses_to_go_without(api):
    for provider in ("github", "trello", "github-app", "github-app-oauth"):
        answer = create(api, provider=provider, unique_key="x")
        assert (answer.status, answer.code, answer.issues) == (400, "invalid_body", [])
    assert create(api, provider="airtable-pat", unique_key="x").status == 200


def test_default_scopes_are_stored_when_none_are_given(api):
    plain = {"type": "OAUTH2", "client_id": "id", "client_secret": "s"}
    create(api, provider="airtable", unique_key="a", credentials=plain)
    create(api, provider="airtable", unique_key="b", credentials={**plain, "scopes": ""})
    shown = [
        api.send("GET", f"/integrations/{name}?include=credentials").data["credentials"]["scopes"]
        for name in ("a", "b")
    ]
    assert shown == ["data:read,data:write", None]


def test_the_webhook_url_is_given_only_where_the_provider_sends_webhooks(api):
    create(api, provider="airtable", unique_key="a", credentials=OAUTH2)
    create(api, provider="github", unique_key="g", credentials=OAUTH2)
    query = "?include=credentials&include=webhook"
    uuid = api.seeded.environment.uuid
    shown = api.send("GET", f"/integrations/a{query}").data
    assert shown["webhook_url"] == f"https://keystow.test/webhook/{uuid}/a"
    assert shown["credentials"]["client_id"] == "id"
    assert api.send("GET", f"/integrations/g{query}").data["webhook_url"] is None
    answer = api.send("GET", "/integrations/g?include=zzz")
    assert (answer.code, answer.issues) == (
        "invalid_query_params",
        [("invalid_union", ["include"])],
    )


def test_paths_and_queries_are_checked(api):
    assert api.send("GET", "/integrations/unknown").code == "not_found"
    answer = api.send("GET", "/integrations/a%2Fb")
    assert (answer.status, answer.code) == (400, "invalid_uri_params")
    assert answer.issues == [("invalid_format", ["uniqueKey"])]
    answer = api.send("GET", "/integrations?x=1")
    assert (answer.code, answer.issues) == ("invalid_query_params", [("unrecognized_keys", [])])
    assert (
        api.send("POST", "/integrations/quickstart", {"provider": "github"}).code == "invalid_body"
    )


def test_the_list_is_ordered_by_provider_and_age(api):
    for provider, unique_key in (
        ("github", "z"),
        ("airtable-pat", "pat"),
        ("airtable-pat", "a b@c"),
        ("airtable", "air"),
    ):
        api.ctx.clock.advance(1)
        credentials = {} if provider == "airtable-pat" else {"credentials": OAUTH2}
        create(api, provider=provider, unique_key=unique_key, **credentials)
    listed = [each["unique_key"] for each in api.send("GET", "/integrations").data]
    assert listed == ["air", "pat", "a b@c", "z"]


def test_a_session_sees_what_it_allows(api):
    create(api, provider="airtable-pat", unique_key="a")
    create(api, provider="airtable-pat", unique_key="b")
    token = tokens.new_token(api.ctx.random).reveal()
    session = ConnectSession(
        ids.sha256_hex(token), api.environment, "op", 0, 9_999_999_999_999, {},
        allowed_integrations=("b",),
    )  # fmt: skip
    api.ctx.store.put(Put(session.key, session.as_item()))
    assert [i["unique_key"] for i in api.send("GET", "/integrations", key=token).data] == ["b"]
    everything = replace(session, allowed_integrations=None)
    api.ctx.store.put(Put(session.key, everything.as_item()))
    assert len(api.send("GET", "/integrations", key=token).data) == 2
    assert api.send("GET", "/integrations/b", key=token).status == 401


def test_an_integration_whose_provider_vanished_is_still_listed(api):
    create(api, provider="airtable-pat", unique_key="a")
    found = integrations.by_unique_key(api.ctx, api.environment, "a")
    api.ctx.store.put(Put(found.key, replace(found, provider="gone").as_item()))
    shown = api.send("GET", "/integrations").data
    assert [(each["provider"], each["display_name"]) for each in shown] == [("gone", "gone")]
    assert api.send("GET", "/integrations/a?include=credentials").data["credentials"] is None
    assert api.send("DELETE", "/integrations/a").status == 200


def test_settings_of_the_owner_are_held_against_what_the_provider_asks(api):
    def attempt(**config):
        return create(api, provider="private-api", unique_key="p", integration_config=config)

    assert "Place is required" in attempt().body["error"]["message"]
    assert "Header name is required" in attempt(keyPlacement="header").body["error"]["message"]
    assert "must be one of" in attempt(keyPlacement="cookie").body["error"]["message"]
    answer = attempt(keyPlacement="query", other="marked-value")
    assert "Unknown field other" in answer.body["error"]["message"]
    assert "marked-value" not in json.dumps(answer.body)
    answer = create(api, provider="private-api", unique_key="p", custom={"a": "b"})
    assert answer.code == "invalid_body"
    shown = attempt(keyPlacement="query", keyLabel="Your key").data
    assert shown["credentials_label"] == {"apiKey": "Your key"}
    assert shown["preconfigured_credentials"] == ["keyLabel", "keyPlacement"]
    patch = {"integration_config": {"keyPlacement": "header", "keyName": "x-key", "keyLabel": ""}}
    shown = api.send("PATCH", "/integrations/p", patch).data
    assert shown["preconfigured_credentials"] == ["keyName", "keyPlacement"]
    assert "credentials_label" not in shown


def test_ten_parallel_creations_of_one_key_give_one_integration(api):
    answers = run_in_parallel(10, lambda _: create(api, provider="airtable-pat", unique_key="one"))
    refused = [answer for answer in answers if answer.status != 200]
    assert len(refused) == 9
    assert {answer.code for answer in refused} == {"invalid_body"}
    assert {tuple(map(str, answer.issues)) for answer in refused} == {
        ("('invalid_string', ['uniqueKey'])",)
    }
    assert len(api.send("GET", "/integrations").data) == 1


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


@pytest.mark.parametrize(
    "scope",
    [
        "patient/Observation.rs?category=laboratory",
        ":tenant.{{tkey}}.*",
        "read+write",
        "api@v2",
        "a|b",
        "drive(read)",
        "a#b,a~b,a&b",
        "https://api.example/.default",
        "!#$%&'()*+-./:;<=>?@[]^_`{|}~",
    ],
)
def test_every_scope_that_the_standard_knows_can_be_configured(api, scope):
    body = {"provider": "github", "unique_key": "x", "credentials": {**OAUTH2, "scopes": scope}}
    assert api.send("POST", "/integrations", body).status == 200
    shown = api.send("GET", "/integrations/x?include=credentials").body["data"]["credentials"]
    assert shown["scopes"] == scope


@pytest.mark.parametrize("given", [{}, {"client_secret": ""}, {"client_secret": None}])
def test_a_client_without_a_secret_is_a_public_client(api, given):
    credentials = {"type": "OAUTH2", "client_id": "public", **given}
    body = {"provider": "github", "unique_key": "x", "credentials": credentials}
    assert api.send("POST", "/integrations", body).status == 200
    shown = api.send("GET", "/integrations/x?include=credentials").body["data"]["credentials"]
    assert (shown["client_id"], shown["client_secret"]) == ("public", "")


def test_a_client_needs_its_secret_where_the_provider_takes_no_pkce(api):
    body = {
        "provider": "no-pkce",
        "unique_key": "x",
        "credentials": {**OAUTH2, "client_secret": ""},
    }
    answer = api.send("POST", "/integrations", body)
    assert (answer.status, answer.issues) == (
        400,
        [("too_small", ["credentials", "client_secret"])],
    )


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
