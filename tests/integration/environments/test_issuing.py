"""API keys through their routes: made, listed, changed, ended; and what no key can do."""

from __future__ import annotations

from typing import Any

import pytest

from keystow.clock import iso
from keystow.environments import bootstrap, keys
from keystow.store import Put, tables
from tests.app import App
from tests.integration.environments.bootstrapped import Api
from tests.support import make_context, run_in_parallel

KEY = {"id", "uuid", "display_name", "scopes", "last_used_at", "created_at"}


@pytest.fixture
def api() -> Api:
    return Api()


# ---- keys --------------------------------------------------------------------------------


def test_the_first_keys_are_listed_and_revoked_like_any_other(api):
    api.works(api.dev["secret_key"])
    for place, name in ((api.keys, bootstrap.KEY_NAME), ("/account/api-keys", "Account")):
        (first,) = api.data("GET", place)
        assert set(first) == KEY
        assert (first["display_name"], first["last_used_at"]) == (name, iso(api.ctx.clock.now()))
        assert api.data("GET", f"{place}/{first['uuid']}") == first
        assert api.data("GET", f"{place}/{first['id']}") == first
    (first,) = api.data("GET", api.keys)
    answer = api.app.delete(f"{api.keys}/{first['uuid']}")
    assert (answer.status, answer.json()) == (200, {"success": True})
    assert not api.works(api.dev["secret_key"])
    assert api.data("GET", api.keys) == []
    assert api.code("GET", f"{api.keys}/{first['uuid']}") == "not_found"


def test_a_key_is_made_by_uuid_number_and_the_older_route_alike(api):
    made = api.new("a", scopes=["environment:connections:*"])
    assert set(made) == KEY - {"last_used_at"} | {"secret"}
    number = api.dev["environment_id"]
    other = api.new("b", f"/environments/{number}/api-keys")
    old = {"environment_id": number, "display_name": "c"}
    api.ctx.clock.advance(1)
    third = api.data("POST", "/environment/api-keys", old)
    assert other["scopes"] == third["scopes"] == ["environment:*"]
    assert [each["display_name"] for each in api.data("GET", api.keys)][1:] == ["a", "b", "c"]
    assert api.data("GET", f"{api.keys}?display_name=b")[0]["uuid"] == other["uuid"]
    assert api.data("GET", f"{api.keys}?display_name=B") == []
    assert api.code("POST", api.keys, {"display_name": "b"}) == "conflict"
    assert api.code("POST", api.keys.replace(api.dev["uuid"], "x"), {"display_name": "d"}) == (
        "invalid_uri_params"
    )


def test_no_answer_but_the_first_holds_a_secret(api):
    made = api.new("a", scopes=["environment:*"])
    texts = [api.dev["secret_key"], api.account, made["secret"]]
    place = f"{api.keys}/{made['uuid']}"
    answers = [
        api.app.get("/environments"),
        api.app.get(api.keys),
        api.app.get(place),
        api.app.patch(place, {"display_name": "b"}),
        api.app.get("/account/api-keys"),
        api.app.get("/activity", key=api.dev["secret_key"]),
        api.app.delete(place),
    ]
    for answer in answers:
        assert answer.status == 200
        assert b'"secret"' not in answer.body
        assert not any(text.encode() in answer.body for text in texts)


def test_a_key_ends_at_its_moment_though_it_is_remembered(api):
    end = api.in_(20)
    made = api.new("short", expires_at=end)
    assert made["expires_at"] == end
    assert api.works(made["secret"])
    api.ctx.clock.advance(19.9)
    assert api.works(made["secret"])
    api.ctx.clock.advance(0.1)
    assert not api.works(made["secret"])
    assert [each["display_name"] for each in api.data("GET", api.keys)][1:] == ["short"]


def test_a_key_that_ends_at_the_last_moment_of_all_can_be_listed(api):
    made = api.new("long", expires_at="9999-12-31T23:59:59.9999999Z")
    assert made["expires_at"] == "9999-12-31T23:59:59.999Z"
    assert [each["display_name"] for each in api.data("GET", api.keys)][1:] == ["long"]


@pytest.mark.parametrize("wrong", ["soon", "", "2020-01-01T00:00:00Z", 1_800_000_000, "9" * 50])
def test_an_end_that_is_none_is_refused(api, wrong):
    assert api.code("POST", api.keys, {"display_name": "x", "expires_at": wrong}) == "invalid_body"
    assert [each["display_name"] for each in api.data("GET", api.keys)] == [bootstrap.KEY_NAME]


def test_first_keys_are_given_an_end_and_lose_it_again(api):
    (first,) = api.data("GET", api.keys)
    place = f"{api.keys}/{first['uuid']}"
    changed = api.data("PATCH", place, {"expires_at": api.in_(60), "display_name": "Old one"})
    assert changed == {**first, "expires_at": api.in_(60), "display_name": "Old one"}
    assert api.data("PATCH", place, {"expires_at": None}) == {**first, "display_name": "Old one"}
    api.data("PATCH", place, {"expires_at": api.in_(60)})
    assert api.works(api.dev["secret_key"])
    api.ctx.clock.advance(60)
    assert not api.works(api.dev["secret_key"])
    assert api.code("PATCH", place, {}) == "invalid_body"
    api.new("other")
    assert api.code("PATCH", place, {"display_name": "other"}) == "not_found"  # made room for it


def test_keys_that_have_ended_make_room(api):
    for number in range(49):
        api.new(f"k{number}", expires_at=api.in_(10))
    assert api.code("POST", api.keys, {"display_name": "more"}) == "resource_capped"
    api.ctx.clock.advance(10)
    api.new("k1")
    assert len(api.data("GET", api.keys)) < 15


def test_every_change_of_a_key_is_in_the_activity_with_who_made_it(api):
    made = api.new("worker", scopes=["environment:connections:list"])
    api.data("PATCH", f"{api.keys}/{made['uuid']}", {"display_name": "runner"})
    api.app.delete(f"{api.keys}/{made['uuid']}")
    told = api.activity()
    actions = {each["operation"]["action"] for each in told}
    assert actions == {"create_api_key", "change_api_key", "delete_api_key"}
    (account,) = api.data("GET", "/account/api-keys")
    for each in told:
        path = f"/activity/{each['id']}"
        (message,) = api.app.get(path, key=api.dev["secret_key"]).json()["data"]["messages"]
        assert message["meta"]["uuid"] == made["uuid"]
        assert message["meta"]["by"] == f"Account ({account['uuid']})"
        assert message["meta"]["scopes"] == "environment:connections:list"


# ---- what no key can do ------------------------------------------------------------------

ROUTES = [
    ("GET", "/environments", None),
    ("POST", "/environments", {"name": "x"}),
    ("PATCH", "/environments/{env}", {"name": "x"}),
    ("DELETE", "/environments/{env}", None),
    ("GET", "/environments/{env}/api-keys", None),
    ("POST", "/environments/{env}/api-keys", {"display_name": "x"}),
    ("GET", "/environments/{env}/api-keys/{key}", None),
    ("PATCH", "/environments/{env}/api-keys/{key}", {"display_name": "x"}),
    ("DELETE", "/environments/{env}/api-keys/{key}", None),
    ("GET", "/account/api-keys", None),
    ("POST", "/account/api-keys", {"display_name": "x", "scopes": ["account:*"]}),
    ("GET", "/account/api-keys/{key}", None),
    ("PATCH", "/account/api-keys/{key}", {"display_name": "x"}),
    ("DELETE", "/account/api-keys/{key}", None),
]


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
def test_a_key_of_an_environment_manages_no_key_whatever_its_row_says(api, method, path, body):
    everything = ("environment:*", "account:*")
    _, text, writes = keys.new_key(api.ctx, env_id(api), "odd", everything)
    api.ctx.store.transact(writes)
    place = path.format(env=api.dev["uuid"], key=api.data("GET", api.keys)[0]["uuid"])
    assert api.code(method, place, body, key=text.reveal()) == "forbidden"


def env_id(api):
    return api.ctx.store.get(tables.environment_name("dev"))["environment"]


SCOPES = {
    "account:environments:list": {0},
    "account:environments:create": {1, 2},
    "account:environments:delete": {3},
    "account:environments:api_keys:list": {4},
    "account:environments:api_keys:read": {6},
    "account:environments:api_keys:create": {5},
    "account:environments:api_keys:delete": {8},
    "account:environments:api_keys:*": {4, 5, 6, 7, 8},
    "account:environments:*": set(range(9)),
    "account:api_keys:list": {9},
    "account:api_keys:read": {11},
    "account:api_keys:create": set(),
    "account:api_keys:*": {9, 11, 12, 13},
}


@pytest.mark.parametrize("scope", SCOPES)
def test_a_scope_of_the_account_opens_its_routes_and_no_other(scope):
    for number, (method, path, body) in enumerate(ROUTES):
        api = Api()
        key = api.new_account_key("narrow", scope)
        listed = "/account/api-keys" if path.startswith("/account") else api.keys
        first = key if path.startswith("/account") else api.data("GET", listed)[0]
        place = path.format(env=api.dev["uuid"], key=first["uuid"])
        answer = api.app.call(method, place, body, key=key["secret"])
        assert (answer.status != 403) == (number in SCOPES[scope]), (method, path, answer.body)


@pytest.mark.parametrize(
    "scope",
    [
        "account:*",
        "account:environments:*",
        "account:environments:api_keys:*",
        "account:api_keys:*",
    ],
)
def test_wildcards_are_scopes_when_they_cover_one(api, scope):
    assert api.new_account_key("w", scope)["scopes"] == [scope]


@pytest.mark.parametrize(
    "scope",
    [
        "environment:*",
        "environment:connections:*",
        "environment:functions:*",
        "environment:agent_sessions:*",
        "environment:webhook_signing_key:*",
        "environment:agent_sessions:write",
        "environment:functions:invocations",
    ],
)
def test_scopes_of_an_environment_are_taken(api, scope):
    assert api.new("w", scopes=[scope])["scopes"] == [scope]


@pytest.mark.parametrize(
    "scope",
    [
        "*",
        ":*",
        "environment:",
        "environment:**",
        "environment:nothing:*",
        "environment:connections:read:*",
        "environment:connections:r*",
        "account:billing:read",
        "account:team:invite_member",
        "account:team:*",
    ],
)
def test_a_scope_that_covers_nothing_is_refused(api, scope):
    for place in (api.keys, "/account/api-keys"):
        body = {"display_name": "x", "scopes": [scope]}
        assert api.code("POST", place, body) == "invalid_body"


def test_a_key_gives_no_other_more_than_it_has(api):
    scopes = ("account:api_keys:create", "account:api_keys:delete", "account:environments:list")
    narrow = api.new_account_key("narrow", *scopes)["secret"]
    place = "/account/api-keys"
    for scope in ("account:*", "account:environments:*", "account:environments:delete"):
        body = {"display_name": "x", "scopes": [scopes[2], scope]}
        assert api.code("POST", place, body, key=narrow) == "forbidden"
    fits = {"display_name": "x", "scopes": list(scopes[:2])}
    made = api.data("POST", place, fits, key=narrow)
    account = api.data("GET", place)[0]
    assert account["display_name"] == "Account"
    target = f"{place}/{account['uuid']}"
    assert api.code("PATCH", target, {"expires_at": api.in_(60)}, key=narrow) == "forbidden"
    assert api.code("DELETE", target, key=narrow) == "forbidden"
    assert api.app.delete(f"{place}/{made['uuid']}", key=narrow).status == 200


def test_a_key_gives_no_other_a_longer_life_than_its_own(api):
    end = api.in_(3600)
    short = api.new_account_key("short", "account:*", expires_at=end)
    body = {"display_name": "x", "scopes": ["account:*"]}
    for place in (api.keys, "/account/api-keys"):
        named = body if place.startswith("/account") else {"display_name": "x"}
        for longer in (None, api.in_(3601)):
            wish = {**named, "expires_at": longer}
            assert api.code("POST", place, wish, key=short["secret"]) == "forbidden"
        made = api.data("POST", place, named, key=short["secret"])
        assert made["expires_at"] == end
        target = f"{place}/{made['uuid']}"
        assert api.code("PATCH", target, {"expires_at": None}, key=short["secret"]) == "forbidden"
    own = f"/account/api-keys/{short['uuid']}"
    assert api.code("PATCH", own, {"expires_at": None}, key=short["secret"]) == "forbidden"
    sooner = api.in_(60)
    changed = api.data("PATCH", own, {"expires_at": sooner}, key=short["secret"])
    assert changed["expires_at"] == sooner


def test_a_revoked_key_of_the_account_makes_no_other_though_it_is_remembered(api):
    made = api.new_account_key("leaked", "account:*")
    elsewhere = Api.__new__(Api)
    elsewhere.ctx = make_context(store=api.ctx.store, clock=api.ctx.clock, kms=api.ctx.kms)
    elsewhere.app = App(elsewhere.ctx, made["secret"])
    assert elsewhere.app.get("/environments").status == 200
    assert api.app.delete(f"/account/api-keys/{made['uuid']}").status == 200
    body = {"display_name": "back"}
    assert elsewhere.code("POST", api.keys, body) == "unknown_account"


def test_a_key_whose_maker_is_revoked_at_that_moment_is_not_made(api, monkeypatch):
    """Between the look at the maker and the writing."""
    maker = api.new_account_key("leaked", "account:*")
    store, transact = api.ctx.store, api.ctx.store.transact
    lookup = keys.find(api.ctx, maker["secret"])

    def revoked_before(operations, token=None):
        monkeypatch.setattr(store, "transact", transact)
        transact(keys.revocation(lookup))
        return transact(operations, token)

    monkeypatch.setattr(store, "transact", revoked_before)
    assert api.code("POST", api.keys, {"display_name": "x"}, key=maker["secret"]) == (
        "unknown_account"
    )
    assert len(api.data("GET", api.keys)) == 1


def test_the_last_key_of_the_account_may_end_itself_and_bootstrap_makes_another(api):
    (last,) = api.data("GET", "/account/api-keys")
    assert api.app.delete(f"/account/api-keys/{last['uuid']}").status == 200
    assert api.code("GET", "/environments") == "unknown_account"
    new = bootstrap.rotate_account_key(api.ctx)["account_key"]
    assert len(api.data("GET", "/environments", key=new)) == 2


def test_a_new_account_key_by_bootstrap_ends_every_other_however_many(api):
    made = [api.new_account_key(f"k{number}", "account:*")["secret"] for number in range(49)]
    assert api.code(
        "POST", "/account/api-keys", {"display_name": "x", "scopes": ["account:*"]}
    ) == ("resource_capped")
    new = bootstrap.rotate_account_key(api.ctx)["account_key"]
    assert len(api.data("GET", "/account/api-keys", key=new)) == 1
    for text in (api.account, made[0], made[-1]):
        assert api.code("GET", "/environments", key=text) == "unknown_account"


def test_no_key_made_while_bootstrap_replaces_them_survives(api):
    def work(number: int) -> Any:
        if number == 0:
            return bootstrap.rotate_account_key(api.ctx)["account_key"]
        body = {"display_name": f"k{number}", "scopes": ["account:*"]}
        return api.app.post("/account/api-keys", body).status

    (new, *statuses) = run_in_parallel(5, work)
    assert set(statuses) <= {200, 401}
    assert len(api.data("GET", "/account/api-keys", key=new)) == 1


def test_a_key_is_reached_through_its_own_environment_only(api):
    made = api.new("a")
    other = api.keys.replace(api.dev["uuid"], api.prod["uuid"])
    for method, body in (("GET", None), ("PATCH", {"display_name": "x"}), ("DELETE", None)):
        for reference in (made["uuid"], made["id"]):
            assert api.code(method, f"{other}/{reference}", body) == "not_found"
            assert api.code(method, f"/account/api-keys/{reference}", body) == "not_found"
    assert api.works(made["secret"])


def test_an_environment_that_is_being_removed_gives_no_keys(api):
    key = tables.environment_settings(env_id(api))
    api.ctx.store.put(Put(key, {**api.ctx.store.get(key), "deleting": True}))
    for method, body in (("GET", None), ("POST", {"display_name": "x"})):
        assert api.code(method, api.keys, body) == "not_found"
    assert api.code("PATCH", f"/environments/{api.dev['uuid']}", {"name": "x"}) == "not_found"
    assert [each["name"] for each in api.data("GET", "/environments")] == ["prod"]
