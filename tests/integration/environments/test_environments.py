"""Environments, keys and webhook settings through their function."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from keystow.environments import bootstrap, issuing, keys, removal, service
from keystow.events import endpoints
from keystow.integrations import removal as integration_removal
from keystow.records.environment import Environment
from keystow.refresh import throttle
from keystow.store import Put, tables
from keystow.vault import Purpose, VaultError
from tests.integration.integrations.calls import call, forget_catalogue, use_catalogue
from tests.support import CountingRandom, make_context, run_in_parallel

SETTINGS = {
    "primary_url": "https://hooks.example.com/a",
    "secondary_url": None,
    "on_auth_creation": True,
    "on_auth_refresh_error": False,
    "on_connection_deletion": False,
}


def start(ctx) -> Any:
    made = bootstrap.bootstrap(ctx)

    def send(method: str, path: str, body: Any = None, key: str | None = None) -> Any:
        function = "manage_environment"
        names = {"environments": "{environmentUuid}", "api-keys": "{keyUuid}"}
        steps = path.partition("?")[0].split("/")
        before = ["", *steps]
        shown = [
            names.get(b, s) if s and b in names else s for b, s in zip(before, steps, strict=False)
        ]
        route = "/".join(shown)
        return call(
            ctx, function, f"{method} {route}", path, key=key or made["secret_key"], body=body
        )

    return SimpleNamespace(
        ctx=ctx,
        made=made,
        account=made["account_key"],
        prod=made["environments"][1],
        send=send,
        dev=ctx.store.get(tables.environment_name("dev"))["environment"],
    )


@pytest.fixture
def api():
    return start(make_context())


def new_environment(api, name="staging"):
    return api.send("POST", "/environments", {"name": name}, api.account).data["id"]


def new_key(api, number, name="k", **more):
    body = {"environment_id": number, "display_name": name, **more}
    return api.send("POST", "/environment/api-keys", body, api.account)


def test_the_first_keys_are_answered_once_and_stored_only_as_hashes(api):
    made = api.made
    assert made["environment"] == "dev"
    assert [each["environment"] for each in made["environments"]] == ["dev", "prod"]
    stored = repr(api.ctx.store.everything())
    for secret in (made["secret_key"], made["account_key"], made["webhook_signing_key"]):
        assert keys.is_key(secret) or keys.is_uuid(secret)
        assert secret not in stored
    again = bootstrap.bootstrap(api.ctx)
    assert again["already_done"] is True
    assert "key" not in " ".join(again)
    assert repr(api.ctx.store.everything()) == stored
    dev = service.find(api.ctx, api.dev)
    assert dev.signing_keys(api.ctx.vault, 0)[0].reveal() == made["webhook_signing_key"]
    assert (dev.is_production, made["public_key"]) == (False, dev.public_key)


def test_parallel_first_invocations_make_one_account():
    ctx = make_context()
    answers = run_in_parallel(6, lambda _: bootstrap.bootstrap(ctx))
    assert sum("account_key" in answer for answer in answers) == 1
    assert len(service.claims(ctx)) == 2


def test_the_account_key_is_replaced_on_request_and_the_old_one_ends(api):
    new = bootstrap.rotate_account_key(api.ctx)["account_key"]
    api.ctx.clock.advance(31)
    answer = api.send("POST", "/environments", {"name": "x"}, api.account)
    assert (answer.status, answer.code) == (401, "unknown_account")
    assert api.send("POST", "/environments", {"name": "x"}, new).status == 200


def test_the_bootstrap_function_answers_keys_and_logs_none(api, capsys):
    from unittest.mock import patch

    from tests.integration.integrations.calls import _handler

    ctx = make_context()
    with patch("keystow.context.current", lambda: ctx):
        made = _handler("bootstrap_keys")({}, None)
        again = _handler("bootstrap_keys")(None, None)
        rotated = _handler("bootstrap_keys")({"rotate": True}, None)
    printed = "".join(capsys.readouterr())
    assert set(made) == {
        "environment",
        "secret_key",
        "public_key",
        "webhook_signing_key",
        "account_key",
        "environments",
    }
    assert again["already_done"] is True
    assert rotated["account_key"] != made["account_key"]
    assert made["secret_key"] not in printed
    assert made["account_key"] not in printed


@pytest.mark.parametrize("names", ["", "a,B", "a b", ",".join(f"e{n}" for n in range(20))])
def test_malformed_environment_names_create_nothing(names):
    ctx = make_context(environment_names=names)
    with pytest.raises(ValueError, match="environment"):
        bootstrap.bootstrap(ctx)
    assert service.claims(ctx) == []


def test_webhook_settings_have_defaults_and_are_replaced_whole(api):
    shown = api.send("GET", "/environment/webhook-settings").data
    assert shown == {
        "primary_url": None,
        "secondary_url": None,
        "on_auth_creation": True,
        "on_auth_refresh_error": True,
        "on_connection_deletion": True,
    }
    assert api.send("PUT", "/environment/webhook-settings", SETTINGS).data == SETTINGS
    assert api.send("GET", "/environment/webhook-settings").data == SETTINGS
    other = api.prod["secret_key"]
    assert api.send("GET", "/environment/webhook-settings", key=other).data == shown
    assert api.send("GET", "/environment/webhook-settings", key=api.account).status == 403


def test_deletions_are_told_in_new_environments_and_not_in_those_of_before(api):
    key = tables.environment_settings(api.dev)
    item = api.ctx.store.get(key)
    of_before = {n: v for n, v in item["webhooks"].items() if n != "on_connection_deletion"}

    def told(path="/environment/webhook-settings"):
        return api.send("GET", path).data["on_connection_deletion"]

    assert told() is True
    api.ctx.store.put(Put(key, {**item, "webhooks": of_before}))
    assert told() is False


@pytest.mark.parametrize("before", [True, False])
def test_a_put_that_leaves_the_setting_of_deletions_out_keeps_it(api, before):
    with_it = {**SETTINGS, "on_connection_deletion": before}
    of_old = {n: v for n, v in SETTINGS.items() if n != "on_connection_deletion"}
    assert api.send("PUT", "/environment/webhook-settings", with_it).data == with_it
    assert api.send("PUT", "/environment/webhook-settings", of_old).data == with_it
    assert api.send("GET", "/environment/webhook-settings").data == with_it
    refused = api.send(
        "PUT", "/environment/webhook-settings", {**SETTINGS, "on_connection_deletion": None}
    )
    assert refused.status == 400


def test_a_put_lets_a_disabled_endpoint_be_tried_again(api):
    assert api.send("PUT", "/environment/webhook-settings", SETTINGS).status == 200
    url = SETTINGS["primary_url"]
    endpoints.disable(api.ctx, api.dev, url)
    assert endpoints.current(api.ctx, api.dev).is_disabled(url)
    assert api.send("PUT", "/environment/webhook-settings", SETTINGS).status == 200
    assert not endpoints.current(api.ctx, api.dev, fresh=True).is_disabled(url)


@pytest.mark.parametrize(
    ("changed", "issues"),
    [
        ({"x": 1}, [("unrecognized_keys", [])]),
        ({"primary_url": "zzz"}, [("invalid_format", ["primary_url"])]),
        ({"primary_url": "http://hooks.example.com"}, [("invalid_format", ["primary_url"])]),
        ({"primary_url": "https://127.0.0.1/"}, [("invalid_format", ["primary_url"])]),
        ({"primary_url": "https://169.254.169.254/"}, [("invalid_format", ["primary_url"])]),
        ({"secondary_url": "https://api.nango.dev/x"}, [("invalid_format", ["secondary_url"])]),
        ({"on_auth_creation": "yes"}, [("invalid_type", ["on_auth_creation"])]),
    ],
)
def test_webhook_settings_that_cannot_be_are_refused(api, changed, issues):
    answer = api.send("PUT", "/environment/webhook-settings", {**SETTINGS, **changed})
    assert (answer.status, answer.code, answer.issues) == (400, "invalid_body", issues)


def test_loopback_webhooks_pass_on_the_local_stack_only():
    local = start(make_context(loopback_allowed=True))
    url = {**SETTINGS, "primary_url": "http://127.0.0.1:4501/hook"}
    assert local.send("PUT", "/environment/webhook-settings", url).status == 200


def test_a_rotated_signing_key_signs_beside_the_new_one_for_a_day(api):
    old = api.made["webhook_signing_key"]
    answer = api.send("POST", "/environment/webhook-signing-key/rotate")
    new = answer.data["webhook_signing_key"]
    assert keys.is_uuid(new)

    def signing_now() -> list[str]:
        environment = service.find(api.ctx, api.dev)
        found = environment.signing_keys(api.ctx.vault, api.ctx.clock.now())
        return [key.reveal() for key in found]

    assert signing_now() == [new, old]
    api.ctx.clock.advance(24 * 3600 + 1)
    assert signing_now() == [new]
    settings = api.send("PUT", "/environment/webhook-settings", SETTINGS)
    assert settings.status == 200
    assert signing_now() == [new]


def test_of_two_rotations_at_once_each_answered_key_is_a_valid_one(api):
    answers = run_in_parallel(
        6, lambda _: api.send("POST", "/environment/webhook-signing-key/rotate")
    )
    assert {answer.status for answer in answers} <= {200, 409}
    answered = {a.data["webhook_signing_key"] for a in answers if a.status == 200}
    environment = service.find(api.ctx, api.dev)
    assert environment.signing_keys(api.ctx.vault, 0)[0].reveal() in answered


def test_a_key_of_an_environment_reaches_neither_account_nor_other_environments(api):
    number = api.prod["environment_id"]
    for method, path, body in (
        ("POST", "/environments", {"name": "staging"}),
        ("DELETE", f"/environments/{number}", None),
        ("POST", "/environment/api-keys", {"environment_id": number, "display_name": "k2"}),
        ("DELETE", "/environment/api-keys", {"environment_id": number, "key_id": 1}),
    ):
        answer = api.send(method, path, body)
        assert (answer.status, answer.code) == (403, "forbidden"), path
    for scope in ("account:environments:create", "account:*", "foo:bar", "*"):
        answer = new_key(api, number, scopes=[scope])
        assert (answer.code, answer.issues) == (
            "invalid_body",
            [("invalid_value", ["scopes", "0"])],
        )


def test_a_new_environment_gets_its_keys_from_the_account(api):
    number = new_environment(api)
    answer = new_key(api, number, scopes=["environment:webhook_settings:*"])
    assert answer.data["scopes"] == ["environment:webhook_settings:*"]
    assert set(answer.data) == {"id", "uuid", "display_name", "scopes", "secret", "created_at"}
    secret = answer.data["secret"]
    assert api.send("GET", "/environment/webhook-settings", key=secret).status == 200
    assert api.send("GET", "/environment-variables", key=secret).status == 403
    assert new_key(api, number).code == "conflict"
    assert new_key(api, number, "all").data["scopes"] == ["environment:*"]
    body = {"environment_id": number, "key_id": answer.data["id"]}
    assert api.send("DELETE", "/environment/api-keys", body, api.account).status == 204
    assert api.send("DELETE", "/environment/api-keys", body, api.account).status == 404
    assert api.send("GET", "/environment/webhook-settings", key=secret).status == 401


def test_a_key_is_not_revoked_through_another_environment(api):
    key = new_key(api, new_environment(api)).data
    body = {"environment_id": api.prod["environment_id"], "key_id": key["id"]}
    assert api.send("DELETE", "/environment/api-keys", body, api.account).status == 404


def test_parallel_key_creations_neither_share_a_name_nor_pass_the_limit(api, monkeypatch):
    number = new_environment(api)
    monkeypatch.setattr(issuing, "MAX_KEYS", 4)
    answers = run_in_parallel(8, lambda n: new_key(api, number, f"k{n % 6}"))
    made = [answer.data["display_name"] for answer in answers if answer.status == 200]
    assert len(made) == len(set(made)) == 4
    refused = {answer.code for answer in answers if answer.status != 200}
    assert refused <= {"conflict", "resource_capped"}


@pytest.mark.parametrize(
    ("body", "code", "issues"),
    [
        ({"name": "A b"}, "invalid_body", [("invalid_format", ["name"])]),
        ({}, "invalid_body", [("invalid_type", ["name"])]),
        ({"name": "dev"}, "conflict", []),
        ({"name": "x", "zzz": 1}, "invalid_body", [("unrecognized_keys", [])]),
        ({"name": "prod", "is_production": False}, "invalid_is_prod_flag", []),
        (
            {"name": "x", "callback_url": "https://10.0.0.1/"},
            "invalid_body",
            [("invalid_format", ["callback_url"])],
        ),
    ],
)
def test_environments_that_cannot_be_are_refused(api, body, code, issues):
    answer = api.send("POST", "/environments", body, api.account)
    assert (answer.code, answer.issues) == (code, issues)


def test_parallel_creations_of_one_name_give_one_environment(api):
    answers = run_in_parallel(
        5, lambda _: api.send("POST", "/environments", {"name": "x"}, api.account)
    )
    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409, 409]


def test_a_production_environment_is_never_deleted(api):
    path = f"/environments/{api.prod['environment_id']}"
    answer = api.send("DELETE", path, key=api.account)
    assert (answer.status, answer.code) == (400, "cannot_delete_prod_environment")
    assert api.send("DELETE", "/environments/12345", key=api.account).code == "not_found"
    answer = api.send("DELETE", "/environments/abc", key=api.account)
    assert answer.code == "invalid_uri_params"


def test_a_deleted_environment_cannot_be_opened_ever_again(api, monkeypatch, tmp_path):
    use_catalogue(monkeypatch, tmp_path)
    number = new_environment(api)
    secret = new_key(api, number).data["secret"]
    environment = service.by_reference(api.ctx, number)
    create = {
        "provider": "github",
        "unique_key": "x",
        "credentials": {"type": "OAUTH2", "client_id": "i", "client_secret": "s"},
    }
    call(
        api.ctx,
        "manage_integrations",
        "POST /integrations",
        "/integrations",
        key=secret,
        body=create,
    )
    sealed = api.ctx.vault.seal(Purpose.CREDENTIAL, environment.id, ("c",), b"token")
    for n in range(3):
        place = tables.connection(environment.id, "i", f"c{n}")
        item = {"environment": environment.id, "created": f"{n}", "end_user": "person@example.com"}
        api.ctx.store.put(Put(place, item))
    throttle.note(api.ctx, environment.id, "tokens.example", "c", 60)
    assert api.send("DELETE", f"/environments/{number}", key=api.account).status == 204
    assert api.send("GET", "/environment-variables", key=secret).status == 401
    cold = make_context(store=api.ctx.store, kms=api.ctx.kms, clock=api.ctx.clock)
    with pytest.raises(VaultError):
        cold.vault.open(Purpose.CREDENTIAL, environment.id, ("c",), sealed)
    with pytest.raises(VaultError):
        cold.vault.seal(Purpose.CREDENTIAL, environment.id, ("c",), b"token")
    left = api.ctx.store.everything()
    assert left["connections"] == []
    of_it = [row for row in left["registry"] if environment.id in row["pk"]]
    assert {row["sk"].partition("#")[0] for row in of_it} == {"closed"}
    assert api.send("DELETE", f"/environments/{number}", key=api.account).status == 404
    assert new_environment(api) != number
    assert api.send("GET", "/environment/webhook-settings").status == 200
    forget_catalogue()


def test_a_large_environment_goes_in_several_calls_secrets_first(api, monkeypatch):
    monkeypatch.setattr(integration_removal, "BATCH", 2)
    number = new_environment(api)
    environment = service.by_reference(api.ctx, number)
    for n in range(5):
        place = tables.connection(environment.id, "i", f"c{n}")
        api.ctx.store.put(Put(place, {"environment": environment.id, "created": f"{n}"}))
    from keystow.errors import ApiError

    with pytest.raises(ApiError, match="repeat the request"):
        removal.shred(api.ctx, environment, 1)
    assert service.find(api.ctx, environment.id) is None
    rows = [r for r in api.ctx.store.everything()["registry"] if environment.id in r["pk"]]
    assert not any("wrapped" in row for row in rows)
    assert new_key(api, number).code == "not_found"
    assert api.send("DELETE", f"/environments/{number}", key=api.account).status == 204
    assert api.ctx.store.everything()["connections"] == []


class RepeatingRandom(CountingRandom):
    """Draws the same number for everything made in one millisecond, three times out of four."""

    draws = 0

    def bytes(self, count: int) -> bytes:
        if count != 2:
            return super().bytes(count)
        self.draws += 1
        return super().bytes(count) if self.draws % 4 == 0 else b"\0\0"


def test_environments_and_keys_made_in_one_moment_never_share_a_number():
    api = start(make_context(random=RepeatingRandom()))
    numbers = [each["environment_id"] for each in api.made["environments"]]
    numbers += [new_environment(api, f"e{n}") for n in range(5)]
    assert len(set(numbers)) == 7
    made = [new_key(api, numbers[0], f"k{n}").data["id"] for n in range(5)]
    assert len(set(made)) == 5
    found = [service.by_reference(api.ctx, number).name for number in numbers]
    assert found == ["dev", "prod", "e0", "e1", "e2", "e3", "e4"]


def test_variables_are_a_bare_list(api):
    assert api.send("GET", "/environment-variables").body == []


def test_an_environment_survives_its_item(api):
    api.send("POST", "/environment/webhook-signing-key/rotate")
    environment = service.find(api.ctx, api.dev)
    item = {**environment.as_item(), "pk": environment.id}
    assert Environment.from_item(item) == environment
