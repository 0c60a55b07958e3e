"""Every way a refresh and a check can go: a part of the scenario."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from tests.authorization_server import DEFINITION, answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystow.egress.client import Answer
    from tests.infrastructure.scenario import Scenario

TRIED = "tried"


def refreshes(scenario: Scenario) -> None:
    """Every way a refresh can go, begun by a reader, by the proxy and by the queue."""
    for way in (by_reader, by_proxy, by_queue):
        name = way.__name__
        good = scenario.imported(f"{name}-good")
        scenario.next_month()
        way(scenario, good)
        place = scenario.imported(f"{name}-dead")
        scenario.server.fault = lambda _number: answer(400, {"error": "invalid_grant"})
        way(scenario, place)
        scenario.server.fault = lambda _number: answer(429, {}, {"retry-after": "60"})
        way(scenario, scenario.imported(f"{name}-busy"))
        scenario.server.fault = lambda _number: answer(503, {})
        ill = scenario.imported(f"{name}-ill")
        way(scenario, ill)
        scenario.server.fault = None
        scenario.running.clock.advance(60)
        way(scenario, ill)
        lost_commit(scenario, way, scenario.imported(f"{name}-lost"))
        lost_lease(scenario, way, scenario.imported(f"{name}-late"), f"{name}-late")

    deleted_meanwhile(scenario, by_reader, scenario.imported("gone"))
    deleted_meanwhile(scenario, by_proxy, scenario.imported("gone-too"))


def checks(scenario: Scenario) -> None:
    """A key that its provider takes for a while."""
    tried = {
        **{name: DEFINITION[name] for name in ("display_name", "categories", "docs")},
        "auth_mode": "API_KEY",
        "proxy": {
            "base_url": "https://rotating.example",
            "verification": {"endpoints": ["/token"]},
        },
    }
    scenario.ok("PUT", "/providers/tried", tried)
    scenario.ok("POST", "/integrations", {"provider": "tried", "unique_key": TRIED})
    scenario.server.fault = lambda _number: answer(200, {})
    body = {
        "provider_config_key": TRIED,
        "connection_id": "tried",
        "credentials": {"type": "API_KEY", "apiKey": "k" * 20},
    }
    scenario.ok("POST", "/connections", body)
    for status in (200, 401, 200):
        scenario.server.fault = lambda _number, status=status: answer(status, {})  # type: ignore[misc]
        asked = len(scenario.server.requests)
        scenario.running.clock.advance(2 * 86_400)
        by_queue(scenario, "")
        assert len(scenario.server.requests) > asked
    scenario.server.fault = None


def by_reader(scenario: Scenario, place: str) -> None:
    found = scenario.app.get(f"{place}&force_refresh=true")
    assert found.status in {200, 400, 404, 424, 503}, found.body


def by_proxy(scenario: Scenario, place: str) -> None:
    parts = urlsplit(place)
    given = {
        "connection-id": parts.path.rpartition("/")[2],
        "provider-config-key": parse_qs(parts.query)["provider_config_key"][0],
    }
    found = scenario.app.get("/proxy/me", headers=given)
    assert found.status in {200, 400, 401, 424, 503}, found.body


def by_queue(scenario: Scenario, place: str) -> None:
    del place
    scenario.running.clock.advance(30)
    scenario.running.run("sweep_due", {})
    bodies = scenario.running.queued("RefreshQueue")
    scenario.running.deliver("refresh_tokens", bodies)


def lost_commit(scenario: Scenario, way: Any, place: str) -> None:
    """The table does not take the new credential; it travels on the queue."""
    recorder = scenario.running.recorder
    asked = len(scenario.server.requests)

    table = scenario.running.settings.connections_table

    def broken(operation: str, params: Mapping[str, Any]) -> bool:
        # Of what is refreshed beside it, a data key may be made meanwhile: in another table.
        writes = operation in {"PutItem", "TransactWriteItems"}
        commits = writes and table in str(params)
        return commits and len(scenario.server.requests) > asked

    recorder.broken = broken
    for _turn in range(5):
        way(scenario, place)
        if recorder.sent.get("RefreshQueue"):
            break
        # Others of the same worker used up its time; who was queued is due again after a while.
        scenario.running.clock.advance(11 * 60)
    recorder.broken = None
    scenario.running.deliver("refresh_tokens", scenario.running.queued("RefreshQueue"))


def lost_lease(scenario: Scenario, way: Any, place: str, connection_id: str) -> None:
    """The fence moves on while the provider answers; the token is parked, and used later."""
    client = scenario.running.aws.botocore("dynamodb")
    table = scenario.running.settings.connections_table

    def overtake(_number: int) -> Answer | None:
        function, scenario.running.recorder.function = scenario.running.recorder.function, None
        for item in client.scan(TableName=table)["Items"]:
            if item["sk"]["S"] != "connection#secret" or connection_id not in item["pk"]["S"]:
                continue
            client.update_item(
                TableName=table,
                Key={"pk": item["pk"], "sk": item["sk"]},
                UpdateExpression="SET due_at = :now REMOVE lease_until ADD fence :one",
                ExpressionAttributeValues={
                    ":one": {"N": "1"},
                    ":now": {"N": str(int(scenario.running.clock.now() * 1000))},
                },
            )
        scenario.running.recorder.function = function
        return None

    scenario.server.fault_after = overtake
    way(scenario, place)
    scenario.server.fault_after = None
    scenario.running.clock.advance(60)
    asked = len(scenario.server.requests)
    scenario.server.fault = lambda number: (
        answer(400, {"error": "invalid_grant"}) if number == asked + 1 else None
    )
    way(scenario, place)
    scenario.server.fault = None


def deleted_meanwhile(scenario: Scenario, way: Any, place: str) -> None:
    def delete(_number: int) -> Answer | None:
        function = scenario.running.recorder.function
        assert scenario.app.delete(place).status == 200
        scenario.running.recorder.function = function
        return None

    scenario.server.fault_after = delete
    way(scenario, place)
    scenario.server.fault_after = None
