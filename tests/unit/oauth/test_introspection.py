"""RFC 7662: the end of a token is asked for where nobody told it."""

from __future__ import annotations

from typing import Any

import pytest

from keystow.egress.errors import EgressFailed
from keystow.oauth.introspection import MOST_SECONDS, with_end
from keystow.oauth.token_answer import TokenSet, token_set
from tests.unit.oauth.doubles import CLIENT, NOW, json_answer, provider, replying, text_answer

URL = "https://auth.example.com/introspect"
TOKENS = {"access_token": "marked-access-token", "refresh_token": "marked-refresh-token"}


def tokens(entry: dict[str, Any] | None = None, **changes: Any) -> TokenSet:
    found = token_set(entry or {}, {**TOKENS, **changes}, NOW)
    assert found is not None
    return found


def ask(egress, found: TokenSet | None = None, left: float = 20.0, config=None, **entry: Any):
    made = provider(**{"introspection": {"url": URL}, **entry})
    return with_end(
        egress, made, CLIENT, found or tokens(), connection_config=config or {}, now=NOW, left=left
    )


def test_the_end_of_a_token_is_asked_for_as_the_rfc_says() -> None:
    egress = replying(json_answer({"active": True, "exp": int(NOW) + 7_200}))
    found, remark = ask(egress, introspection={"url": URL, "params": {"token_type_hint": "x"}})
    assert (found.expires_at, remark) == (NOW + 7_200, "")
    [sent] = egress.sent
    assert (sent.method, sent.url) == ("POST", URL)
    assert sent.form == {
        "token": "marked-access-token",
        "token_type_hint": "x",
        "client_id": "the-client",
        "client_secret": "marked-client-secret",
    }
    assert sent.options["deadline"] == MOST_SECONDS


def test_the_client_proves_itself_as_at_the_token_endpoint() -> None:
    egress = replying(json_answer({"active": True, "exp": int(NOW) + 60}))
    ask(egress, authorization_method="header")
    assert egress.sent[0].headers["Authorization"].startswith("Basic ")
    assert "client_secret" not in egress.sent[0].form


@pytest.mark.parametrize(
    "answer",
    [
        {"state": {"alive": True, "until": int(NOW) + 60}},
        {"state": {"alive": True, "until": "2023-11-14T22:14:20Z"}},
        {"expires_in": 60},
    ],
)
def test_an_entry_may_say_where_the_answer_holds_the_end(answer) -> None:
    entry = {"url": URL, "active_path": "state.alive", "exp_path": "state.until"}
    assert ask(replying(json_answer(answer)), introspection=entry)[0].expires_at == NOW + 60


def test_an_entry_may_say_where_the_answer_tells_that_a_token_is_over() -> None:
    entry = {"url": URL, "active_path": "state.alive", "exp_path": "state.until"}
    answer = json_answer({"state": {"alive": False, "until": int(NOW) + 60}})
    found, remark = ask(replying(answer), introspection=entry)
    assert (found.expires_at, "(inactive)" in remark) == (None, True)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (json_answer({"active": False, "exp": int(NOW) + 60}), "(inactive)"),
        (json_answer({"active": True}), "did not say"),
        (json_answer({"error": "invalid_client"}, 401), "(invalid_client)"),
        (text_answer("<html>"), "(unusable_answer)"),
        (json_answer([]), "(unusable_answer)"),
        (json_answer({"active": True, "exp": int(NOW) - 60}), "did not say"),
        (EgressFailed("timeout", sent=True), "(network_timeout)"),
        (json_answer({}, 302), "(http_302)"),
        (json_answer({"active": True, "exp": int(NOW) + 60}, 300), "(http_300)"),
        (json_answer({"active": "false", "exp": int(NOW) + 60}), "(inactive)"),
        (json_answer({"error": "marked-access-token"}, 400), "(http_400)"),
        (json_answer({"error": "marked-client-secret"}, 400), "(http_400)"),
    ],
)
def test_whatever_comes_of_asking_the_tokens_are_kept(answer, told) -> None:
    found, remark = ask(replying(answer))
    assert found.expires_at is None
    assert found.access_token.reveal() == "marked-access-token"
    assert told in remark
    assert "marked" not in remark


def test_the_question_is_a_form_and_takes_no_longer_than_the_exchange_has_left() -> None:
    egress = replying(json_answer({"active": True, "exp": int(NOW) + 60}))
    ask(
        egress,
        left=1.0,
        config={"realm": "r1"},
        introspection={
            "url": URL,
            "params": {"realm": "${connectionConfig.realm}", "id": "${clientId}"},
        },
    )
    [sent] = egress.sent
    assert sent.options["deadline"] == 1.0
    assert sent.headers == {
        "Accept": "application/json",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    assert (sent.form["realm"], sent.form["id"]) == ("r1", "the-client")


def test_nobody_is_asked_when_no_time_is_left() -> None:
    found, remark = ask(replying(), left=0.5)
    assert (found.expires_at, "(no_time_left)" in remark) == (None, True)


def test_nobody_is_asked_about_what_was_told() -> None:
    told = tokens(expires_in=60)
    assert ask(replying(), told) == (told, "")
    endless = tokens({"token_expires_in_ms": 0})
    assert ask(replying(), endless, introspection=None) == (endless, "")


def test_a_token_without_an_end_by_its_entry_is_asked_about_where_the_entry_says_how() -> None:
    answer = json_answer({"active": True, "exp": int(NOW) + 60})
    assert ask(replying(answer), tokens({"token_expires_in_ms": 0}))[0].expires_at == NOW + 60


def test_the_place_to_ask_may_come_from_the_token_answer() -> None:
    entry = {
        "introspection": {"url": "${connectionConfig.instance_url}/introspect"},
        "token_response_metadata": ["instance_url"],
        "connection_config": {"instance_url": {"pattern": r"^https://[a-z]+\.example\.com$"}},
    }
    egress = replying(json_answer({"active": True, "exp": int(NOW) + 60}))
    ask(egress, tokens(instance_url="https://acme.example.com"), **entry)
    assert egress.sent[0].url == "https://acme.example.com/introspect"
    for hostile in ("https://evil.example", "https://acme.example.com.evil.example"):
        found, remark = ask(replying(), tokens(instance_url=hostile), **entry)
        assert (found.expires_at, "was asked" in remark) == (None, True)
        found, remark = ask(replying(), config={"instance_url": hostile}, **entry)
        assert "(unfit_config)" in remark


def test_tokens_that_cannot_be_renewed_bring_no_remark() -> None:
    found = token_set({}, {"access_token": "a"}, NOW)
    assert found is not None
    assert ask(replying(), found, introspection=None)[1] == ""
