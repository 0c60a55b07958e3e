"""What is learnt once a connection is made, and how one is ended."""

import base64
import hashlib
import json
from urllib.parse import quote

import pytest

from keystow.catalog.loader import Provider, built_in
from keystow.catalog.post_connection import (
    Outcome,
    claims_of,
    run_post_connection,
    value_at,
)
from keystow.catalog.proxy_request import Caller

TOKEN = {"type": "OAUTH2", "access_token": "t0ken", "refresh_token": "r0/fresh", "raw": {}}


class Answers:
    """Answers requests by method and URL, and remembers them."""

    def __init__(self, answers):
        self.answers = answers
        self.requests = []

    def __call__(self, request):
        self.requests.append(request)
        return self.answers[request.method, request.url]


def jwt(claims):
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJub25lIn0.{payload}.x"


def run(id_, answers, config=None, credentials=None):
    provider = id_ if isinstance(id_, Provider) else built_in(id_)
    fetch = Answers(answers)
    held = credentials or TOKEN
    caller = Caller(
        provider,
        held,
        config or {},
        "2024-01-01T00:00:00Z",
        "r",
        authorization=f"Bearer {held.get('access_token')}",
    )
    return run_post_connection(caller, fetch), fetch


def test_a_path_in_the_answer_is_written_to_the_config():
    url = "https://login.mailchimp.com/oauth2/metadata"
    outcome, fetch = run("mailchimp", {("GET", url): (200, {"dc": "us6"})})
    assert outcome == Outcome({"dc": "us6"})
    assert fetch.requests[0].headers["authorization"] == "OAuth t0ken"


def test_a_graphql_call_sends_its_query():
    url = "https://api.linear.app/graphql"
    answer = {"data": {"organization": {"id": "o-1"}}}
    outcome, fetch = run("linear", {("POST", url): (200, answer)})
    assert outcome.updates == {"organizationId": "o-1"}
    assert json.loads(fetch.requests[0].body) == {"query": "{ organization { id } }"}
    assert fetch.requests[0].headers["authorization"] == "Bearer t0ken"


def test_an_address_is_kept_only_as_its_hash():
    url = "https://gmail.googleapis.com/gmail/v1/users/me/profile"
    outcome, _ = run("google-mail", {("GET", url): (200, {"emailAddress": "Ada@example.com"})})
    expected = hashlib.sha256(b"ada@example.com").hexdigest()
    assert outcome.updates == {"emailAddressHash": expected}


@pytest.mark.parametrize(
    ("claims", "tenant"), [({"authentication_event_id": "e2"}, "B"), ({}, "A")]
)
def test_a_claim_of_the_token_chooses_the_tenant_else_the_first(claims, tenant):
    tenants = [
        {"authEventId": "e1", "tenantId": "A"},
        {"authEventId": "e2", "tenantId": "B"},
    ]
    credentials = {**TOKEN, "access_token": jwt(claims)}
    answers = {("GET", "https://api.xero.com/connections"): (200, tenants)}
    outcome, _ = run("xero", answers, credentials=credentials)
    assert outcome.updates == {"tenant_id": tenant}


@pytest.mark.parametrize(
    ("api_domain", "updates"),
    [
        ("https://www.zohoapis.eu", {"extension": "eu"}),
        ("https://elsewhere.example", {}),
        (None, {}),
    ],
)
def test_a_value_of_the_token_answer_needs_no_call(api_domain, updates):
    credentials = {**TOKEN, "raw": {"api_domain": api_domain}}
    outcome, fetch = run("zoho", {}, credentials=credentials)
    assert outcome == Outcome(updates)
    assert fetch.requests == []


SITES = ("GET", "https://api.atlassian.com/oauth/token/accessible-resources")
TWO_SITES = [
    {"id": "c1", "url": "https://one.atlassian.net"},
    {"id": "c2", "url": "https://Two.atlassian.net"},
]


def myself(cloud):
    return ("GET", f"https://api.atlassian.com/ex/jira/{cloud}/rest/api/3/myself")


@pytest.mark.parametrize(
    ("subdomain", "cloud"),
    [("two", "c2"), ("TWO", "c2"), ("two.atlassian.net", "c2"), ("one", "c1"), (None, "c1")],
)
def test_the_site_is_the_one_the_end_user_named(subdomain, cloud):
    config = {"subdomain": subdomain} if subdomain else {}
    answers = {SITES: (200, TWO_SITES), myself(cloud): (200, {"accountId": "me"})}
    outcome, _ = run("jira", answers, config)
    assert outcome.error is None
    assert outcome.updates["cloudId"] == cloud
    assert outcome.updates["accountId"] == "me"
    assert outcome.updates["baseUrl"].lower().endswith(".atlassian.net")


def test_a_named_site_is_never_replaced_by_another():
    outcome, fetch = run("jira", {SITES: (200, TWO_SITES)}, {"subdomain": "three"})
    assert outcome.updates == {}
    assert "not among" in outcome.error
    assert len(fetch.requests) == 1


@pytest.mark.parametrize("id_", ["${accessToken}", "${connectionConfig.subdomain}", "a/../b?x=1"])
def test_the_id_of_a_site_is_a_value_and_never_a_template(id_):
    sites = [{"id": id_, "url": "https://one.atlassian.net"}]
    answers = {SITES: (200, sites), myself(quote(id_, safe="")): (200, {"accountId": "me"})}
    outcome, _ = run("jira", answers, {"subdomain": "one"})
    assert outcome.error is None
    assert (outcome.updates["cloudId"], outcome.updates["accountId"]) == (id_, "me")


def test_a_site_whose_account_is_hidden_is_still_a_site():
    answers = {SITES: (200, TWO_SITES), myself("c1"): (403, None)}
    outcome, _ = run("jira", answers)
    assert outcome.updates == {"cloudId": "c1", "baseUrl": "https://one.atlassian.net"}


@pytest.mark.parametrize("sites", [(500, None), (200, {}), (200, []), (200, [{"id": None}, 3])])
def test_a_list_of_sites_that_makes_no_sense_is_told(sites):
    outcome, _ = run("jira", {SITES: sites})
    assert outcome.updates == {}
    assert outcome.error


def test_a_refused_call_is_told_in_words_without_the_token():
    url = "https://api.hubapi.com/account-info/v3/details"
    outcome, _ = run("hubspot", {("GET", url): (403, {"token": "t0ken"})})
    assert outcome == Outcome(error="GET was answered with status 403")


def test_a_call_that_cannot_be_made_never_raises():
    def broken(_request):
        raise ConnectionError("t0ken")

    caller = Caller(built_in("hubspot"), TOKEN, {}, "2024-01-01T00:00:00Z", "r")
    outcome = run_post_connection(caller, broken)
    assert outcome.error == "the call failed (ConnectionError)"


@pytest.mark.parametrize("answer", [None, [], "text", {"portalId": {"a": 1}}, {"portalId": None}])
def test_an_answer_of_another_shape_sets_nothing(answer):
    url = "https://api.hubapi.com/account-info/v3/details"
    outcome, _ = run("hubspot", {("GET", url): (200, answer)})
    assert outcome == Outcome()


def test_later_calls_see_what_earlier_ones_learnt_and_optional_ones_may_fail():
    plan = {
        "unsets": ["password"],
        "calls": [
            {"url": "/a", "sets": {"team": "id"}},
            {"url": "/b", "optional": True, "sets": {"reached": {"source": "ok"}}},
            {"url": "/teams/${connectionConfig.team}", "sets": {"plan": "p[0].n"}},
        ],
    }
    definition = {
        "auth_mode": "OAUTH2",
        "proxy": {"base_url": "https://a.com"},
        "post_connection": plan,
    }
    answers = {
        ("GET", "https://a.com/a"): (200, {"id": "t 1"}),
        ("GET", "https://a.com/b"): (500, None),
        ("GET", "https://a.com/teams/t%201"): (200, {"p": [{"n": 7}]}),
    }
    outcome, _ = run(Provider("x", definition), answers)
    assert outcome == Outcome({"team": "t 1", "reached": False, "plan": 7}, ("password",))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.b", 1),
        ("list[1].x", 3),
        ("list[?on].x", 3),
        ("list[?x=2].x", 2),
        ("list[?x=9].x", None),
        ("list[9]", None),
        ("a.b.c", None),
        ("a[0]", None),
        ("none", None),
    ],
)
def test_a_path_leads_to_its_value_or_nowhere(path, expected):
    data = {"a": {"b": 1}, "list": [{"x": 2, "on": False}, {"x": 3, "on": True}]}
    assert value_at(data, path) == expected


@pytest.mark.parametrize("token", [None, "", "a.b", "a.b.c", "a.!!.c", 5, jwt([1])])
def test_what_is_no_jwt_has_no_claims(token):
    assert claims_of(token) == {}
