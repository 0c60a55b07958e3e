"""The built-in entries say what their providers want: driven through the engine, on no network."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from keystow.catalog import loader
from keystow.refresh import sweep
from tests.integration.authorization.popup import World as Popup
from tests.integration.authorization.popup import make_world
from tests.integration.connections.world import World
from tests.support import FakeEgress, Sent, json_answer

HOUR = 3_600
DAY = 24 * HOUR
CENTRES = {
    "com": "accounts.zoho.com",
    "eu": "accounts.zoho.eu",
    "in": "accounts.zoho.in",
    "com.au": "accounts.zoho.com.au",
    "com.cn": "accounts.zoho.com.cn",
    "jp": "accounts.zoho.jp",
    "uk": "accounts.zoho.uk",
    "sa": "accounts.zoho.sa",
    "ca": "accounts.zohocloud.ca",
}
CLIENT = {"type": "OAUTH2", "client_id": "app-id", "client_secret": "app-secret", "scopes": "read"}


class Imported(World):
    """A world with one connection, ``c1``, of a built-in provider, and all requests recorded."""

    def __init__(self, provider: str, *, config: dict[str, str] | None = None, **body: Any) -> None:
        super().__init__()
        self.key = provider
        self.web = self.ctx.egress = FakeEgress()
        self.integration(provider, provider, credentials=CLIENT)
        given: dict[str, Any] = {
            "provider_config_key": provider,
            "connection_id": "c1",
            "access_token": "at-0",
            "refresh_token": "rt-0",
            "no_expiration": True,
            "connection_config": config or {},
        }
        made = self.app.post("/connection", {**given, **body})
        assert made.status == 201, made.body

    def refreshed(self, **answer: Any) -> Sent:
        """Let the connection be renewed, and return the request."""
        told = {"access_token": "at-1", "refresh_token": "rt-1", "expires_in": HOUR, **answer}
        self.web.answers = [json_answer(200, told)]
        found = self.read("c1", self.key, "&force_refresh=true")
        assert found.status == 200, found.body
        assert found.json()["credentials"]["access_token"] == "at-1"
        (sent,) = self.web.sent
        self.web.sent.clear()
        return sent

    def deleted(self, *answers: Any) -> list[Sent]:
        """Delete the connection, and return what its provider was told."""
        self.web.answers = list(answers)
        done = self.app.delete(f"/connections/c1?provider_config_key={self.key}")
        assert done.status == 200, done.body
        return self.web.sent


def popup(provider: str, *answers: Any) -> tuple[Popup, FakeEgress]:
    world = make_world(provider=provider, scopes="read")
    web = FakeEgress(*answers)
    world.ctx.egress = web
    return world, web


def connect(world: Popup, query: dict[str, str] | None = None, **callback: str) -> dict[str, Any]:
    """Connect an account and return the connection."""
    browser = world.browser()
    state = world.begun(browser, world.session(), **(query or {}))["state"]
    assert world.back(browser, state, **callback).status == 200
    frame = world.frames()[-1]
    assert frame["message_type"] == "success", frame
    return dict(world.read(frame["connection_id"], "").json())


def operations(world: Any) -> str:
    """Return the messages of all that the activity log knows."""
    found = world.app.get("/activity").json()["data"]
    return str([world.app.get(f"/activity/{each['id']}").json()["data"] for each in found])


def place(sent: Sent) -> str:
    return f"{sent.method} {sent.url}"


@pytest.mark.parametrize(("extension", "host"), CENTRES.items())
def test_a_zoho_connection_is_refreshed_in_its_own_data_centre(extension: str, host: str) -> None:
    world = Imported("zoho", config={"extension": extension})
    sent = world.refreshed()
    assert place(sent) == f"POST https://{host}/oauth/v2/token"
    assert sent.form()["client_secret"] == "app-secret"


@pytest.mark.parametrize(("extension", "host"), CENTRES.items())
def test_a_zoho_account_is_asked_for_exchanged_and_renewed_in_its_own_data_centre(
    extension: str, host: str
) -> None:
    told = {
        "access_token": "at-1",
        "refresh_token": "rt-1",
        "expires_in": HOUR,
        "api_domain": f"https://www.zohoapis.{extension}",
    }
    world, web = popup("zoho", json_answer(200, told), json_answer(200, told))
    answer = world.start(world.browser(), world.session(), **{"params[extension]": extension})
    assert urlsplit(answer.headers["location"]).netloc == host
    found = connect(world, **{"accounts-server": f"https://{host}", "location": "us"})
    assert found["connection_config"]["extension"] == extension
    world.ctx.clock.advance(HOUR)
    assert world.read(found["connection_id"]).status == 200
    assert [place(sent) for sent in web.sent] == [f"POST https://{host}/oauth/v2/token"] * 2


def test_the_zoho_server_that_the_answer_names_counts_before_the_chosen_data_centre() -> None:
    told = {"access_token": "at-1", "api_domain": "https://www.zohoapis.in"}
    world, web = popup("zoho", json_answer(200, told))
    chosen = {"params[extension]": "eu"}
    found = connect(world, chosen, **{"accounts-server": "https://accounts.zoho.in"})
    assert urlsplit(web.sent[0].url).netloc == "accounts.zoho.in"
    assert found["connection_config"]["extension"] == "in"


@pytest.mark.parametrize("server", ["https://accounts.zoho.ae.evil.example", "https://zoho.ca"])
def test_no_other_server_gets_the_zoho_apps_secret(server: str) -> None:
    world, web = popup("zoho", json_answer(200, {"access_token": "at-1"}))
    found = connect(world, {"params[extension]": "ca"}, **{"accounts-server": server})
    assert urlsplit(web.sent[0].url).netloc == "accounts.zohocloud.ca"
    assert "accounts-server" not in found["connection_config"]


@pytest.mark.parametrize(("extension", "host"), CENTRES.items())
def test_a_zoho_grant_is_revoked_in_its_own_data_centre(extension: str, host: str) -> None:
    (sent,) = Imported("zoho", config={"extension": extension}).deleted(json_answer(200, {}))
    assert place(sent) == f"POST https://{host}/oauth/v2/token/revoke?token=rt-0"
    assert "authorization" not in sent.headers


def test_hubspot_is_spoken_to_at_the_endpoints_of_2026_03_with_nothing_secret_in_a_url() -> None:
    world = Imported("hubspot")
    refreshed = world.refreshed()
    assert place(refreshed) == "POST https://api.hubapi.com/oauth/2026-03/token"
    assert refreshed.form()["refresh_token"] == "rt-0"
    (revoked,) = world.deleted(200)
    assert place(revoked) == "POST https://api.hubapi.com/oauth/2026-03/token/revoke"
    assert revoked.form() == {
        "token": "rt-1",
        "token_type_hint": "refresh_token",
        "client_id": "app-id",
        "client_secret": "app-secret",
    }


def test_a_linear_connection_is_bound_to_its_browser_and_renewed_each_day() -> None:
    token = {"access_token": "at-1", "refresh_token": "rt-1", "expires_in": DAY}
    workspace = {"data": {"organization": {"id": "o-1"}}}
    renewed = {**token, "access_token": "at-2", "refresh_token": "rt-2"}
    answers = [json_answer(200, each) for each in (token, workspace, renewed)]
    world, web = popup("linear", *answers)
    found = connect(world)
    assert "code_verifier" in web.sent[0].form()
    world.ctx.clock.advance(DAY)
    assert world.read(found["connection_id"]).json()["credentials"]["access_token"] == "at-2"
    assert web.sent[-1].form()["refresh_token"] == "rt-1"


def test_a_linear_token_that_ends_without_a_refresh_token_is_remarked() -> None:
    told = {"access_token": "at-1", "expires_in": DAY}
    world, _web = popup("linear", json_answer(200, told), 403)
    connect(world)
    assert "no refresh token came" in operations(world)


def test_a_linear_grant_is_revoked_though_its_access_token_is_over() -> None:
    world = Imported("linear")
    (sent,) = world.deleted(200)
    assert place(sent) == "POST https://api.linear.app/oauth/revoke"
    assert sent.form() == {"token": "rt-0", "token_type_hint": "refresh_token"}
    assert "authorization" not in {name.lower() for name in sent.headers}


def test_slack_is_asked_without_pkce_since_that_would_make_the_app_a_public_client() -> None:
    world, _web = popup("slack")
    assert "code_challenge" not in world.begun(world.browser(), world.session())
    assert "public client" in loader.built_in("slack").definition["pkce_off_reason"]


def test_both_tokens_of_a_slack_connection_are_revoked_as_slack_wants() -> None:
    user = {"id": "U1", "access_token": "user-at", "refresh_token": "user-rt"}
    world = Imported("slack", raw={"ok": True, "authed_user": user})
    done = json_answer(200, {"ok": True, "revoked": True})
    first, second = world.deleted(done, done)
    assert place(first) == place(second) == "POST https://slack.com/api/auth.revoke"
    told = [first.headers["authorization"], second.headers["authorization"]]
    assert told == ["Bearer user-at", "Bearer at-0"]
    assert "was revoked at the provider" in operations(world)


def test_a_refusal_that_slack_answers_with_status_200_is_told_as_one() -> None:
    refusal = json_answer(200, {"ok": False, "error": "not_allowed_token_type"})
    world = Imported("slack")
    assert len(world.deleted(refusal)) == 1
    assert "did not confirm" in operations(world)
    assert "not_allowed_token_type" in operations(world)


def test_zendesk_tokens_are_renewed_in_pairs_and_revoked_with_their_connection() -> None:
    world = Imported("zendesk", config={"subdomain": "acme"})
    sent = world.refreshed(expires_in=1_800, refresh_token_expires_in=30 * DAY)
    assert place(sent) == "POST https://acme.zendesk.com/oauth/tokens"
    assert sent.form() == {
        "refresh_token": "rt-0",
        "grant_type": "refresh_token",
        "expires_in": "1800",
        "client_id": "app-id",
        "client_secret": "app-secret",
    }
    (revoked,) = world.deleted(204)
    assert place(revoked) == "DELETE https://acme.zendesk.com/api/v2/oauth/tokens/current.json"
    assert revoked.headers["authorization"] == "Bearer at-1"


def test_a_shopify_token_lives_an_hour_and_is_renewed_at_its_shop() -> None:
    first = {
        "access_token": "at-1",
        "expires_in": HOUR,
        "refresh_token": "rt-1",
        "refresh_token_expires_in": 90 * DAY,
    }
    second = {**first, "access_token": "at-2", "refresh_token": "rt-2"}
    world, web = popup("shopify", json_answer(200, first), json_answer(200, second))
    found = connect(world, {"params[subdomain]": "acme"})
    assert web.sent[0].form()["expiring"] == "1"
    world.ctx.clock.advance(HOUR)
    credentials = world.read(found["connection_id"]).json()["credentials"]
    assert (credentials["access_token"], credentials["refresh_token"]) == ("at-2", "rt-2")
    sent = web.sent[-1]
    assert place(sent) == "POST https://acme.myshopify.com/admin/oauth/access_token"
    form = sent.form()
    assert (form["grant_type"], form["refresh_token"]) == ("refresh_token", "rt-1")
    assert (form["client_id"], form["client_secret"]) == ("id", "app-secret")


def test_shopify_is_asked_for_scopes_with_commas_between_them() -> None:
    world = make_world(provider="shopify", scopes="read_orders,write_products")
    begun = world.begun(world.browser(), world.session(), **{"params[subdomain]": "acme"})
    assert begun["scope"] == "read_orders,write_products"


def test_a_shopify_token_of_a_custom_app_does_not_end() -> None:
    told = {"access_token": "at-1", "scope": "read"}
    world, web = popup("shopify", json_answer(200, told))
    found = connect(world, {"params[subdomain]": "acme"})
    world.ctx.clock.advance(365 * DAY)
    credentials = world.read(found["connection_id"]).json()["credentials"]
    assert credentials["access_token"] == "at-1"
    assert "expires_at" not in credentials
    assert len(web.sent) == 1


@pytest.mark.parametrize(
    ("provider", "config", "days"),
    [("shopify", {"subdomain": "acme"}, 90), ("zendesk", {"subdomain": "acme"}, 30)],
)
def test_a_refresh_token_that_dies_unused_is_used_before(provider, config, days) -> None:
    world = Imported(provider, config=config)
    told = {"access_token": "at-1", "refresh_token": "rt-1", "expires_in": HOUR}
    world.web.default = json_answer(200, told)
    world.ctx.clock.advance(0.7 * days * DAY)
    assert sweep.sweep(world.ctx) == 0
    world.ctx.clock.advance(0.2 * days * DAY)
    assert sweep.sweep(world.ctx) == 1
    assert world.work() == []
    assert world.web.sent[0].form()["refresh_token"] == "rt-0"


def test_figma_finds_the_redirect_uri_wherever_it_looks_for_it() -> None:
    told = {"access_token": "at-1", "refresh_token": "rt-1", "expires_in": 90 * DAY}
    renewed = {"access_token": "at-2", "expires_in": 90 * DAY}
    world, web = popup("figma", json_answer(200, told), json_answer(200, renewed))
    found = connect(world)
    exchange = web.sent[0]
    query = dict(parse_qsl(urlsplit(exchange.url).query))
    assert query == {"redirect_uri": exchange.form()["redirect_uri"]}
    assert exchange.headers["authorization"].startswith("Basic ")
    world.ctx.clock.advance(90 * DAY)
    credentials = world.read(found["connection_id"]).json()["credentials"]
    assert (credentials["access_token"], credentials["refresh_token"]) == ("at-2", "rt-1")
    assert place(web.sent[-1]) == "POST https://api.figma.com/v1/oauth/refresh"


LIGHTNING = [
    "acme.lightning.force.com",
    "ACME.Lightning.Force.com",
    "https://acme.lightning.force.com/lightning/page/home",
    "acme--dev.sandbox.lightning.force.com",
    "lightning.force.com",
    "acme.lightning.salesforce.com",
    "lightning.salesforce.com",
]


@pytest.mark.parametrize("host", LIGHTNING)
def test_an_address_of_lightning_pages_is_no_log_in_host_of_salesforce(host: str) -> None:
    world, web = popup("salesforce")
    query = {"params[hostname]": host}
    answer = world.start(world.browser(), world.session(), **query)
    assert answer.status != 302
    assert world.frames()[-1]["message_type"] == "error"
    assert web.sent == []
    body = {
        "provider_config_key": "rot",
        "connection_id": "c1",
        "credentials": {"type": "OAUTH2", "access_token": "a"},
        "connection_config": {"hostname": host},
    }
    assert 400 <= world.app.post("/connections", body).status < 500


@pytest.mark.parametrize(
    "host",
    [
        *("login.salesforce.com", "test.salesforce.com", "acme.my.salesforce.com"),
        *("acme--dev.sandbox.my.salesforce.com", "na139.salesforce.com", "acme.force.com"),
        *("acme.my.site.com", "acme.cloudforce.com", "acme.my.salesforce.mil"),
        *("l.force.com", "lightnin.force.com", "lightnings.force.com", "lightning-x.force.com"),
    ],
)
def test_every_log_in_host_of_salesforce_is_taken(host: str) -> None:
    world = Imported("salesforce", config={"hostname": host})
    sent = world.refreshed(instance_url="https://acme.my.salesforce.com")
    assert place(sent) == f"POST https://{host}/services/oauth2/token"


STRIPE = {
    "access_token": "sk-1",
    "refresh_token": "rt-1",
    "stripe_user_id": "acct_1",
    "stripe_publishable_key": "pk_1",
    "scope": "read_write",
    "livemode": False,
}


def test_the_account_of_a_stripe_connection_is_kept_and_deauthorized_with_it() -> None:
    gone = json_answer(200, {"stripe_user_id": "acct_1"})
    world, web = popup("stripe", json_answer(200, STRIPE), gone)
    found = connect(world)
    assert found["connection_config"]["stripe_user_id"] == "acct_1"
    path = f"/connections/{found['connection_id']}?provider_config_key=rot"
    assert world.app.delete(path).status == 200
    sent = web.sent[-1]
    assert place(sent) == "POST https://connect.stripe.com/oauth/deauthorize"
    assert sent.headers["authorization"] == "Bearer app-secret"
    assert sent.form() == {"client_id": "id", "stripe_user_id": "acct_1"}


def test_an_imported_stripe_connection_is_deauthorized_by_what_its_token_answer_tells() -> None:
    (sent,) = Imported("stripe", raw=STRIPE).deleted(json_answer(200, {}))
    assert sent.form() == {"client_id": "app-id", "stripe_user_id": "acct_1"}


def test_without_its_account_a_stripe_connection_is_deleted_all_the_same() -> None:
    world = Imported("stripe")
    assert world.deleted() == []
    assert "has no value for this connection" in operations(world)


def test_a_notion_token_is_revoked_by_the_app_that_got_it() -> None:
    (sent,) = Imported("notion").deleted(json_answer(200, {"request_id": "1"}))
    assert place(sent) == "POST https://api.notion.com/v1/oauth/revoke"
    assert sent.headers["authorization"].startswith("Basic ")
    assert sent.headers["notion-version"] == "2022-06-28"
    assert sent.json() == {"token": "at-0"}


@pytest.mark.parametrize(
    ("provider", "url", "method", "authorization"),
    [
        ("intercom", "https://api.intercom.io/auth/uninstall", "POST", "Bearer at-0"),
        ("dropbox", "https://api.dropboxapi.com/2/auth/token/revoke", "POST", "Bearer at-0"),
        ("github", "https://api.github.com/applications/app-id/token", "DELETE", "Basic "),
    ],
)
def test_an_authorization_is_ended_in_its_providers_own_way(
    provider: str, url: str, method: str, authorization: str
) -> None:
    (sent,) = Imported(provider).deleted(204)
    assert place(sent) == f"{method} {url}"
    assert sent.headers["authorization"].startswith(authorization)
    assert "at-0" not in sent.url


def test_the_account_of_a_zoom_connection_is_learnt_where_its_scopes_allow_it() -> None:
    token = {"access_token": "at-1", "refresh_token": "rt-1", "expires_in": HOUR}
    world, web = popup("zoom", json_answer(200, token), json_answer(200, {"account_id": "a-1"}))
    assert connect(world)["connection_config"]["accountId"] == "a-1"
    assert place(web.sent[1]) == "GET https://api.zoom.us/v2/users/me"
    world, web = popup("zoom", json_answer(200, token), 403)
    assert "accountId" not in connect(world)["connection_config"]


KEYS: dict[str, tuple[str, dict[str, str], str]] = {
    "airtable-pat": (
        "/api-auth/api-key",
        {"apiKey": "patAAAAAAAAAAAAAA.0123"},
        "https://api.airtable.com/v0/meta/whoami",
    ),
    "easypost": (
        "/api-auth/basic",
        {"username": "EZTK0123456789", "password": ""},
        "https://api.easypost.com/v2/addresses?page_size=1",
    ),
    "stripe-api-key": (
        "/api-auth/basic",
        {"username": "rk_test_0123456789abcdefg", "password": ""},
        "https://api.stripe.com/v1/balance",
    ),
}


def typed(provider: str, status: int) -> tuple[Any, FakeEgress]:
    world, web = popup("zoho")
    web.default = status
    made = {"provider": provider, "unique_key": provider}
    assert world.app.post("/integrations", made).status == 200
    door, body, _url = KEYS[provider]
    query = urlencode({"connect_session_token": world.session()})
    return world.app.post(f"{door}/{provider}?{query}", body, key=None), web


@pytest.mark.parametrize("provider", KEYS)
def test_a_key_is_tried_before_it_is_stored(provider: str) -> None:
    made, web = typed(provider, 200)
    assert made.status == 200, made.body
    (sent,) = web.sent
    assert (sent.method, sent.url) == ("GET", KEYS[provider][2])
    assert sent.headers["authorization"].split(" ")[0] in {"Bearer", "Basic"}


@pytest.mark.parametrize("provider", KEYS)
def test_a_key_that_its_provider_does_not_know_is_refused(provider: str) -> None:
    made, _web = typed(provider, 401)
    assert made.status == 400
    assert made.json()["error"]["code"] == "connection_test_failed"


def test_a_stripe_key_that_may_not_read_balances_is_a_good_key() -> None:
    assert typed("stripe-api-key", 403)[0].status == 200
    assert typed("easypost", 403)[0].status == 400


@pytest.mark.parametrize(
    "provider", ["discord", "google", "google-mail", "github", "gitlab", "microsoft", "zoom"]
)
def test_a_devices_own_client_is_told_where_to_begin(provider: str) -> None:
    world, _web = popup("zoho")
    told = world.app.get(f"/providers/{provider}").json()["data"]
    assert told["device_authorization_url"].startswith("https://")
