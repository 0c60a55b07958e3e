"""An entry that leaves base URL and place of the key to the integration's owner (contract 7)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.proxy.world import Proxied
from tests.support import FakeEgress

OWN: dict[str, Any] = {
    "display_name": "An API of one's own",
    "categories": ["dev-tools"],
    "auth_mode": "API_KEY",
    "docs": "https://own.example/docs",
    "proxy": {"base_url": "https://unused.example"},
    "integration_config": {
        name: {"type": "string", "title": name, "optional": True}
        for name in ("baseUrl", "keyName", "keyPlacement", "valueTemplate")
    },
}
BASE = {"baseUrl": "https://api.own.example/v1"}


def world(**settings: str) -> Proxied:
    made = Proxied()
    assert made.app.put("/providers/own", OWN).status == 201
    made.integration("own", "own", integration_config={**BASE, **settings})
    made.connected("own", {"type": "API_KEY", "apiKey": "k"})
    made.ctx.egress = FakeEgress(default=200)
    return made


@pytest.mark.parametrize(
    ("settings", "url", "headers"),
    [
        ({}, "/x?q=1", {}),
        ({"keyName": "X-Key"}, "/x?q=1", {"x-key": "k"}),
        ({"keyName": "X-Key", "valueTemplate": "Key ${apiKey}"}, "/x?q=1", {"x-key": "Key k"}),
        ({"keyName": "key", "keyPlacement": "query"}, "/x?q=1&key=k", {}),
    ],
)
def test_the_owner_says_where_requests_go_and_where_the_key_is_put(
    settings: dict[str, str], url: str, headers: dict[str, str]
) -> None:
    made = world(**settings)
    assert made.sent(path="/x?q=1", of="own", connection="own").status == 200
    (sent,) = made.ctx.egress.sent
    assert sent.url == BASE["baseUrl"] + url
    assert sent.headers == {**headers, "accept-encoding": "identity"}


def test_the_owners_host_is_one_that_an_override_may_name() -> None:
    made = world()
    key = made.key("environment:proxy")
    for override, status in (("https://api.own.example/v2", 200), ("https://b.example", 400)):
        found = made.sent(of="own", connection="own", key=key, base_url_override=override)
        assert found.status == status


def test_a_value_that_the_connection_lacks_is_told() -> None:
    for placement in ("header", "query"):
        made = world(keyName="x", keyPlacement=placement, valueTemplate="${credentials.other}")
        found = made.sent(of="own", connection="own")
        assert (found.status, found.code) == (400, "unsupported_auth")
