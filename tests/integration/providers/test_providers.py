"""The catalogue, and an environment's own providers, through their functions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from keystow.integrations import custom
from keystow.registry import providers
from keystow.store import Put, tables
from tests.integration.integrations.calls import call, forget_catalogue, use_catalogue
from tests.support import make_context, run_in_parallel, seed_environment

OWN = {
    "display_name": "Own",
    "auth_mode": "OAUTH2",
    "authorization_url": "https://own.example.com/authorize",
    "token_url": "https://own.example.com/token",
    "proxy": {"base_url": "https://api.own.example.com"},
}
CLIENT = {"type": "OAUTH2", "client_id": "id", "client_secret": "s"}


@pytest.fixture
def api(monkeypatch, tmp_path):
    use_catalogue(monkeypatch, tmp_path)
    ctx = make_context()
    seeded = seed_environment(ctx)

    def read(path: str, **options: Any) -> Any:
        route = "/providers"
        if path.startswith("/providers/"):
            route += "/{provider}"
            route += "/templates" if path.endswith("/templates") else ""
        options.setdefault("key", seeded.secret_key)
        return call(ctx, "list_providers", f"GET {route}", path, **options)

    def write(method: str, name: str, body: Any = None, key: str = seeded.secret_key) -> Any:
        route = f"{method} /providers/{{provider}}"
        return call(ctx, "manage_providers", route, f"/providers/{name}", key=key, body=body)

    def integrate(method: str, path: str, body: Any = None) -> Any:
        route = "/integrations" if path == "/integrations" else "/integrations/{uniqueKey}"
        key = seeded.secret_key
        return call(ctx, "manage_integrations", f"{method} {route}", path, key=key, body=body)

    yield SimpleNamespace(
        ctx=ctx, seeded=seeded, read=read, write=write, integrate=integrate,
        environment=seeded.environment.id,
    )  # fmt: skip
    forget_catalogue()


def use(api, name="own", unique_key="x"):
    body = {"provider": name, "unique_key": unique_key, "credentials": CLIENT}
    return api.integrate("POST", "/integrations", body)


def test_a_built_in_provider_is_answered_with_its_name_and_logo(api):
    data = api.read("/providers/github").data
    assert data["name"] == "github"
    assert data["logo_url"] == "https://keystow.test/ui/logos/github.svg"
    assert data["token_url"] == "https://github.com/login/oauth/access_token"
    assert api.read("/providers/github/templates").body == {"data": []}


def test_unknown_and_malformed_names_are_told_apart(api):
    assert (api.read("/providers/nope").status, api.read("/providers/nope").code) == (
        404,
        "not_found",
    )
    assert api.read("/providers/nope/templates").status == 404
    answer = api.read("/providers/bad%20name")
    assert (answer.code, answer.issues) == (
        "invalid_uri_params",
        [("invalid_format", ["provider"])],
    )
    assert api.read("/providers?x=1").code == "invalid_query_params"


def test_search_finds_by_key_and_never_runs_an_expression(api):
    api.write("PUT", "airtable-own", OWN)
    found = [each["name"] for each in api.read("/providers?search=AIRTABLE").data]
    assert found == ["airtable", "airtable-own", "airtable-pat"]
    assert api.read("/providers?search=zzzzzz").data == []
    assert api.read("/providers?search=(a%2B)%2B%24").data == []


def test_search_finds_by_the_name_that_people_see(api):
    api.write("PUT", "own", {**OWN, "display_name": "Größe & Co"})

    def found(search: str) -> list[str]:
        return [each["name"] for each in api.read(f"/providers?search={search}").data]

    assert found("personal%20access") == ["airtable-pat"]
    assert found("GR%C3%B6SSE") == ["own"]
    assert found("%26%20co%24%7C%5Egithub%20(app%20oauth)%24") == ["github-app-oauth", "own"]


@pytest.mark.parametrize("name", ["search", "cursor"])
def test_a_search_has_a_length(api, name):
    assert api.read(f"/providers?{name}={'a' * 255}").status == 200
    answer = api.read(f"/providers?{name}={'a%7C' * 128}")
    assert (answer.code, answer.issues) == ("invalid_query_params", [("too_big", [name])])


@pytest.mark.parametrize("pattern", ["^([a-z0-9]+-?)+$", "^(a|a)*$", "(?=a)b", "("])
def test_a_pattern_that_could_take_for_ever_is_refused(api, pattern):
    field = {"title": "Sub", "pattern": pattern}
    for group in ("connection_config", "credentials", "integration_config", "assertion_option"):
        answer = api.write("PUT", "own", {**OWN, group: {"sub": field}})
        assert (answer.status, answer.code) == (400, "invalid_body")
        assert answer.issues[0][1] == [group, "sub", "pattern"]


def test_a_long_list_is_answered_in_parts(api, monkeypatch):
    everything = [each["name"] for each in api.read("/providers").data]
    from tests.integration.integrations.calls import _handler

    module = _handler("list_providers")
    globals_ = module.__closure__[0].cell_contents["GET /providers"].__globals__
    monkeypatch.setitem(globals_, "MAX_ANSWER", 700)
    found: list[str] = []
    cursor = ""
    for _ in range(20):
        answer = api.read(f"/providers?cursor={cursor}")
        found += [each["name"] for each in answer.data]
        cursor = answer.body.get("next_cursor")
        if cursor is None:
            break
    assert found == everything


def test_a_provider_can_be_used_from_the_moment_it_was_put(api):
    assert use(api).issues == [("invalid_string", ["provider"])]
    answer = api.write("PUT", "own", OWN)
    assert answer.status == 201
    assert answer.data == {
        **OWN,
        "name": "own",
        "logo_url": "https://keystow.test/ui/logos/own.svg",
    }
    assert api.read("/providers/own").data == answer.data
    assert use(api).data["display_name"] == "Own"
    again = api.write("PUT", "own", {**answer.data, "display_name": "Renamed"})
    assert (again.status, again.data["display_name"]) == (200, "Renamed")
    other = make_context(store=api.ctx.store, clock=api.ctx.clock)
    assert providers.find(other, api.environment, "own").display_name == "Renamed"


def test_a_provider_belongs_to_its_environment(api):
    api.write("PUT", "own", OWN)
    other = seed_environment(api.ctx, id="env2", name="other")
    assert api.read("/providers/own", key=other.secret_key).status == 404
    assert "own" not in [p["name"] for p in api.read("/providers", key=other.secret_key).data]
    assert api.write("DELETE", "own", key=other.secret_key).status == 404


@pytest.mark.parametrize(
    ("name", "body", "status", "code"),
    [
        ("github", OWN, 409, "conflict"),
        ("Own", OWN, 400, "invalid_uri_params"),
        ("own", [], 400, "invalid_body"),
        ("own", {}, 400, "invalid_body"),
        ("own", {**OWN, "name": "other"}, 400, "invalid_body"),
        ("own", {**OWN, "token_url": "http://169.254.169.254/"}, 400, "invalid_body"),
        ("own", {**OWN, "token_url": "http://127.0.0.1/token"}, 400, "invalid_body"),
        ("own", {**OWN, "surprise": 1}, 400, "invalid_body"),
        ("own", {**OWN, "display_name": "x" * 200_000}, 400, "invalid_body"),
    ],
)
def test_a_definition_that_is_not_acceptable_is_refused(api, name, body, status, code):
    answer = api.write("PUT", name, body)
    assert (answer.status, answer.code) == (status, code)
    assert api.read("/providers/own").status == 404


def test_issues_name_the_fields(api):
    answer = api.write("PUT", "own", {**OWN, "auth_mode": "NOPE", "disable_pkce": "yes"})
    assert sorted(answer.issues) == [
        ("invalid_type", ["disable_pkce"]),
        ("invalid_value", ["auth_mode"]),
    ]


def test_a_provider_in_use_stays(api):
    api.write("PUT", "own", OWN)
    use(api)
    answer = api.write("DELETE", "own")
    assert (answer.status, answer.code) == (409, "provider_in_use")
    api.write("PUT", "own", {**OWN, "display_name": "Changed"})
    assert api.write("DELETE", "own").status == 409
    api.integrate("DELETE", "/integrations/x")
    assert api.write("DELETE", "own").body == {"success": True}
    assert api.write("DELETE", "own").code == "not_found"
    assert api.write("DELETE", "github").code == "conflict"


def test_removing_a_provider_never_overtakes_its_first_use(api):
    for number in range(20):
        name = f"own{number}"
        api.write("PUT", name, OWN)
        work = [
            lambda name=name, number=number: use(api, name, f"k{number}"),
            lambda name=name: api.write("DELETE", name),
        ]
        used, removed = run_in_parallel(2, lambda place, work=work: work[place]())
        there = providers.find(api.ctx, api.environment, name) is not None
        assert (used.status == 200, removed.status == 200) == (there, not there)


def test_parallel_puts_are_one_creation_and_updates(api):
    answers = run_in_parallel(
        8, lambda n: api.write("PUT", "own", {**OWN, "display_name": f"n{n}"})
    )
    assert sorted(answer.status for answer in answers) == [200] * 7 + [201]


WRITE = "environment:providers:write"
OF_CONNECTIONS = "environment:connections:read_credentials"
OF_INTEGRATIONS = "environment:integrations:read_credentials"


def writer_of(api, *more):
    """Return a key of the environment that may write providers and what else is named."""
    writer = seed_environment(
        api.ctx, id=f"writer{len(more)}", name=f"w{len(more)}", scopes=(WRITE, *more)
    )
    lookup = tables.api_key_lookup(writer.key.key_hash)
    item = api.ctx.store.get(lookup)
    api.ctx.store.put(Put(lookup, {**item, "owner": api.environment}))
    return writer.secret_key


def test_stored_credentials_are_not_sent_elsewhere_without_the_right_to_read_them(api):
    api.write("PUT", "own", OWN)
    writer = writer_of(api)
    elsewhere = {**OWN, "token_url": "https://evil.example.net/token"}
    assert api.write("PUT", "own", elsewhere, key=writer).status == 200, "nothing uses it"
    api.write("PUT", "own", OWN)
    use(api)
    answer = api.write("PUT", "own", elsewhere, key=writer)
    assert (answer.status, answer.code) == (403, "forbidden")
    assert api.read("/providers/own").data["token_url"] == OWN["token_url"]
    renamed = {**OWN, "display_name": "Mine", "docs": "https://docs.example.org"}
    assert api.write("PUT", "own", renamed, key=writer).status == 200
    assert api.write("PUT", "own", elsewhere).status == 200


@pytest.mark.parametrize("more", [(), (OF_CONNECTIONS,), (OF_INTEGRATIONS,)])
def test_it_takes_the_right_to_read_both_kinds_of_secrets(api, more):
    api.write("PUT", "own", OWN)
    use(api)
    other = {**OWN, "token_url": "https://own.example.com/other"}
    assert api.write("PUT", "own", other, key=writer_of(api, *more)).status == 403
    both = (OF_CONNECTIONS, OF_INTEGRATIONS, "environment:connections:list")
    assert api.write("PUT", "own", other, key=writer_of(api, *both)).status == 200


@pytest.mark.parametrize(
    "changed",
    [
        {"token_url": "https://own.example.com/tenants/attacker/notes"},
        {"token_url": "https://own.example.com/token?to=attacker"},
        {"token_refresh": {"params": {"text": "${client_secret} ${refresh_token}"}}},
        {"token_headers": {"authorization": "Bearer attackers-own"}},
        {"token_params": {"text": "x"}},
        {"authorization_method": "header"},
        {"revocation_url": "https://own.example.com/notes"},
        {"connection_config": {"site": {"title": "S", "pattern": "^.+$"}}},
        {"connection_config": {"site": {"title": "S", "pattern": "^[a-z]+$", "automated": True}}},
        {"on_disconnect": {"url": "/notes", "body": {"text": "${accessToken}"}}},
        {"post_connection": {"calls": [{"url": "/notes"}]}},
        {"post_connection_script": "other"},
        {"disable_pkce": True},
        {"issuer": "https://own.example.com"},
        {"alias": "github", "token_url": None},
    ],
)
def test_whatever_decides_where_a_secret_goes_is_as_guarded_as_the_host(api, changed):
    fields = {"site": {"type": "string", "title": "S", "pattern": "^[a-z]+$"}}
    api.write("PUT", "own", {**OWN, "connection_config": fields})
    use(api)
    body = {**OWN, "connection_config": fields, **changed}
    body = {name: value for name, value in body.items() if value is not None}
    answer = api.write("PUT", "own", body, key=writer_of(api))
    assert (answer.status, answer.code) == (403, "forbidden")
    assert api.write("PUT", "own", body).status == 200


def test_a_first_use_that_comes_between_decision_and_write_is_seen(api, monkeypatch):
    api.write("PUT", "own", OWN)
    look = custom._is_used
    uses = []

    def looked(*place):
        found = look(*place)
        if not uses:
            uses.append(use(api))  # right after it was found unused
        return found

    monkeypatch.setattr(custom, "_is_used", looked)
    elsewhere = {**OWN, "token_url": "https://evil.example.net/token"}
    assert api.write("PUT", "own", elsewhere, key=writer_of(api)).status == 403
    assert uses[0].status == 200
    assert api.read("/providers/own").data["token_url"] == OWN["token_url"]


def test_an_integration_whose_provider_is_gone_does_not_take_the_next_best_one(api):
    api.write("PUT", "own", OWN)
    use(api)
    # As after an update whose catalogue has lost the entry: nothing was counted, nothing is there.
    key = tables.custom_provider(api.environment, "own")
    api.ctx.store.delete(key)
    assert api.write("PUT", "own", OWN, key=writer_of(api)).status == 403
    assert api.write("PUT", "own", OWN).status == 201
    assert api.write("DELETE", "own").code == "provider_in_use"
    assert api.integrate("DELETE", "/integrations/x").status == 200
    assert api.write("DELETE", "own").status == 200


KEYED = {
    "display_name": "Keyed",
    "auth_mode": "API_KEY",
    "docs": "https://keyed.example.com/docs",
    "proxy": {
        "base_url": "https://api.keyed.example.com/v1",
        "headers": {"x-key": "${apiKey}"},
        "verification": {"endpoints": ["/me"]},
    },
}


@pytest.mark.parametrize(
    "changed",
    [
        {"verification": {"endpoints": ["/account/close"]}},
        {"verification": {"endpoints": ["/me"], "method": "POST"}},
        {"verification": {"endpoints": ["/me"], "data": {"role": "admin"}}},
        {"verification": {"endpoints": ["/me"], "headers": {"x-do": "it"}}},
        {"headers": {"x-key": "${apiKey}", "x-http-method-override": "DELETE"}},
        {"query": {"close": "1"}},
        {"body": {"close": "1"}},
        {"base_url": "https://api.keyed.example.com/v1/account/close"},
    ],
)
def test_what_stored_keys_are_asked_with_needs_the_right_to_read_them(api, changed):
    writer = writer_of(api)
    body = {**KEYED, "proxy": {**KEYED["proxy"], **changed}}
    assert api.write("PUT", "keyed", KEYED, key=writer).status == 201
    assert api.write("PUT", "keyed", body, key=writer).status == 200, "nothing uses it"
    assert api.write("PUT", "keyed", KEYED, key=writer).status == 200
    made = api.integrate("POST", "/integrations", {"provider": "keyed", "unique_key": "k"})
    assert made.status == 200
    answer = api.write("PUT", "keyed", body, key=writer)
    assert (answer.status, answer.code) == (403, "forbidden")
    assert api.read("/providers/keyed").body["data"]["proxy"] == KEYED["proxy"]
    renamed = {**KEYED, "display_name": "Other"}
    assert api.write("PUT", "keyed", renamed, key=writer).status == 200
    assert api.write("PUT", "keyed", body).status == 200


@pytest.mark.parametrize(
    ("method", "status"),
    [("GET", 201), ("HEAD", 201), ("POST", 201), ("PUT", 400), ("PATCH", 400), ("DELETE", 400)],
)
def test_a_key_is_never_tried_by_a_method_that_is_made_to_change_things(api, method, status):
    verification = {"endpoints": ["/me"], "method": method}
    body = {**KEYED, "proxy": {**KEYED["proxy"], "verification": verification}}
    assert api.write("PUT", "keyed", body).status == status
