"""Listing connections: filters, order, pages."""

from __future__ import annotations

import pytest

from keystow.connections import listing
from keystow.integrations import counting
from tests.contract.replay import seed_key
from tests.integration.connections.world import World


@pytest.fixture
def world() -> World:
    world = World()
    world.imported("c1", tags={"Team": "blue", "tier": "1"})
    world.ctx.clock.advance(1)
    world.imported(
        "c2",
        "rot",
        end_user={"id": "u1", "email": "Ann@Example.com", "display_name": "Ann Beta"},
        tags={"Team": "blue"},
    )
    world.ctx.clock.advance(1)
    world.imported("c3", end_user={"id": "u2"})
    world.ctx.clock.advance(1)
    world.imported("alpha", end_user={"id": "u1"}, tags={"team": "red"})
    return world


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["alpha", "c3", "c2", "c1"]),
        ({"connectionId": "c2"}, ["c2"]),
        ({"connectionId": "c"}, []),
        ({"integrationId": "pat"}, ["alpha", "c3", "c1"]),
        ({"integrationId": "pat,rot"}, ["alpha", "c3", "c2", "c1"]),
        ({"integrationId": "nope"}, []),
        ({"endUserId": "u1"}, ["alpha", "c2"]),
        ({"endUserId": "u1", "integrationId": "rot"}, ["c2"]),
        ({"endUserId": "nobody"}, []),
        ({"tags[team]": "blue"}, ["c2", "c1"]),
        ({"tags[TEAM]": "blue", "tags[tier]": "1"}, ["c1"]),
        ({"tags[end_user_email]": "Ann@Example.com"}, ["c2"]),
        ({"search": "ALPHA"}, ["alpha"]),
        ({"search": "beta"}, ["c2"]),
        ({"search": "example.com"}, ["c2"]),
        ({"search": "%"}, []),
        ({"limit": 2}, ["alpha", "c3"]),
        ({"limit": 2, "page": 1}, ["c2", "c1"]),
        ({"limit": 2, "page": 2}, []),
    ],
)
def test_each_filter_finds_what_it_names_newest_first(
    world: World, query: dict[str, object], found: list[str]
) -> None:
    assert world.listed(**query) == found


def failing(world: World, connection_id: str) -> None:
    """Let a connection's token be refused."""
    world.rotating(connection_id, expires_in=-60)
    world.provider.family_dead = True
    assert world.read(connection_id, "rot").status == 400


def test_connections_are_listed_by_whether_they_work(world: World) -> None:
    failing(world, "broken")
    assert world.listed(status="failing") == ["broken"]
    assert world.listed(status="working") == ["alpha", "c3", "c2", "c1"]
    assert world.listed(status="working", integrationId="rot") == ["c2"]
    assert world.page(status="failing")["connections"][0]["errors"][0]["type"] == "auth"
    refused = world.app.get("/connections?status=broken")
    assert (refused.code, refused.issues) == (
        "invalid_query_params",
        [("invalid_value", ["status"])],
    )


def test_connections_are_counted_by_integration(world: World) -> None:
    failing(world, "broken")
    world.ctx.store.counted_at_once = 2  # in parts
    world.integration("none", "untried")

    def counts(query: str = "") -> dict[str, tuple[int, int, bool]]:
        found = world.app.get(f"/connection-counts{query}")
        assert found.status == 200, found.body
        return {
            each["unique_key"]: (each["connections"], each["failing"], each["complete"])
            for each in found.json()["data"]
        }

    assert counts() == {"rot": (2, 1, True), "pat": (3, 0, True), "none": (0, 0, True)}
    assert counts("?integrationId=rot,nope") == {"rot": (2, 1, True)}
    assert world.app.get("/connection-counts?integrationId=,").code == "invalid_query_params"
    assert world.app.get("/connection-counts?x=1").code == "invalid_query_params"
    key = seed_key(world.ctx, ("environment:connections:read",))
    assert world.app.get("/connection-counts", key=key).code == "forbidden"


def test_a_count_that_takes_too_long_says_that_there_are_more(world: World) -> None:
    store, clock = world.ctx.store, world.ctx.clock
    store.counted_at_once = 1
    counted = store.count

    def slowly(*args: object, **options: object) -> object:
        clock.advance(counting.SECONDS / 2)
        return counted(*args, **options)

    store.count = slowly
    rows = world.app.get("/connection-counts").json()["data"]
    found = [(each["unique_key"], each["connections"], each["complete"]) for each in rows]
    assert found == [("rot", 1, True), ("pat", 1, False)]


def test_sessions_give_their_organization_to_the_list(world: World) -> None:
    body = {
        "end_user": {"id": "u9"},
        "organization": {"id": "org-1", "display_name": "Org One"},
        "allowed_integrations": ["pat"],
    }
    token = world.app.post("/connect/sessions", body).json()["data"]["token"]
    made = world.app.post(
        f"/api-auth/api-key/pat?connect_session_token={token}", {"apiKey": "k"}, key=None
    )
    (found,) = world.page(endUserOrganizationId="org-1")["connections"]
    assert found["connection_id"] == made.json()["connectionId"]
    assert found["end_user"]["organization"] == {"id": "org-1", "display_name": "Org One"}


def test_the_cursor_visits_each_once_while_others_come_and_go(world: World) -> None:
    for number in range(20):
        world.imported(f"n{number}")  # all in the same millisecond
    seen: list[str] = []
    cursor = None
    round_ = 0
    while True:
        query = {"limit": 3, **({"cursor": cursor} if cursor else {})}
        page = world.page(**query)
        seen += [each["connection_id"] for each in page["connections"]]
        round_ += 1
        world.ctx.clock.advance(1)
        world.imported(f"later{round_}")
        if round_ == 2:
            gone = seen[0]
            assert world.app.delete(f"/connections/{gone}?provider_config_key=pat").status == 200
        cursor = page.get("next_cursor")
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 24
    assert not [each for each in seen if each.startswith("later")]


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"integrationId": "pat,rot"},
        {"endUserId": "u1"},
        {"tags[team]": "blue"},
        {"search": "c"},
        {"connectionId": "c1"},
    ],
)
def test_pages_by_cursor_make_up_the_whole_of_every_filter(
    world: World, query: dict[str, str]
) -> None:
    whole = world.listed(**query)
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _page in range(10):
        page = world.page(limit=1, **query, **cursor)
        seen += [each["connection_id"] for each in page["connections"]]
        if "next_cursor" not in page:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == whole


def test_the_cursor_of_another_environment_shows_nothing_of_it(world: World) -> None:
    other = World(of=world, environment="env2")
    other.imported("mine")
    cursor = world.page(limit=1)["next_cursor"]
    shown = other.app.get(f"/connections?cursor={cursor}")
    assert shown.status == 200
    assert {each["connection_id"] for each in shown.json()["connections"]} <= {"mine"}


def test_a_deleted_integration_takes_its_connections_from_the_list(world: World) -> None:
    assert world.app.delete("/integrations/pat").status == 200
    assert world.listed() == ["c2"]
    assert world.listed(connectionId="c1") == []


def test_a_renamed_integration_is_listed_by_its_new_key() -> None:
    world = World()
    assert world.app.patch("/integrations/pat", {"unique_key": "new"}).status == 200
    world.imported("c1", "new")
    (found,) = world.page(integrationId="new")["connections"]
    assert found["provider_config_key"] == "new"
    assert world.listed(integrationId="pat") == []


@pytest.mark.parametrize("integrations", [",", "%2C%2C"])
def test_a_filter_that_names_no_integration_does_not_list_all(
    world: World, integrations: str
) -> None:
    refused = world.app.get(f"/connections?integrationId={integrations}")
    assert (refused.status, refused.issues) == (400, [("too_small", ["integrationId"])])
    assert world.listed(integrationId=",pat,") == ["alpha", "c3", "c1"]


def test_an_answer_too_large_for_its_page_is_refused_lest_the_next_one_skips(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "ANSWER_BYTES", 1)
    for query in ("limit=2", "limit=2&page=1", "page=0"):
        refused = world.app.get(f"/connections?{query}")
        assert (refused.status, refused.issues) == (400, [("too_big", ["limit"])])
    assert world.listed(limit=1, page=1) == ["c3"]
    seen: list[str] = []
    page = world.page()
    while True:
        seen += [each["connection_id"] for each in page["connections"]]
        if "next_cursor" not in page:
            break
        page = world.page(limit=2, cursor=page["next_cursor"])
    assert seen == ["alpha", "c3", "c2", "c1"]
