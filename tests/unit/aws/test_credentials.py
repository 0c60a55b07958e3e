"""Whose signature it is: from the environment, or from a container's endpoint, before they end."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from keystow.aws.credentials import PAUSE_SECONDS, RENEW_SECONDS, Credentials
from keystow.aws.errors import AwsUnanswered
from keystow.secret import Secret
from tests.unit.aws.wire_server import Act, WireServer, acting, http

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_790_000_000.0
LIFE = 6 * 3600


class Container:
    """Credentials at a container's endpoint, and a clock."""

    def __init__(self, server: WireServer, **more: str) -> None:
        self.now = NOW
        self.slept: list[float] = []
        self.variables = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{server.url}/2021-04-23/credentials?x=y",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "entry",
            **more,
        }
        self.credentials = Credentials(self.variables, lambda: self.now, self.slept.append)


def given(number: int, ends: float = NOW + LIFE, **more: Any) -> Act:
    body = {
        "AccessKeyId": f"id{number}",
        "SecretAccessKey": f"secret{number}",
        "Token": f"token{number}",
        "Expiration": datetime.fromtimestamp(ends, UTC).isoformat().replace("+00:00", "Z"),
        **more,
    }
    return Act(http(json.dumps(body).encode()))


FAULT = Act(http(b'{"message": "t0ps3cr3t"}', 500))


def test_lambdas_own_are_in_its_environment() -> None:
    variables = {
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "token",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/",
    }
    keys = Credentials(variables).current()
    assert (keys.id, keys.secret, keys.token) == ("id", Secret("secret"), Secret("token"))
    assert keys.ends is None


def test_a_token_is_not_needed() -> None:
    variables = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret"}
    assert Credentials(variables).current().token is None


def test_a_containers_are_asked_for_with_its_token_and_only_once() -> None:
    with acting(given(1)) as server:
        made = Container(server)
        assert made.credentials.current().id == "id1"
        assert made.credentials.current().secret == Secret("secret1")
        ((_, head, _),) = server.requests
    assert head.startswith(b"GET /2021-04-23/credentials?x=y HTTP/1.1\r\n")
    assert b"\r\nauthorization: entry" in head


def test_the_file_of_a_token_is_read_each_time(tmp_path: Path) -> None:
    place = tmp_path / "token"
    place.write_text("first")
    with acting(given(1, NOW + 60), given(2)) as server:
        made = Container(server, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=str(place))
        made.credentials.current()
        place.write_text("second")
        made.now += 60
        made.credentials.current()
        heads = [head for _, head, _ in server.requests]
    assert b"authorization: first" in heads[0]
    assert b"authorization: second" in heads[1]


def test_they_are_renewed_before_they_end() -> None:
    with acting(given(1), given(2, NOW + 2 * LIFE)) as server:
        made = Container(server)
        made.credentials.current()
        made.now = NOW + LIFE - RENEW_SECONDS - 1
        assert made.credentials.current().id == "id1"
        made.now += 1
        assert made.credentials.current().id == "id2"
        assert len(server.requests) == 2


def test_while_they_are_good_a_fault_of_the_endpoint_is_waited_out() -> None:
    with acting(given(1), FAULT, FAULT, FAULT, given(2, NOW + 2 * LIFE)) as server:
        made = Container(server)
        made.credentials.current()
        made.now = NOW + LIFE - 300
        assert made.credentials.current().id == "id1"
        assert made.credentials.current().id == "id1"
        assert len(server.requests) == 4
        made.now += PAUSE_SECONDS
        assert made.credentials.current().id == "id2"


def test_a_fault_in_passing_is_asked_past() -> None:
    with acting(FAULT, Act(FAULT.sends, closes=True), given(1)) as server:
        made = Container(server)
        assert made.credentials.current().id == "id1"
        assert made.slept == [1, 1]


def test_without_good_ones_a_fault_is_told() -> None:
    with acting(given(1), FAULT) as server:
        made = Container(server)
        made.credentials.current()
        made.now = NOW + LIFE
        with pytest.raises(AwsUnanswered, match="CredentialsUnavailable"):
            made.credentials.current()


def test_what_aws_takes_for_ended_is_asked_for_anew_once_for_all_threads() -> None:
    with acting(given(1), given(2)) as server:
        credentials = Container(server).credentials
        ended = credentials.current()
        assert credentials.renewed(ended) is True
        assert credentials.renewed(ended) is True
        assert credentials.current().id == "id2"
        assert len(server.requests) == 2


def test_the_same_keys_once_more_are_no_others() -> None:
    with acting(given(1)) as server:
        credentials = Container(server).credentials
        assert credentials.renewed(credentials.current()) is False


def test_keys_that_cannot_be_renewed_are_no_others() -> None:
    with acting(given(1), FAULT) as server:
        credentials = Container(server).credentials
        assert credentials.renewed(credentials.current()) is False


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.1/credentials",
        "http://evil.example/credentials",
        "http://169.254.169.254/latest",
        "ftp://127.0.0.1/",
        "",
    ],
)
def test_nobody_else_is_asked_in_plain(url: str) -> None:
    with pytest.raises(AwsUnanswered, match="CredentialsUnavailable"):
        Credentials({"AWS_CONTAINER_CREDENTIALS_FULL_URI": url}).current()


def test_a_relative_address_is_the_containers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def opened(address: tuple[str, int], _seconds: float) -> Any:
        asked.append(address)
        raise OSError

    monkeypatch.setattr("keystow.aws.wire.socket.create_connection", opened)
    variables = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/x"}
    with pytest.raises(AwsUnanswered):
        Credentials(variables, sleep=lambda _: None).current()
    assert asked == [(b"169.254.170.2", 80)] * 3


@pytest.mark.parametrize(
    "act",
    [
        Act(http(b"no json")),
        Act(http(b"[]")),
        Act(http(b"{}")),
        given(1, Expiration=7),
        given(1, SecretAccessKey=7),
        given(1, Token="a\r\nx-injected: 1"),
        given(1, AccessKeyId="a\nb"),
    ],
)
def test_what_are_no_keys_is_told(act: Act) -> None:
    with acting(act) as server, pytest.raises(AwsUnanswered, match="CredentialsUnavailable"):
        Container(server).credentials.current()


@pytest.mark.parametrize("token", ["a\r\nx: y", "a\n", "\x00"])
def test_a_token_that_would_add_a_header_is_refused(token: str) -> None:
    with acting(given(1)) as server:
        made = Container(server, AWS_CONTAINER_AUTHORIZATION_TOKEN=token)
        with pytest.raises(AwsUnanswered):
            made.credentials.current()
        assert server.requests == []


def test_nothing_of_them_shows() -> None:
    with acting(given(1)) as server:
        credentials = Container(server).credentials
        keys = credentials.current()
        assert "secret1" not in f"{keys!r} {keys.secret} {vars(credentials)['_keys']!r}"
        assert "token1" not in f"{keys!r} {keys.token}"
