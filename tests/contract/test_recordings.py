"""Every recorded answer is ours too, but for the differences we chose (docs/compatibility.md)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.contract.replay import Replay, keys_of, recorded_shape, recordings

DOCUMENT = Path(__file__).parents[2] / "docs/compatibility.md"
NAMES = [each["name"] for each in recordings()]


@dataclass(frozen=True)
class Difference:
    """What of our answer is different on purpose.

    ``own`` replaces parts of the recorded shape, ``like`` replaces it by that of another recorded
    answer; ``more`` are paths of keys with the JSON type of their values, where ours has another
    one too; ``less`` are paths; ``any_keys`` leaves keys alone; ``unlimited`` has no headers that
    tell of a limit.
    """

    own: dict[str, Any] = field(default_factory=dict)
    like: str = ""
    more: dict[str, str] = field(default_factory=dict)
    less: frozenset[str] = frozenset()
    any_keys: bool = False
    unlimited: bool = False


NOT_FOUND = Difference(
    {
        "status": 404,
        "content_type": "application/json",
        "code": "not_found",
        "issues": [],
        "keys": {"error": "object", "error.code": "string", "error.message": "string"},
    }
)
OWN_CATALOGUE = Difference(any_keys=True)

# Every integration as its owner sees it says which redirect URI to register.
ALWAYS_MORE = {"data.own_callback", "data.callback_url"}

DIFFERENCES: dict[str, Difference] = {
    "unknown_route_noauth": NOT_FOUND,
    "unknown_route_spa": NOT_FOUND,
    "unknown_post_route": NOT_FOUND,
    "method_not_allowed": NOT_FOUND,
    "integration_get_bad_key": NOT_FOUND,
    "providers_list_full": OWN_CATALOGUE,
    "providers_search": OWN_CATALOGUE,
    "provider_get_github": OWN_CATALOGUE,
    "provider_get_algolia": OWN_CATALOGUE,
    "provider_get_french": OWN_CATALOGUE,
    "conn_import_oauth2_cc_no_exp": Difference(more={"credentials.expires_at": "string"}),
    "conn_get_cc_no_exp": Difference(more={"credentials.expires_at": "string"}),
    "L_cc_force": Difference(more={"credentials.raw.expires_at": "string"}),
    "conn_get_oauth2_override_force": Difference(
        less=frozenset(
            {
                "error.payload.connection.connection_config.oauth_scopes_override",
                "error.payload.connection.connection_config.oauth_scopes_override.[]",
            }
        )
    ),
    "integration_err_cred_missing_secret": Difference(like="integration_create_oauth2_github"),
    "conn_err_apikey_too_long": Difference(like="conn_import_apikey"),
    "conn_list_limit_page": Difference(more={"next_cursor": "string"}),
    "L_get_revoked_4_force_500": Difference({"status": 424}),
    "oauth_callback_replay": Difference({"status": 200}),
    "reconnect_session_get": Difference(
        more={
            "data.endUser.display_name": "null",
            "data.endUser.email": "null",
            "data.endUser.tags": "null",
        },
        less=frozenset({"data.endUser.tags.plan"}),
    ),
    "M_get_in_margin_provider_down": Difference(like="M_get_valid"),
    "M_get_margin_provider_back_within_30s": Difference(like="M_get_valid"),
    "M_proxy_margin_provider_back_within_30s": Difference(like="P_proxy_get"),
    "M_get_margin_after_31s": Difference(like="M_get_valid"),
    "webhook_in_unknown_env": Difference(unlimited=True),
    "webhook_in_unknown_int": Difference(unlimited=True),
    "webhook_in_ok": Difference(unlimited=True),
    "scripts_config": NOT_FOUND,
    "sync_status_err": NOT_FOUND,
    "records_err": NOT_FOUND,
    "dash_create_scoped_key": NOT_FOUND,
    "dash_create_key_bad_scope": NOT_FOUND,
    "dash_list_keys": NOT_FOUND,
    "R_ratelimit_headers": Difference(like="conn_patch_get"),
    "R_ratelimit_429": Difference(like="conn_patch_get"),
    "R_ratelimit_429_b": Difference(like="cs_create_min"),
}


@pytest.fixture(scope="module")
def played() -> dict[str, dict[str, Any]]:
    replay = Replay()
    found = {each["name"]: replay.play(each) for each in recordings()}
    for own in found.values():
        for path in ALWAYS_MORE & set(own.get("keys", ())):
            del own["keys"][path]
    return found


def expected(recorded: dict[str, Any]) -> dict[str, Any]:
    found = recorded_shape(recorded)
    difference = DIFFERENCES.get(recorded["name"])
    if difference is None:
        return found
    if difference.like:
        other = next(each for each in recordings() if each["name"] == difference.like)
        return recorded_shape(other)
    found = {**found, **difference.own}
    if difference.unlimited:
        del found["rate_limit"]
    if "keys" in found:
        keys = {**found["keys"], **difference.more}
        found["keys"] = {path: kind for path, kind in keys.items() if path not in difference.less}
    return found


@pytest.mark.parametrize("recorded", recordings(), ids=NAMES)
def test_the_answer_has_the_recorded_shape(
    recorded: dict[str, Any], played: dict[str, dict[str, Any]]
) -> None:
    own, wanted = dict(played[recorded["name"]]), expected(recorded)
    difference = DIFFERENCES.get(recorded["name"])
    if difference is not None and difference.any_keys:
        del own["keys"], wanted["keys"]
    assert own == wanted


def test_no_recording_is_left_unplayed_and_none_is_there_twice(
    played: dict[str, dict[str, Any]],
) -> None:
    assert sorted(played) == sorted(NAMES)
    assert len(NAMES) == len(set(NAMES))
    assert len(NAMES) > 200


def test_every_difference_is_one(played: dict[str, dict[str, Any]]) -> None:
    same = [
        each["name"]
        for each in recordings()
        if each["name"] in DIFFERENCES and played[each["name"]] == recorded_shape(each)
    ]
    assert same == []


def test_the_document_tells_exactly_the_differences_that_are_tested() -> None:
    section = DOCUMENT.read_text().split("## Recorded answers", 1)[1].split("\n## ", 1)[0]
    told = [
        name
        for line in section.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([^`]+)`", line.split("|")[1])
    ]
    assert sorted(told) == sorted(DIFFERENCES)
    assert all(
        len([cell for cell in line.split("|")[1:-1] if cell.strip()]) == 3
        for line in section.splitlines()
        if line.startswith("| `")
    )


def test_the_public_fields_of_a_provider_are_there() -> None:
    """The catalogue is our own, but what clients read of an entry is always there."""
    replay = Replay()
    found = replay.app.get("/providers/algolia").json()["data"]
    assert {"name", "display_name", "auth_mode", "logo_url", "categories", "proxy"} <= found.keys()
    assert {"type", "title"} <= found["credentials"]["apiKey"].keys()
    assert {"type", "title", "pattern"} <= found["connection_config"]["APP_ID"].keys()
    listed = replay.app.get("/providers").json()["data"]
    assert all({"name", "display_name", "auth_mode", "logo_url"} <= each.keys() for each in listed)


def test_a_value_of_another_json_type_is_seen() -> None:
    one, other = {"a": [{"b": None, "c": 1, "d": ["x"]}]}, {"a": [{"b": "", "c": "1", "d": [{}]}]}
    assert keys_of(one).keys() >= {"a", "a.[].b", "a.[].c", "a.[].d", "a.[].d.[]"}
    differing = {path for path in keys_of(one) if keys_of(one)[path] != keys_of(other).get(path)}
    assert differing == {"a.[].b", "a.[].c", "a.[].d.[]"}
