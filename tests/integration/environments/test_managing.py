"""Environments through their routes: made, listed, changed, ended; and their signing keys."""

from __future__ import annotations

import pytest

from keystow.environments import service
from tests.integration.environments.bootstrapped import Api

DAY = 86_400


@pytest.fixture
def api() -> Api:
    return Api()


def test_environments_are_listed_and_found_by_name(api):
    found = sorted(api.data("GET", "/environments"), key=lambda each: each["name"])
    assert [each["name"] for each in found] == ["dev", "prod"]
    assert found[1] == {
        "id": api.prod["environment_id"],
        "uuid": api.prod["uuid"],
        "name": "prod",
        "is_production": True,
        "public_key": api.prod["public_key"],
        "hmac_enabled": False,
    }
    assert api.data("GET", "/environments?name=prod") == found[1:]
    assert api.data("GET", "/environments?name=pro") == []
    assert api.code("GET", "/environments?names=prod") == "invalid_query_params"
    assert api.code("GET", "/environments", key=api.dev["secret_key"]) == "forbidden"


def test_an_environment_is_made_with_all_of_its_ids_and_ended_by_its_uuid(api):
    made = api.data("POST", "/environments", {"name": "x", "webhook_signing_key": "s" * 32})
    assert set(made) == {"id", "uuid", "name"}
    environment = service.by_reference(api.ctx, made["uuid"])
    assert service.by_reference(api.ctx, made["id"]) == environment
    assert environment.signing_keys(api.ctx.vault, 0)[0].reveal() == "s" * 32
    assert api.app.delete(f"/environments/{made['uuid'].upper()}").status == 204
    assert api.code("DELETE", f"/environments/{made['uuid']}") == "not_found"
    assert api.code("DELETE", f"/environments/{api.prod['uuid']}") == (
        "cannot_delete_prod_environment"
    )


@pytest.mark.parametrize(
    "feature",
    [
        {"slack_notifications": True},
        {"otlp_endpoint": "https://otlp.example.com"},
        {"otlp_headers": [{"name": "a", "value": "b"}]},
    ],
)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_feature_that_is_not_there_is_refused_by_its_name(api, method, feature):
    path = "/environments" if method == "POST" else f"/environments/{api.dev['uuid']}"
    answer = api.app.call(method, path, {"name": "x", **feature})
    assert (answer.status, answer.json()["error"]["code"]) == (400, "invalid_body")
    assert [issue["path"] for issue in answer.json()["error"]["errors"]] == [list(feature)]


def test_a_feature_that_is_turned_off_is_off(api):
    off = {"slack_notifications": False, "hmac_enabled": False, "otlp_endpoint": None}
    assert api.data("POST", "/environments", {"name": "x", **off})["name"] == "x"


def test_an_environment_is_changed_and_keeps_what_is_not_named(api):
    place = f"/environments/{api.dev['uuid']}"
    callback = "https://auth.example.com/oauth/callback"
    shown = api.data("PATCH", place, {"name": "work", "callback_url": callback})
    assert (shown["name"], shown["is_production"]) == ("work", False)
    environment = service.by_reference(api.ctx, api.dev["uuid"])
    assert (environment.name, environment.callback_url) == ("work", callback)
    assert api.data("PATCH", place, {"is_production": True})["is_production"] is True
    assert service.by_reference(api.ctx, api.dev["uuid"]).callback_url == callback
    api.data("PATCH", place, {"callback_url": None})
    assert service.by_reference(api.ctx, api.dev["uuid"]).callback_url is None
    assert {each["name"] for each in api.data("GET", "/environments")} == {"work", "prod"}
    assert api.data("POST", "/environments", {"name": "dev"})["name"] == "dev"
    assert api.code("PATCH", place, {"name": "dev"}) == "conflict"
    assert api.code("PATCH", place, {}) == "invalid_body"
    assert api.works(api.dev["secret_key"])


def test_an_environment_named_prod_is_production_and_stays_so(api):
    place = f"/environments/{api.prod['uuid']}"
    assert api.code("PATCH", place, {"is_production": False}) == "invalid_is_prod_flag"
    narrow = api.new_account_key("narrow", "account:environments:create")["secret"]
    for path, body in ((place, {"name": "other", "is_production": False}), ("/environments", None)):
        wish = body or {"name": "x", "is_production": True}
        method = "PATCH" if body else "POST"
        assert api.code(method, path, wish, key=narrow) == "forbidden"
    api.data("PATCH", place, {"name": "other"})
    assert api.code("PATCH", f"/environments/{api.dev['uuid']}", {"name": "prod"}, key=narrow) == (
        "forbidden"
    )
    renamed = api.data("PATCH", f"/environments/{api.dev['uuid']}", {"name": "prod"})
    assert renamed["is_production"] is True


def test_a_signing_key_of_ones_own_signs_beside_the_one_it_replaces(api):
    own = "an-older-signing-key"
    api.data("PATCH", f"/environments/{api.dev['uuid']}", {"webhook_signing_key": own})
    environment = service.by_reference(api.ctx, api.dev["uuid"])
    signing = environment.signing_keys(api.ctx.vault, api.ctx.clock.now())
    assert [each.reveal() for each in signing] == [own, api.dev["webhook_signing_key"]]
    (told,) = api.activity()
    assert told["operation"]["action"] == "rotate_webhook_signing_key"
    assert own not in repr(api.ctx.store.everything())


def test_a_rotation_that_kms_does_not_let_happen_is_told_as_such(api):
    from keystow.vault.kms import KmsError

    api.ctx.clock.advance(62 * DAY)  # the data key of the month has to be made
    api.ctx.kms.failure = KmsError("ThrottlingException")
    key = api.dev["secret_key"]
    answer = api.app.post("/environment/webhook-signing-key/rotate", key=key)
    assert (answer.status, answer.json()["error"]["code"]) == (500, "rotation_failed")
    api.ctx.kms.failure = None
    assert api.app.post("/environment/webhook-signing-key/rotate", key=key).status == 200
