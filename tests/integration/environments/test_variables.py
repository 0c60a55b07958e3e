"""An environment's variables: written together, read as a bare list, sealed at rest."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keystow.environments import variables
from keystow.store import tables
from tests.contract.replay import seed_key
from tests.integration.environments.bootstrapped import Api

PLACE = "/environment-variables"
SECRET = "marked-value-of-a-variable"


@pytest.fixture
def api() -> Api:
    api = Api()
    api.app.key = api.dev["secret_key"]
    return api


def write(api: Api, *pairs: tuple[str, str]) -> Any:
    return api.app.put(PLACE, {"variables": [{"name": n, "value": v} for n, v in pairs]})


def rows(api: Api) -> list[dict[str, Any]]:
    """Return what is stored of variables, as it is stored."""
    kept = api.ctx.store._tables[tables.REGISTRY].values()
    return [item for item in kept if item["sk"] == "variables"]


def test_variables_are_read_as_they_were_written_by_name(api: Api) -> None:
    assert api.app.get(PLACE).json() == []
    done = write(api, ("REGION", "eu"), ("API_KEY", SECRET), ("empty", ""))
    assert (done.status, done.json()) == (200, {"success": True})
    assert api.app.get(PLACE).json() == [
        {"name": "API_KEY", "value": SECRET},
        {"name": "REGION", "value": "eu"},
        {"name": "empty", "value": ""},
    ]
    assert write(api, ("REGION", "us")).status == 200
    assert api.app.get(PLACE).json() == [{"name": "REGION", "value": "us"}]
    assert write(api).status == 200
    assert api.app.get(PLACE).json() == []


def test_values_are_of_one_environment_and_not_in_any_table(api: Api) -> None:
    write(api, ("A", SECRET))
    assert api.app.get(PLACE, key=api.prod["secret_key"]).json() == []
    assert SECRET not in repr(api.ctx.store.everything())


def test_whoever_may_read_may_not_write(api: Api) -> None:
    reader = seed_key(api.ctx, ("environment:variables:read",))
    refused = api.app.put(PLACE, {"variables": []}, key=reader)
    assert (refused.status, refused.code) == (403, "forbidden")
    writer = seed_key(api.ctx, ("environment:variables:update",))
    assert api.app.get(PLACE, key=writer).code == "forbidden"


@pytest.mark.parametrize(
    ("listed", "issue"),
    [
        ([{"name": "", "value": "x"}], ("invalid_format", ["variables", "0", "name"])),
        ([{"name": "1A", "value": "x"}], ("invalid_format", ["variables", "0", "name"])),
        ([{"name": "A B", "value": "x"}], ("invalid_format", ["variables", "0", "name"])),
        ([{"name": "A" * 256, "value": "x"}], ("too_big", ["variables", "0", "name"])),
        ([{"name": "A", "value": "x" * 4_097}], ("too_big", ["variables", "0", "value"])),
        ([{"name": "A", "value": 1}], ("invalid_type", ["variables", "0", "value"])),
        ([{"name": "A"}], ("invalid_type", ["variables", "0", "value"])),
        ([{"name": "A", "value": "1"}] * 2, ("custom", ["variables"])),
        ([{"name": f"A{n}", "value": ""} for n in range(101)], ("too_big", ["variables"])),
    ],
)
def test_what_is_no_variable_is_refused_and_changes_nothing(
    api: Api, listed: list[Any], issue: tuple[str, list[str]]
) -> None:
    write(api, ("A", "kept"))
    refused = api.app.put(PLACE, {"variables": listed})
    assert (refused.status, refused.code) == (400, "invalid_body")
    assert refused.issues == [issue]
    assert api.app.get(PLACE).json() == [{"name": "A", "value": "kept"}]


def test_more_than_a_table_holds_is_told_to_be_too_large(api: Api) -> None:
    assert write(api, *((f"N{n}", "x" * 3_500) for n in range(100))).status == 200
    refused = write(api, *((f"N{n}", "x" * variables.LONGEST_VALUE) for n in range(variables.MOST)))
    assert (refused.status, refused.code) == (413, "request_too_large")
    assert len(api.app.get(PLACE).json()[0]["value"]) == 3_500


def test_an_environment_that_is_shredded_keeps_none(api: Api) -> None:
    write(api, ("A", SECRET))
    assert len(rows(api)) == 1
    deleted = api.app.delete(f"/environments/{api.dev['uuid']}", key=api.account)
    assert deleted.status == 204
    assert rows(api) == []
    assert write(api, ("A", "late")).status == 401


def test_a_row_that_was_moved_to_another_environment_does_not_open(api: Api) -> None:
    write(api, ("A", SECRET))
    assert api.app.put(PLACE, {"variables": []}, key=api.prod["secret_key"]).status == 200
    mine, other = rows(api)
    other["sealed"] = mine["sealed"]
    answer = api.app.get(PLACE, key=api.prod["secret_key"])
    assert answer.status == 424
    assert SECRET not in json.dumps(answer.json())
