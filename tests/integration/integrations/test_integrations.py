"""Integrations through their function: shapes, statuses and issues as clients know them."""

from __future__ import annotations

import json

import pytest

from keystow import ids
from keystow.records.session import ConnectSession
from keystow.registry import integrations
from keystow.sessions import tokens
from keystow.store import Put, tables
from keystow.value import replace
from tests.integration.integrations.calls import OAUTH2, create
from tests.support import run_in_parallel, seed_environment

PEM = "-----BEGIN RSA PRIVATE KEY-----\nMARKED-PRIVATE-KEY\n-----END RSA PRIVATE KEY-----"


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
