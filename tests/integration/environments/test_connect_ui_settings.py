"""How the Connect UI looks: set for an environment, told to every session of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.replay import seed_key
from tests.integration.environments.bootstrapped import Api

PLACE = "/environment/connect-ui-settings"
LIGHT = ["theme", "light", "primary"]
DEFAULT: dict[str, Any] = {
    "showWatermark": False,
    "defaultTheme": "system",
    "theme": {"light": {"primary": "#1f5fbf"}, "dark": {"primary": "#8ab4f8"}},
}
OWN: dict[str, Any] = {
    "showWatermark": True,
    "defaultTheme": "dark",
    "theme": {"light": {"primary": "rebeccapurple"}, "dark": {"primary": "hsl(210 80% 60%)"}},
}


@pytest.fixture
def api() -> Api:
    api = Api()
    api.app.key = api.dev["secret_key"]
    return api


def told(api: Api, key: str) -> Any:
    made = api.app.post("/connect/sessions", {"end_user": {"id": "u"}}, key=key).json()
    shown = api.app.get("/connect/session", key=made["data"]["token"])
    return shown.json()["data"]["connectUISettings"]


def test_settings_are_told_to_the_sessions_of_their_environment(api: Api) -> None:
    dev, prod = api.dev["secret_key"], api.prod["secret_key"]
    assert api.data("GET", PLACE) == DEFAULT
    assert told(api, dev) == DEFAULT
    assert api.data("PUT", PLACE, OWN) == OWN
    assert api.data("GET", PLACE) == OWN
    assert told(api, dev) == OWN
    assert told(api, prod) == DEFAULT


def test_what_is_left_out_is_the_default(api: Api) -> None:
    api.data("PUT", PLACE, OWN)
    light: dict[str, Any] = {"theme": {"light": {"primary": "#f00"}}}
    expected = {**DEFAULT, "theme": {**DEFAULT["theme"], **light["theme"]}}
    assert api.data("PUT", PLACE, light) == expected
    assert api.data("PUT", PLACE, {}) == DEFAULT


@pytest.mark.parametrize(
    ("body", "issue"),
    [
        ({"defaultTheme": "blue"}, ("invalid_value", ["defaultTheme"])),
        ({"showWatermark": "yes"}, ("invalid_type", ["showWatermark"])),
        ({"colour": 1}, ("unrecognized_keys", [])),
        ({"theme": {"light": {}}}, ("invalid_type", LIGHT)),
        *(
            ({"theme": {"light": {"primary": colour}}}, ("invalid_format", LIGHT))
            for colour in ("#12", "red;}", "url(//evil.example)", "rgb(0,0,0", "", "red\n")
        ),
    ],
)
def test_what_is_no_setting_is_refused_and_changes_nothing(
    api: Api, body: dict[str, Any], issue: tuple[str, list[str]]
) -> None:
    api.data("PUT", PLACE, OWN)
    refused = api.app.put(PLACE, body)
    assert (refused.status, refused.code) == (400, "invalid_body")
    assert refused.issues == [issue]
    assert api.data("GET", PLACE) == OWN


def test_each_has_its_scope(api: Api) -> None:
    reader = seed_key(api.ctx, ("environment:connect_ui_settings:read",))
    assert api.app.put(PLACE, {}, key=reader).code == "forbidden"
    writer = seed_key(api.ctx, ("environment:connect_ui_settings:update",))
    assert api.app.get(PLACE, key=writer).code == "forbidden"
