"""A pasted address is cleaned at every door, and what was cleaned is what is used and stored."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.integration.authorization.popup import World as Popup
from tests.integration.authorization.popup import make_world
from tests.integration.authorization.test_typed import World as Typed

SITE: dict[str, Any] = {
    "authorization_url": "https://${connectionConfig.site}.rotating.example/authorize",
    "connection_config": {
        "site": {"title": "Site", "pattern": "^[a-z0-9-]+$", "suffix": ".rotating.example"},
        "plan": {"title": "Plan", "enum": ["Basic", "Pro"], "optional": True},
    },
}
PASTED = [
    "acme",
    " Acme ",
    "HTTPS://Acme.rotating.example/agent/dashboard",
    "https://acme.rotating.example./",
    "\u200bacme",
    "acme.rotating.example:443",
]


@pytest.fixture
def popup() -> Popup:
    return make_world(SITE)


def config_of(popup: Popup, connection: str) -> Any:
    return popup.read(connection).json()["connection_config"]


@pytest.mark.parametrize("value", PASTED)
def test_an_address_given_to_the_popup_is_cleaned(popup: Popup, value: str) -> None:
    browser = popup.browser()
    given = {"params[site]": value, "params[plan]": " pro"}
    answer = popup.start(browser, popup.session(), **given)
    assert answer.status == 302, answer.body
    place = urlsplit(answer.headers["location"])
    assert place.netloc == "acme.rotating.example"
    state = dict(each.split("=") for each in place.query.split("&"))["state"]
    assert popup.back(browser, state).status == 200
    config = config_of(popup, popup.frames()[-1]["connection_id"])
    assert config == {"site": "acme", "plan": "Pro"}


@pytest.mark.parametrize("value", PASTED)
def test_an_address_that_a_session_fixes_is_cleaned(popup: Popup, value: str) -> None:
    fixed = {"rot": {"connection_config": {"site": value, "free": " as it is "}}}
    connection = popup.connected(integrations_config_defaults=fixed)
    assert config_of(popup, connection) == {"site": "acme", "free": " as it is "}


@pytest.mark.parametrize("path", ["/connections", "/connection"])
@pytest.mark.parametrize("value", PASTED)
def test_an_imported_address_is_cleaned(popup: Popup, value: str, path: str) -> None:
    body: dict[str, Any] = {
        "provider_config_key": "rot",
        "connection_id": "c1",
        "connection_config": {"site": value},
    }
    if path == "/connections":
        body["credentials"] = {"type": "OAUTH2", "access_token": "a"}
    else:
        body |= {"access_token": "a", "no_expiration": True}
    assert popup.app.post(path, body).status == 201
    assert config_of(popup, "c1") == {"site": "acme"}


@pytest.mark.parametrize(
    "value", ["Acme", "https://acme.verified.example/x", "acme.verified.example."]
)
def test_an_address_typed_beside_a_key_is_cleaned(value: str) -> None:
    # The entry says neither prefix nor suffix: what is wanted is read off its URL.
    world = Typed()
    world.egress.answers = [200]
    made = world.submit("/api-auth/api-key", "verified", {"apiKey": "k"}, **{"params[site]": value})
    assert made.status == 200, made.body
    assert urlsplit(world.egress.sent[0].url).netloc == "acme.verified.example"
    stored = world.read("verified", made.json()["connectionId"])
    assert stored["connection_config"] == {"site": "acme"}


@pytest.mark.parametrize(
    "value",
    [
        "https://acme.other.example/",
        "www.acme.rotating.example",
        "me@acme.rotating.example",
        "https://acme.rotating.example@evil.example/",
        "acme.rotating.example:8443",
        "evil.example/.rotating.example",
        "rotating.example",
        "a b",
    ],
)
def test_what_names_another_place_is_refused_not_guessed_at(popup: Popup, value: str) -> None:
    answer = popup.start(popup.browser(), popup.session(), **{"params[site]": value})
    assert answer.status != 302
    assert b"Not of the form it should have: site" in answer.body
