"""The races over claims and revisions once more, on DynamoDB's own conditions (moto)."""

from __future__ import annotations

import pytest

from keystow.environments import bootstrap
from keystow.registry import integrations
from keystow.store import tables
from tests.integration.integrations.calls import call, forget_catalogue, use_catalogue
from tests.moto_tables import moto_store
from tests.support import make_context, run_in_parallel

CLIENT = {"type": "OAUTH2", "client_id": "id", "client_secret": "s"}
OWN = {
    "display_name": "Own",
    "auth_mode": "OAUTH2",
    "authorization_url": "https://own.example.com/authorize",
    "token_url": "https://own.example.com/token",
}


@pytest.fixture
def ctx(monkeypatch, tmp_path):
    use_catalogue(monkeypatch, tmp_path)
    with moto_store() as (store, _client):
        yield make_context(store=store)
    forget_catalogue()


def test_claims_revisions_and_removal_hold_on_dynamodb(ctx):
    made = bootstrap.bootstrap(ctx)
    assert bootstrap.bootstrap(ctx)["already_done"] is True
    key = made["secret_key"]

    def send(method, path, body=None):
        route = "/integrations" if path == "/integrations" else "/integrations/{uniqueKey}"
        return call(ctx, "manage_integrations", f"{method} {route}", path, key=key, body=body)

    def provider(method, body=None):
        route = f"{method} /providers/{{provider}}"
        return call(ctx, "manage_providers", route, "/providers/own", key=key, body=body)

    assert provider("PUT", OWN).status == 201
    body = {"provider": "own", "unique_key": "x", "credentials": CLIENT}
    answers = run_in_parallel(10, lambda _: send("POST", "/integrations", body))
    assert sorted(answer.status for answer in answers) == [200] + [400] * 9

    changes = [{"display_name": "New"}, {"forward_webhooks": False}, {"custom": {"a": "b"}}]
    answers = run_in_parallel(3, lambda n: send("PATCH", "/integrations/x", changes[n]))
    assert [answer.status for answer in answers] == [200] * 3
    environment = ctx.store.get(tables.environment_name("dev"))["environment"]
    found = integrations.by_unique_key(ctx, environment, "x", fresh=True)
    assert (found.display_name, found.forward_webhooks) == ("New", False)
    assert found.secrets(ctx.vault).custom.reveal() == {"a": "b"}

    assert send("PATCH", "/integrations/x", {"unique_key": "y"}).status == 200
    assert provider("PUT", {**OWN, "display_name": "Other"}).status == 200
    assert provider("DELETE").code == "provider_in_use"
    assert send("DELETE", "/integrations/y").status == 200
    assert provider("DELETE").status == 200
    assert provider("DELETE").code == "not_found"


def test_environments_live_and_die_on_dynamodb(ctx):
    made = bootstrap.bootstrap(ctx)

    def send(method, path, body=None, key=made["account_key"]):
        route = path
        for name, value in ids.items():
            route = route.replace(value, f"{{{name}}}")
        function = "manage_environment"
        return call(ctx, function, f"{method} {route}", path, key=key, body=body)

    ids: dict[str, str] = {}

    number = send("POST", "/environments", {"name": "staging"}).data["id"]
    body = {"environment_id": number, "display_name": "k"}
    secret = send("POST", "/environment/api-keys", body).data["secret"]
    url = {"primary_url": "https://hooks.example.com"}
    assert send("PUT", "/environment/webhook-settings", url, secret).status == 200
    assert send("POST", "/environment/webhook-signing-key/rotate", None, secret).status == 200
    assert send("POST", "/environment/webhook-signing-key/rotate", None, secret).status == 200
    ids["environmentUuid"] = str(number)
    keys = f"/environments/{number}/api-keys"
    made = send("POST", keys, {"display_name": "ends", "expires_at": "2100-01-01T00:00:00Z"}).data
    ids["keyUuid"] = made["uuid"]
    assert "expires_at" in made
    assert send("GET", "/environment-variables", None, made["secret"]).status == 200
    changed = send("PATCH", f"{keys}/{made['uuid']}", {"expires_at": None, "display_name": "x"})
    assert "expires_at" not in changed.data
    assert changed.data["last_used_at"] is not None
    assert len(send("GET", keys).data) == 2
    assert send("DELETE", f"{keys}/{made['uuid']}").status == 200
    assert send("PATCH", f"/environments/{number}", {"name": "tests"}).status == 200
    assert bootstrap.rotate_account_key(ctx)["account_key"]
    assert send("GET", "/environments").status == 401
    key = bootstrap.rotate_account_key(ctx)["account_key"]
    assert send("DELETE", f"/environments/{number}", None, key).status == 204
    assert send("GET", "/environment-variables", None, secret).status == 401
    assert send("POST", "/environments", {"name": "staging"}, key).status == 200
