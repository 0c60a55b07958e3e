"""Each mode is one room: found by its name, and known by name nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from keystow.catalog.loader import Provider
from keystow.modes import (
    ROOMS,
    form_of,
    leaves,
    mode_for,
    mode_of,
    takes,
    way_of,
    why_not_connectable,
)
from keystow.modes.base import Arrival, Granted, Mode
from keystow.records.connection import Sealed
from keystow.secret import Secret
from tests.unit.docs.reading import text

ROOT = Path(__file__).parents[3]
LAYER = ROOT / "layers/shared/keystow"
# Roads along which every mode travels.
KNOW_NONE = [
    *(LAYER / "authorization").glob("*.py"),
    *(LAYER / "refresh").glob("*.py"),
    LAYER / "connections/importing.py",
    LAYER / "connections/legacy.py",
    LAYER / "connections/requests.py",
    LAYER / "connections/save.py",
    LAYER / "connections/views.py",
    ROOT / "functions/submit_credentials/app.py",
    ROOT / "functions/start_oauth/app.py",
    ROOT / "functions/oauth_callback/app.py",
    ROOT / "functions/connect_ui/static/form.js",
]


def provider(auth_mode: str, **more: object) -> Provider:
    return Provider("x", {"display_name": "X", "auth_mode": auth_mode, **more})


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_has_a_mode_that_stores_what_the_table_says(name: str) -> None:
    mode, room = mode_of(name), ROOMS[name]
    assert mode is not None
    assert mode.credential_type == (room.stored or name)
    assert takes(name, mode.credential_type)
    assert mode.label or not (room.path or room.popup), "the activity log needs its name"


@pytest.mark.parametrize("name", ROOMS)
def test_a_mode_does_what_its_way_in_asks_of_it(name: str) -> None:
    kind, room = type(mode_of(name)), ROOMS[name]
    if room.popup:
        assert kind.begin is not Mode.begin
        assert kind.complete is not Mode.complete
    if room.path and room.asks:
        assert kind.form or kind.typed is not Mode.typed
    if kind.refreshable is not Mode.refreshable:
        assert kind.renew is not Mode.renew


@pytest.mark.parametrize("path", KNOW_NONE, ids=lambda path: path.name)
def test_nobody_on_the_way_knows_a_mode_by_name(path: Path) -> None:
    named = re.findall(r"""["']([A-Z][A-Z0-9_]+)["']""", path.read_text(encoding="utf-8"))
    # A connection without a credential has no type; older ones were stored so.
    assert set(named) & set(ROOMS) <= {"NONE"}


def test_every_path_of_a_mode_is_documented_with_its_mode() -> None:
    page = text("docs/api.md")
    for name, room in ROOMS.items():
        if room.path and room.path != "oauth2/auth":
            assert re.search(rf"^\| `/{room.path}` \| {name} \|", page, re.MULTILINE), name


def test_a_stored_credential_lives_by_the_mode_of_its_provider() -> None:
    assert mode_for(provider("OAUTH2"), "OAUTH2") is mode_of("OAUTH2")
    assert mode_for(provider("MCP_OAUTH2"), "OAUTH2") is mode_of("MCP_OAUTH2")
    assert mode_of("MCP_OAUTH2") is not mode_of("OAUTH2")
    # The provider has gone, or was given another mode since.
    assert mode_for(None, "BASIC") is mode_of("BASIC")
    assert mode_for(provider("OAUTH2"), "API_KEY") is mode_of("API_KEY")
    assert mode_for(None, "UNHEARD_OF") is None


def test_a_browser_is_told_how_to_connect() -> None:
    assert way_of(provider("OAUTH2")) == {"way": "popup"}
    basic = {"way": "post", "path": "api-auth/basic", "fields": ["username", "password"]}
    assert way_of(provider("BASIC")) == basic
    assert form_of(provider("BASIC"), "https://k.example")["connect"] == basic
    assert way_of(provider("UNHEARD_OF")) is None
    assert "UNHEARD_OF" in why_not_connectable(provider("UNHEARD_OF"))
    assert leaves(provider("OAUTH2"))
    assert not leaves(provider("BASIC"))
    assert not leaves(provider("OAUTH2", installation="outbound"))


def test_what_goes_between_modes_and_their_callers_prints_no_secret() -> None:
    sealed = Sealed(Secret({"apiKey": "s3cret"}), Secret({}))
    assert repr(Granted(sealed, details={"a": "s3cret"})) == "Granted"
    assert "s3cret" not in repr(Arrival.names())
