"""Promises 2, 3 and 4: one refresh for all readers, a valid token for everyone, every webhook."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.e2e import driving

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from local.harness import RunningStack

READERS = 50
LEASE_OVER_S = 67  # 60 s and the skew between clocks
BRIEF_LIFE_S = 120
SWEEP_S = 60


@dataclass(frozen=True)
class Sown:
    """What takes its time, begun before the other tests so that they fill it."""

    brief: driving.Provider
    brief_id: str
    first_token: str
    due_by: float
    dropping: driving.Provider
    dropped: driving.Tokens
    dropped_at: float
    answers: tuple[httpx.Response, httpx.Response]


@pytest.fixture(scope="module")
def sown(
    stack: RunningStack,
    api: httpx.Client,
    receiver: driving.Receiver,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Sown]:
    """A token of two minutes, and a refresh whose answer was lost."""
    callback = f"{stack.api_url}/oauth/callback"
    brief, dropping = (
        driving.open_provider(
            api, tmp_path_factory.mktemp(name), name, callback, access_life_s=life
        )
        for name, life in (("brief", BRIEF_LIFE_S), ("dropping", 3600))
    )
    session = driving.session(api, "brief", webhook_url_override=receiver.url)
    brief_id = driving.connect(stack, api, "brief", token=session)["connection_id"]
    began = time.monotonic()
    first = driving.done(driving.read(api, "brief", brief_id))["credentials"]["access_token"]
    dropping.fault(drop_after_rotation=1, grant_type="refresh_token")
    pair = dropping.imported(api, "dropped", webhook_url_override=receiver.url)
    dropped_at = time.monotonic()
    answers = (
        driving.read(api, "dropping", "dropped"),
        driving.read(api, "dropping", "dropped"),
    )
    yield Sown(
        brief,
        brief_id,
        first,
        began + 0.75 * BRIEF_LIFE_S,
        dropping,
        pair,
        dropped_at,
        answers,
    )
    for each in (brief, dropping):
        each.http.close()
        each.server.stop()


@pytest.fixture(scope="module", autouse=True)
def _begun(sown: Sown) -> None:
    """Begin what takes its time before any test of this module."""


@pytest.fixture(scope="module")
def warm(stack: RunningStack, api: httpx.Client, provider: driving.Provider) -> None:
    """As many processes of the function as there will be readers."""
    provider.imported(api, "warm", seconds_left=3000)
    answers = read_all(stack, provider.integration, "warm")
    assert {each.status_code for each in answers} <= {200, 503}


def read_all(stack: RunningStack, integration: str, connection_id: str) -> list[httpx.Response]:
    """Read one connection from fifty threads at once."""
    with driving.client(stack) as client, ThreadPoolExecutor(READERS) as pool:
        asked = [
            pool.submit(driving.read, client, integration, connection_id) for _ in range(READERS)
        ]
        return [each.result() for each in asked]


def token_of(answer: httpx.Response) -> str:
    return str(driving.done(answer)["credentials"]["access_token"])


@pytest.mark.usefixtures("warm")
def test_fifty_readers_of_an_expired_token_cause_one_refresh(
    stack: RunningStack, api: httpx.Client, provider: driving.Provider
) -> None:
    pair = provider.imported(api, "fifty")
    answers = read_all(stack, provider.integration, "fifty")
    assert [each.status_code for each in answers] == [200] * READERS
    (token,) = {token_of(each) for each in answers}
    assert token != pair.access_token
    assert provider.works(token)
    assert [each["outcome"] for each in provider.log(family=pair.family)] == ["ok"]


@pytest.mark.usefixtures("warm")
def test_fifty_readers_wait_for_a_token_endpoint_that_takes_fifteen_seconds(
    stack: RunningStack, api: httpx.Client, provider: driving.Provider
) -> None:
    pair = provider.imported(api, "slow")
    provider.fault(token_delay_s=15, grant_type="refresh_token")
    answers = read_all(stack, provider.integration, "slow")
    provider.fault()
    assert [each.status_code for each in answers] == [200] * READERS
    (token,) = {token_of(each) for each in answers}
    assert token != pair.access_token
    assert provider.works(token)
    assert [each["outcome"] for each in provider.log(family=pair.family)] == ["ok"]


def test_a_valid_token_is_served_while_the_provider_is_down(
    api: httpx.Client, provider: driving.Provider
) -> None:
    pair = provider.imported(api, "outage", seconds_left=45)
    provider.fault(status=503, grant_type="refresh_token")
    answers = [driving.read(api, provider.integration, "outage") for _ in range(4)]
    refused = driving.read(api, provider.integration, "outage", force_refresh="true")
    provider.fault()
    assert {token_of(each) for each in answers} == {pair.access_token}
    (error,) = answers[-1].json()["errors"]
    assert error["type"] == "auth"
    assert error["log_id"]
    assert refused.status_code in {400, 424}
    assert refused.json()["error"]["code"] == "invalid_credentials"


def test_who_forces_a_refresh_after_the_outage_gets_a_new_token_and_no_errors(
    api: httpx.Client, provider: driving.Provider
) -> None:
    pair = provider.imported(api, "recovered", seconds_left=45)
    provider.fault(status=503, grant_type="refresh_token")
    driving.done(driving.read(api, provider.integration, "recovered"))
    provider.fault()
    answer = driving.done(
        driving.read(api, provider.integration, "recovered", force_refresh="true")
    )
    assert answer["credentials"]["access_token"] != pair.access_token
    assert answer["errors"] == []


def signatures(delivery: driving.Delivery, key: str) -> dict[str, bool]:
    """Which of a delivery's three signatures are right."""
    given, raw = delivery.headers, delivery.raw
    signed = b".".join((given["webhook-id"].encode(), given["webhook-timestamp"].encode(), raw))
    secret = key.encode()
    standard = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
    return {
        "hmac": given["x-nango-hmac-sha256"] == hmac.new(secret, raw, hashlib.sha256).hexdigest(),
        "legacy": given["x-nango-signature"] == hashlib.sha256(secret + raw).hexdigest(),
        "standard": f"v1,{standard}" in given["webhook-signature"].split(" "),
    }


def test_a_dead_grant_is_told_by_one_signed_webhook(
    stack: RunningStack, api: httpx.Client, provider: driving.Provider, receiver: driving.Receiver
) -> None:
    pair = provider.imported(api, "dead", webhook_url_override=receiver.url)
    provider.fault(invalid_grant=True, grant_type="refresh_token")
    answers = [driving.read(api, provider.integration, "dead") for _ in range(3)]
    provider.fault()
    assert {each.status_code for each in answers} <= {400, 424}
    assert all(each.json()["error"]["code"] == "invalid_credentials" for each in answers)
    shown = answers[-1].json()["error"]["payload"]["connection"]
    assert [each["type"] for each in shown["errors"]] == ["auth"]
    assert shown["credentials"] == {}
    told = receiver.wait("dead", operation="refresh")
    assert told.body["success"] is False
    assert told.body["error"]["type"]
    assert told.body["authMode"] == "OAUTH2"
    assert signatures(told, stack.keys["webhook_signing_key"]) == {
        "hmac": True,
        "legacy": True,
        "standard": True,
    }
    assert len(list(receiver.about("dead", operation="refresh"))) == 1
    assert pair.access_token.encode() not in told.raw


def test_a_receiver_that_was_down_gets_the_webhook_when_it_is_up(
    api: httpx.Client, provider: driving.Provider
) -> None:
    with driving.Receiver() as flaky:
        flaky.status = 0  # hangs up without an answer
        provider.imported(api, "patient", seconds_left=3000, webhook_url_override=flaky.url)
        driving.wait_for(lambda: flaky.refused, 30, "first attempt")
        flaky.status = 200
        told = flaky.wait("patient", operation="creation")
    assert told.body["success"] is True
    assert told.headers["webhook-id"] in flaky.refused


def test_a_lost_answer_is_not_followed_by_a_second_use_of_the_old_token(sown: Sown) -> None:
    for answer in sown.answers:
        assert answer.status_code == 503, answer.text
        assert answer.json()["error"]["code"] == "refresh_in_progress"
        assert 0 < int(answer.headers["retry-after"]) <= 65
    first, *later = sown.dropping.log(family=sown.dropped.family)
    assert first["outcome"] == "dropped"
    assert all(each["time"] - first["time"] >= 60 for each in later)


def test_the_schedule_refreshes_a_token_of_two_minutes_by_itself(
    api: httpx.Client, sown: Sown, receiver: driving.Receiver
) -> None:
    # No read in between: the reader's own refresh is not what is tested.
    driving.wait_for(
        lambda: sown.brief.log(outcome="ok"),
        max(0.0, sown.due_by - time.monotonic()) + 15,
        "refresh by the schedule",
    )
    token = token_of(driving.read(api, "brief", sown.brief_id))
    assert token != sown.first_token
    assert sown.brief.works(token)
    assert len(sown.brief.log()) == 1
    assert [each.body["operation"] for each in receiver.about(sown.brief_id)] == ["creation"]


def test_after_the_lease_a_grant_that_was_lost_is_told_as_broken(
    api: httpx.Client, sown: Sown, receiver: driving.Receiver
) -> None:
    def broken() -> httpx.Response | None:
        answer = driving.read(api, "dropping", "dropped")
        return answer if answer.status_code != 503 else None

    left = max(0.0, sown.dropped_at + LEASE_OVER_S - time.monotonic())
    answer = driving.wait_for(broken, left + 30, "answer that is not 503")
    assert answer.status_code in {400, 424}, answer.text
    assert answer.json()["error"]["code"] == "invalid_credentials"
    assert answer.json()["error"]["payload"]["connection"]["errors"][0]["type"] == "auth"
    first, second = sown.dropping.log(family=sown.dropped.family)
    assert second["time"] - first["time"] >= 60
    assert second["outcome"] == "invalid_grant"
    told = receiver.wait("dropped", operation="refresh")
    assert json.loads(told.raw)["success"] is False
