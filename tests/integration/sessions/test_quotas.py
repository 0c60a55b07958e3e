"""What one session and one end user may begin and make, and what an attacker tries to have more."""

from __future__ import annotations

from typing import Any

import pytest

from keystow.egress.errors import EgressFailed
from keystow.sessions import quotas
from keystow.settings import load
from keystow.store import StoreUnavailable, TransactionConflict
from tests.app import App, Result
from tests.integration.authorization.popup import World as Popup
from tests.integration.authorization.popup import make_world as make_popup
from tests.moto_tables import moto_store
from tests.support import FakeEgress, make_context, run_in_parallel, seed_environment

OPEN, CHECKED = "open", "checked"
PROVIDER: dict[str, Any] = {
    "display_name": "Checked",
    "categories": ["dev-tools"],
    "auth_mode": "API_KEY",
    "docs": "https://checked.example/docs",
    "proxy": {
        "base_url": "https://checked.example",
        "headers": {"authorization": "Token ${apiKey}"},
        "verification": {"endpoints": ["/me"]},
    },
    "credentials": {"apiKey": {"type": "string", "title": "API key", "secret": True}},
}


class World:
    """An environment with an integration without credentials and one whose keys are tried."""

    def __init__(self, **parts: Any) -> None:
        self.took = 0.0
        self.ctx: Any = make_context(egress=FakeEgress(default=self.answer), **parts)
        self.app = App(self.ctx, seed_environment(self.ctx).secret_key)
        assert self.app.put("/providers/checked", PROVIDER).status == 201
        for provider, key in (("unauthenticated", OPEN), ("checked", CHECKED)):
            made = self.app.post("/integrations", {"provider": provider, "unique_key": key})
            assert made.status == 200, made.body

    def answer(self, _sent: Any) -> Any:
        self.ctx.clock.advance(self.took)
        if self.took >= 12:
            return EgressFailed("timeout", sent=True)
        return 200

    def session(self, end_user: str = "u1", **body: Any) -> str:
        made = self.app.post("/connect/sessions", {"end_user": {"id": end_user}, **body})
        assert made.status == 201, made.body
        return str(made.json()["data"]["token"])

    def connect(self, token: str) -> Result:
        path = f"/auth/unauthenticated/{OPEN}?connect_session_token={token}"
        return self.app.post(path, key=None)

    def try_key(self, token: str) -> Result:
        path = f"/api-auth/api-key/{CHECKED}?connect_session_token={token}"
        return self.app.post(path, {"apiKey": "k" * 20}, key=None)

    def made(self, count: int, *tokens: str) -> list[int]:
        return [self.connect(token).status for token in tokens for _ in range(count)]


def refused(found: Result, quota: str) -> int:
    """Require a refusal by a quota; return after how many seconds it says to come again."""
    assert found.status == 429, found.body
    assert found.code == "too_many_request"
    payload = found.json()["error"]["payload"]
    assert payload["quota"] == quota
    assert found.headers["retry-after"] == str(payload["retry_after"])
    assert found.headers["x-ratelimit-remaining"] == "0"
    return int(found.headers["retry-after"])


def test_a_session_makes_so_many_connections_and_no_more() -> None:
    world = World(connections_per_session=3)
    token = world.session()
    assert world.made(3, token) == [200] * 3
    refused(world.connect(token), "connections_per_session")
    assert len(world.app.get("/connections").json()["connections"]) == 3


def test_an_end_user_spread_over_many_sessions_is_counted_as_one() -> None:
    world = World(connections_per_end_user=4)
    for _ in range(4):
        assert world.connect(world.session()).status == 200
    refused(world.connect(world.session()), "connections_per_end_user")
    assert world.connect(world.session("somebody else")).status == 200


@pytest.mark.parametrize(
    "spelled", ["USER-1", "\uff55ser-1", "user\u200b-1", " user-1 ", "user\u00ad-1", "u\u017fer-1"]
)
def test_an_end_user_spelled_otherwise_is_no_new_one(spelled: str) -> None:
    world = World(connections_per_end_user=1)
    assert world.connect(world.session("user-1")).status == 200
    refused(world.connect(world.session(spelled)), "connections_per_end_user")


def test_end_users_of_unlike_names_do_not_share_a_quota() -> None:
    names = ["user-1", "user-2", "user1", "\u200b", "\u00ad", "é", "e"]
    assert len({quotas.end_user_name(each) for each in names}) == len(names)


def test_an_end_user_who_is_known_by_a_tag_only_is_counted_too() -> None:
    world = World(connections_per_end_user=1)
    tagged = {"tags": {"end_user_id": "u1"}}
    for status in (200, 429):
        made = world.app.post("/connect/sessions", tagged)
        assert world.connect(made.json()["data"]["token"]).status == status


def test_what_was_deleted_counts_until_the_window_is_over() -> None:
    world = World(connections_per_end_user=1)
    made = world.connect(world.session()).json()["connectionId"]
    assert world.app.delete(f"/connections/{made}?provider_config_key={OPEN}").status == 200
    refused(world.connect(world.session()), "connections_per_end_user")


def test_imports_by_an_api_key_neither_count_nor_are_counted() -> None:
    world = World(connections_per_end_user=1)
    body = {
        "provider_config_key": OPEN,
        "credentials": {"type": "NONE"},
        "end_user": {"id": "u1"},
    }
    for _ in range(5):
        assert world.app.post("/connections", body).status == 201
    assert world.connect(world.session()).status == 200
    assert world.app.post("/connections", body).status == 201


def test_one_environments_end_users_are_not_anothers() -> None:
    world = World(connections_per_end_user=1)
    assert world.connect(world.session()).status == 200
    other = App(world.ctx, seed_environment(world.ctx, id="env2", name="prod").secret_key)
    assert other.post("/integrations", {"provider": "unauthenticated", "unique_key": OPEN})
    token = other.post("/connect/sessions", {"end_user": {"id": "u1"}}).json()["data"]["token"]
    assert world.connect(token).status == 200


def test_retry_after_is_true_to_the_second() -> None:
    world = World(attempts_per_session=2, attempts_per_end_user=0)
    token = world.session()
    assert world.connect(token).status == 200
    world.ctx.clock.advance(100)
    assert world.connect(token).status == 200
    wait = refused(world.connect(token), "attempts_per_session")
    assert wait == quotas.WINDOW_SECONDS["attempts"] - 100
    world.ctx.clock.advance(wait - 1)
    assert refused(world.connect(token), "attempts_per_session") == 1
    world.ctx.clock.advance(1)
    assert world.connect(token).status == 200


def test_a_mistyped_key_is_an_attempt_and_no_connection() -> None:
    world = World(attempts_per_session=3, connections_per_session=1)
    token = world.session()
    world.ctx.egress.default = 401
    assert [world.try_key(token).status for _ in range(2)] == [400, 400]
    world.ctx.egress.default = 200
    assert world.try_key(token).status == 200
    refused(world.try_key(token), "attempts_per_session")


def test_slow_verifications_are_few_and_quick_ones_are_not() -> None:
    world = World(attempts_per_session=0, connections_per_session=0)
    token = world.session()
    world.took = 1
    assert {world.try_key(token).status for _ in range(10)} == {200}
    world.took = 12
    asked = len(world.ctx.egress.sent)
    assert [world.try_key(token).status for _ in range(3)] == [400] * 3
    refused(world.try_key(token), "verifications_per_session")
    assert len(world.ctx.egress.sent) == asked + 3, "nothing was sent"


def test_verifications_under_way_are_held_for_slow() -> None:
    world = World(slow_verifications_per_end_user=2)
    inside: list[int] = []

    def ask_again(sent: Any) -> int:
        if len(inside) < 2:
            inside.append(0)
            inside.append(world.try_key(world.session()).status)
        del sent
        return 200

    world.ctx.egress.default = ask_again
    assert world.try_key(world.session()).status == 200
    world.ctx.egress.default = 200
    assert 429 not in [world.try_key(world.session()).status for _ in range(5)]


def test_a_window_that_many_begin_at_once_lets_through_as_many_as_it_should() -> None:
    for parts in ({}, {"moto": True}):
        if parts:
            with moto_store() as (store, _):
                statuses = _all_at_once(World(store=store, connections_per_end_user=7))
        else:
            statuses = _all_at_once(World(connections_per_end_user=7))
        assert statuses.count(200) == 7, statuses
        assert statuses.count(429) == 13, statuses


def _all_at_once(world: World) -> list[int]:
    tokens = [world.session() for _ in range(20)]
    return [each.status for each in run_in_parallel(20, lambda n: world.connect(tokens[n]))]


def test_zero_turns_a_quota_off() -> None:
    names = ("attempts", "connections", "slow_verifications")
    off = {f"{name}_per_{whose}": 0 for name in names for whose in ("session", "end_user")}
    world = World(**off)
    token = world.session()
    assert set(world.made(100, token)) == {200}
    world.took = 12
    assert {world.try_key(token).status for _ in range(10)} == {400}
    rows = world.ctx.store.everything()["sessions"]
    assert not [row for row in rows if row["sk"].startswith("quota#")], "nothing is written"


@pytest.mark.parametrize("value", ["-1", "many", "1.5", "", "٣"])
def test_a_quota_that_is_no_number_stops_the_function_at_its_start(value: str) -> None:
    with pytest.raises(ValueError, match="ATTEMPTS_PER_SESSION"):
        load({"KEYSTOW_ATTEMPTS_PER_SESSION": value})


def test_rows_of_quotas_expire() -> None:
    world = World()
    world.connect(world.session())
    rows = [
        row for row in world.ctx.store.everything()["sessions"] if row["sk"].startswith("quota#")
    ]
    assert rows
    assert all(row["ttl"] * 1000 >= row["until"] for row in rows)
    assert "u1" not in repr(rows), "an end user is there by a hash only"


def test_a_store_that_is_away_refuses_instead_of_letting_all_pass() -> None:
    world = World()
    token = world.session()
    transact = world.ctx.store.transact

    def away(operations: Any, token: str | None = None) -> None:
        if any(each.key.sk.startswith("quota#") for each in operations):
            raise StoreUnavailable("test")
        transact(operations, token)

    world.ctx.store.transact = away
    assert world.connect(token).status == 503
    assert world.app.get("/connections").json()["connections"] == []


def test_a_table_that_is_too_busy_to_count_asks_to_come_again() -> None:
    world = World()
    token = world.session()
    transact = world.ctx.store.transact

    def crowded(operations: Any, token: str | None = None) -> None:
        if any(each.key.sk.startswith("quota#") for each in operations):
            raise TransactionConflict("test")
        transact(operations, token)

    world.ctx.store.transact = crowded
    found = world.connect(token)
    assert (found.status, found.code) == (503, "temporarily_unavailable")
    assert found.headers["retry-after"] == "1"


def counts(world: World) -> dict[tuple[str, str], int]:
    """(whose, of what) -> what was counted."""
    return {
        (row["pk"].partition("#")[0], row["sk"].partition("#")[2]): row["count"]
        for row in world.ctx.store.everything()["sessions"]
        if row["sk"].startswith("quota#")
    }


@pytest.mark.parametrize(
    "limit",
    ["connections_per_end_user", "connections_per_session", "slow_verifications_per_session"],
)
def test_who_is_refused_by_one_quota_has_used_up_nothing_of_the_others(limit: str) -> None:
    world = World(**{limit: 1})
    token = world.session()
    world.took = 6  # slow, and so it counts
    assert world.try_key(token).status == 200
    before = counts(world)
    assert world.try_key(token).status == 429
    attempts = {key: count + (key[1] == "attempts") for key, count in before.items()}
    assert counts(world) == attempts


def test_what_is_counted_at_once_is_one_request_when_its_windows_begin_and_two_afterwards() -> None:
    world = World()
    asked: list[list[str]] = []
    transact = world.ctx.store.transact

    def told(operations: Any, token: str | None = None) -> None:
        if rows := [each.key.sk for each in operations if each.key.sk.startswith("quota#")]:
            asked.append(sorted(rows))
        transact(operations, token)

    world.ctx.store.transact = told
    token = world.session()
    attempts, rest = ["attempts"] * 2, ["connections"] * 2 + ["verifications"] * 2
    back = ["verifications"] * 2
    for again in (1, 2):
        asked.clear()
        assert world.try_key(token).status == 200
        wanted = [*[attempts] * again, *[rest] * again, back]
        assert asked == [[f"quota#{kind}" for kind in kinds] for kinds in wanted]


def test_a_unit_is_given_back_although_the_window_of_another_one_is_over() -> None:
    world = World(slow_verifications_per_session=1, slow_verifications_per_end_user=2)
    world.took = 4.9
    first, second = world.session(), world.session()
    inside: list[int] = []

    def ask_again(_sent: Any) -> int:
        # The end user's window ends while the first exchange is under way, the session's does not.
        if not inside:
            inside.append(0)
            world.ctx.clock.advance(4)
            inside.append(world.try_key(second).status)
        return 200

    assert world.try_key(second).status == 200
    world.ctx.clock.advance(quotas.WINDOW_SECONDS["verifications"] - 4.9 - 2)
    world.ctx.egress.default = ask_again
    assert world.try_key(first).status == 200
    assert inside == [0, 200]
    world.ctx.egress.default = 200
    assert world.try_key(first).status == 200, "the session's only unit was given back"


@pytest.fixture
def popup() -> Popup:
    return make_popup()


def limited(popup: Popup, **limits: int) -> None:
    from keystow.value import replace

    popup.ctx.settings = replace(popup.ctx.settings, **limits)


def test_authorizations_that_are_begun_count_as_attempts(popup: Popup) -> None:
    limited(popup, attempts_per_session=2)
    token, browser = popup.session(), popup.browser()
    for _ in range(2):
        assert popup.start(browser, token).status == 302
    refused(popup.start(browser, token), "attempts_per_session")
    assert len(popup.attempts()) == 2


def test_open_authorizations_end_in_no_more_connections_than_there_may_be(popup: Popup) -> None:
    limited(popup, connections_per_session=1)
    token, browser = popup.session(), popup.browser()
    states = [popup.begun(browser, token)["state"] for _ in range(2)]
    assert popup.back(browser, states[0]).status == 200
    spent = popup.provider.issued
    assert popup.back(browser, states[1]).status == 400
    assert popup.provider.issued == spent, "the code was not redeemed for nothing"
    assert len(popup.connections()) == 1


def test_who_declines_has_used_up_nothing(popup: Popup) -> None:
    limited(popup, connections_per_session=1)
    token, browser = popup.session(single_use=True), popup.browser()
    state = popup.begun(browser, token)["state"]
    assert popup.back(browser, state, code="", error="access_denied").status == 400
    state = popup.begun(browser, token)["state"]
    assert popup.back(browser, state).status == 200


def test_a_session_of_single_use_makes_one_connection() -> None:
    world = World()
    token = world.session(single_use=True)
    world.ctx.egress.default = 401
    assert world.try_key(token).status == 400, "a mistyped key does not use it up"
    assert world.connect(token).status == 200
    for again in (world.connect(token), world.try_key(token)):
        assert (again.status, again.code) == (409, "connect_session_used")
    assert world.app.get("/connect/session", key=token).status == 200, "it can still be shown"


def test_a_session_of_single_use_is_used_once_by_many_at_once() -> None:
    world = World()
    token = world.session(single_use=True)
    found = run_in_parallel(10, lambda _: world.connect(token))
    assert sorted(each.status for each in found) == [200] + [409] * 9


def test_two_open_authorizations_of_a_session_of_single_use_end_in_one_connection(
    popup: Popup,
) -> None:
    token, browser = popup.session(single_use=True), popup.browser()
    states = [popup.begun(browser, token)["state"] for _ in range(2)]
    assert [popup.back(browser, state).status for state in states] == [200, 400]
    assert popup.start(browser, token).code == "connect_session_used"


def test_a_reconnect_of_single_use_happens_once(popup: Popup) -> None:
    connection_id = popup.connected()
    token, browser = popup.reconnect_session(connection_id, single_use=True), popup.browser()
    assert popup.back(browser, popup.begun(browser, token)["state"]).status == 200
    assert popup.start(browser, token).code == "connect_session_used"


@pytest.mark.parametrize("value", ["true", "yes", 1, 0, None, [], {}])
def test_single_use_that_is_written_wrongly_is_refused(value: Any) -> None:
    world = World()
    made = world.app.post("/connect/sessions", {"end_user": {"id": "u1"}, "single_use": value})
    assert (made.status, made.code) == (400, "invalid_body")
    assert made.issues[0][1] == ["single_use"]


def test_a_slow_host_that_the_end_user_names_counts_also_behind_a_popup() -> None:
    popup = make_popup(
        {
            "authorization_url": "${connectionConfig.url}/authorize",
            "token_url": "${connectionConfig.url}/token",
            "revocation_url": "${connectionConfig.url}/revoke",
            "client_per_connection": True,
            "connection_config": {"url": {"title": "Your address"}},
            "credentials": {
                "oauth_client_id_override": {"title": "Client id"},
                "oauth_client_secret_override": {"title": "Client secret", "secret": True},
            },
        }
    )
    limited(popup, slow_verifications_per_session=2)
    asked = {
        "params[url]": "https://slow.example",
        "credentials[oauth_client_id_override]": "own",
        "credentials[oauth_client_secret_override]": "own",
    }

    def slow(_number: int) -> None:
        popup.ctx.clock.advance(10)

    popup.provider.fault = slow
    token, browser = popup.session(), popup.browser()
    states = [popup.begun(browser, token, **asked)["state"] for _ in range(3)]
    assert [popup.back(browser, state).status for state in states] == [200, 200, 400]
    assert len(popup.provider.requests) == 2, "the third was not sent"
