"""Egress and token endpoint together, over a real loopback connection."""

from __future__ import annotations

import pytest

from keystow.egress.client import Egress
from keystow.oauth import token_endpoint
from keystow.oauth.errors import TokenError
from keystow.secret import Secret
from tests.unit.egress.loopback import answer, names
from tests.unit.oauth.doubles import CLIENT, NOW, provider


def refresh(egress: Egress, url: str) -> token_endpoint.TokenSet:
    return token_endpoint.refresh(
        egress,
        provider(token_url=url),
        CLIENT,
        refresh_token=Secret("marked-refresh-token"),
        connection_config={},
        now=NOW,
    )


def test_a_refresh_travels_and_comes_back(serve, egress) -> None:
    server = serve(answer(b'{"access_token": "at", "expires_in": 60}'))
    tokens = refresh(egress, server.url())
    assert (tokens.access_token.reveal(), tokens.expires_at) == ("at", NOW + 60)
    assert b"grant_type=refresh_token&refresh_token=marked-refresh-token" in server.requests[0]
    assert b"User-Agent: Keystow" in server.requests[0]


def test_an_answer_lost_on_the_way_leaves_the_fate_of_the_token_open(serve, egress) -> None:
    with pytest.raises(TokenError) as failed:
        refresh(egress, serve(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{").url())
    assert (failed.value.kind, failed.value.may_have_rotated) == ("unknown_fate", True)


def test_a_token_url_that_leads_inside_gets_no_token() -> None:
    def connect(*_: object) -> None:
        raise AssertionError("the guard let a token out")

    guarded = Egress(resolve=names(auth_example_com="169.254.169.254"), connect=connect)  # type: ignore[arg-type]
    with pytest.raises(TokenError) as failed:
        refresh(guarded, "https://auth.example.com/token")
    assert (failed.value.kind, failed.value.sent) == ("refused", False)


def test_a_field_that_nobody_reads_never_costs_a_grant(serve, egress) -> None:
    nest = b"[" * 100_000 + b"]" * 100_000
    odd = b',"name":"S\xf8ren","note":"a\nb","score":NaN,"id":' + b"9" * 5_000 + b',"nest":' + nest
    body = b'\xef\xbb\xbf{"access_token":"at","refresh_token":"rt","expires_in":60' + odd + b"}"
    headers = "get result: no\r\nContent-Type : application/json; charset=utf-7\r\nno colon\r\n"
    tokens = refresh(egress, serve(answer(body, headers=headers)).url())
    assert tokens.refresh_token is not None
    assert (tokens.access_token.reveal(), tokens.refresh_token.reveal()) == ("at", "rt")
    assert {"score", "id"}.isdisjoint(tokens.raw.reveal())
    assert tokens.raw.reveal()["name"] == "S\ufffdren"
