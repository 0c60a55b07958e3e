"""What has no function of its own: health, preflights, the 404."""

from __future__ import annotations

import pytest

from keystow.aws.errors import AwsRefused
from keystow.log import logger
from keystow.store import StoreUnavailable
from tests.integration.integrations.calls import call
from tests.support import make_context


def ask(method, path, route="$default", ctx=None, headers=None):
    ctx = ctx or make_context()
    return call(ctx, "answer_default", route, path, method=method, headers=headers)


def test_what_is_not_there_is_a_json_404():
    for method in ("GET", "POST", "PUT"):
        answer = ask(method, "/nope")
        assert (answer.status, answer.code) == (404, "not_found")
        assert answer.headers["access-control-allow-origin"] == "*"


def test_a_preflight_allows_what_clients_send():
    answer = ask("OPTIONS", "/connect/session")
    assert (answer.status, answer.body) == (204, None)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-max-age"] == "600"
    assert answer.headers["access-control-allow-methods"] == "GET,HEAD,PUT,PATCH,POST,DELETE"
    assert "Nango-Activity-Log-Id" in answer.headers["access-control-allow-headers"]


def test_a_beacon_of_the_connect_ui_may_carry_credentials_from_there_only():
    headers = ask("OPTIONS", "/connect/telemetry").headers
    assert headers["access-control-allow-origin"] == "https://keystow.test"
    assert headers["access-control-allow-credentials"] == "true"
    assert headers["access-control-allow-methods"] == "POST"
    assert headers["access-control-max-age"] == "36000"


def test_monitors_may_ask_with_head():
    for path in ("/health", "/ready"):
        answer = ask("HEAD", path)
        assert (answer.status, answer.body) == (200, None)
    assert ask("HEAD", "/nope").status == 404
    assert ask("POST", "/health").status == 404


def test_health_and_readiness():
    assert ask("GET", "/health", "GET /health").body == {"result": "ok"}
    assert ask("GET", "/ready", "GET /ready").status == 200

    class Away:
        def get(self, _key):
            raise StoreUnavailable("away")

    ctx = make_context(store=Away())
    answer = ask("GET", "/ready", "GET /ready", ctx)
    assert (answer.status, answer.code) == (503, "temporarily_unavailable")
    assert ask("HEAD", "/ready", ctx=ctx).status == 503
    assert ask("GET", "/health", "GET /health", ctx).status == 200


def test_why_it_is_not_ready_is_logged_by_awss_code_and_nothing_else(monkeypatch):
    class Refusing:
        def get(self, _key):
            body = {"message": "role keystow-x may not read table keystow-y"}
            raise AwsRefused("AccessDeniedException", 400, body)

    logged = []
    monkeypatch.setattr(logger, "warning", lambda *line, extra: logged.append((*line, extra)))
    ctx = make_context(store=Refusing())
    assert ask("GET", "/ready", "GET /ready", ctx).status == 503
    assert logged == [
        ("not ready", {"cause": "AwsRefused", "detail": "AccessDeniedException"}),
    ]


@pytest.mark.parametrize(
    "asked",
    [
        "authorization,traceparent,tracestate",
        "authorization, x-datadog-origin, x-datadog-parent-id, x-datadog-sampling-priority",
        "sentry-trace,baggage,b3,x-b3-traceid,newrelic",
    ],
)
def test_a_preflight_allows_whatever_headers_a_page_asks_for(asked):
    headers = {"access-control-request-headers": asked}
    answer = ask("OPTIONS", "/connect/session", headers=headers)
    allowed = {each.strip() for each in answer.headers["access-control-allow-headers"].split(",")}
    assert allowed == {each.strip() for each in asked.split(",")}
    assert answer.headers["vary"] == "Access-Control-Request-Headers"


def test_a_preflight_repeats_nothing_that_is_no_name_of_a_header():
    headers = {"access-control-request-headers": "x-a, b c, x:y, \u00e4, , <script>, x-z"}
    answer = ask("OPTIONS", "/connect/session", headers=headers)
    assert answer.headers["access-control-allow-headers"] == "x-a, x-z"
