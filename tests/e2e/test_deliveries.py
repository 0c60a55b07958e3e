"""A receiver that was down gets what it missed, and a log_id tells what happened."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Any

from tests.e2e import driving

if TYPE_CHECKING:
    import httpx

    from local.harness import RunningStack


def one_delivery(api: httpx.Client, connection_id: str, **wanted: Any) -> dict[str, Any] | None:
    """The newest delivery about a connection, once it is as wanted."""
    found = driving.done(api.get("/webhook-deliveries", params={"connection_id": connection_id}))
    newest = found["data"][0] if found["data"] else {}
    return newest if newest and wanted.items() <= newest.items() else None


def test_a_receiver_that_was_down_gets_it_replayed_under_the_same_id(
    stack: RunningStack,
    api: httpx.Client,
    provider: driving.Provider,
    receiver: driving.Receiver,
) -> None:
    receiver.status = 500
    provider.imported(
        api, "missed", seconds_left=3600, webhook_url_override=f"{receiver.url}/a-secret-path"
    )
    waiting = driving.wait_for(
        # A second attempt comes after 5 s, the third after 5 min.
        lambda: one_delivery(api, "missed", state="pending", attempts=2),
        40,
        "delivery that failed twice",
    )
    assert waiting["last_answer"]["text"] == "Answered 500"
    assert waiting["webhook_id"] in receiver.refused
    receiver.status = 200

    place = f"/webhook-deliveries/{waiting['id']}"
    begun = api.post(f"{place}/replay")
    assert begun.status_code == 202, begun.text
    arrived = receiver.wait("missed")
    over = driving.wait_for(
        lambda: one_delivery(api, "missed", state="delivered"), 20, "delivery that is over"
    )

    assert arrived.headers["webhook-id"] == waiting["webhook_id"]
    key = stack.keys["webhook_signing_key"].encode()
    signature = hmac.new(key, arrived.raw, hashlib.sha256).hexdigest()
    assert arrived.headers["x-nango-hmac-sha256"] == signature
    whole = driving.done(api.get(place))["data"]
    assert [each["status"] for each in whole["history"]] == [500, 500, 200]
    assert whole["body"] == arrived.body
    assert "a-secret-path" not in str([waiting, over, whole, begun.json()])
    told = driving.done(api.get(f"/activity/{over['log_id']}"))["data"]
    assert [each["message"] for each in told["messages"]] == [
        "Answered 500",
        "Answered 500",
        "Answered 200",
    ]
    assert "a-secret-path" not in str(told)


def test_the_log_id_of_a_broken_connection_leads_to_its_messages(
    api: httpx.Client, provider: driving.Provider
) -> None:
    provider.imported(api, "broken")
    provider.fault(invalid_grant=True, grant_type="refresh_token")
    refused = driving.read(api, provider.integration, "broken")
    provider.fault()
    assert refused.status_code in {400, 424}
    (error,) = refused.json()["error"]["payload"]["connection"]["errors"]

    found = driving.done(api.get(f"/activity/{error['log_id']}"))["data"]

    assert (found["operation"]["action"], found["state"]) == ("refresh_token", "failed")
    assert found["connection_id"] == "broken"
    assert "invalid_grant" in str(found["messages"])
    listed = driving.done(api.get("/activity", params={"connection_id": "broken", "type": "auth"}))
    assert error["log_id"] in [each["id"] for each in listed["data"]]
