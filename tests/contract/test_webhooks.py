"""The webhooks of the recorded run are ours too: their bodies, and their signatures to the byte."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from keystow.events import webhook_body
from keystow.secret import Secret
from keystow.store import tables
from tests.contract.replay import FULL_KEY, Replay, recordings

RECORDED = [
    json.loads(line) for line in (Path(__file__).parent / "webhooks.jsonl").read_text().splitlines()
]
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# The recorded server signed with the environment's first API key.
KEY = Secret(FULL_KEY)


def told(body: str) -> dict[str, Any]:
    """Return what of a body must be the same: all but drawn ids and sentences for people."""
    found = json.loads(body)
    if UUID.fullmatch(found["connectionId"]):
        found["connectionId"] = "drawn"
    if "error" in found:
        del found["error"]["description"]
    return dict(found)


def distinct(bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return bodies without those that tell what the one before told of the same."""
    return [each for place, each in enumerate(bodies) if place == 0 or each != bodies[place - 1]]


@pytest.fixture(scope="module")
def sent() -> list[dict[str, Any]]:
    replay = Replay()
    for each in recordings():
        replay.play(each)
    events = [
        item for item in replay.ctx.store.everything()[tables.EVENTS] if item["sk"] == tables.EVENT
    ]
    return [told(item["body"]) for item in sorted(events, key=lambda item: item["created_at"])]


def test_every_recorded_webhook_is_sent_in_the_recorded_order(sent: list[dict[str, Any]]) -> None:
    """Each was recorded twice, for two URLs, and a failed refresh once for every attempt.

    An answer without a token is told there as a failure of its own, under a type that begins with
    ``unhandled_``; here it is the outage that was told already.
    """
    recorded = [told(each["body"]) for each in RECORDED]
    expected = distinct(
        [
            each
            for each in recorded
            if not each.get("error", {}).get("type", "").startswith("unhandled_")
        ]
    )
    # Two connections of one end user in one integration differ by their ids only.
    expected.append(expected[-1])
    known = [each for each in sent if each in expected]
    assert known == expected


@pytest.mark.parametrize("recorded", RECORDED, ids=range(len(RECORDED)))
def test_a_recorded_body_is_written_and_signed_to_the_byte(recorded: dict[str, Any]) -> None:
    body = recorded["body"]
    assert webhook_body.stringify(json.loads(body)) == body
    headers = webhook_body.signed_headers([KEY], "evt_1", 1, body)
    names = ("content-type", "x-nango-signature", "x-nango-hmac-sha256")
    assert {name: headers[name] for name in names} == recorded["headers"]
