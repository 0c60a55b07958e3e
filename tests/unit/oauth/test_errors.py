from __future__ import annotations

import json

import pytest

from keystow.egress.client import Answer
from keystow.egress.errors import EgressFailed, EgressRefused
from keystow.oauth.errors import (
    ConfigurationError,
    TokenError,
    from_answer,
    from_egress,
    retry_after,
)
from tests.unit.oauth.doubles import NOW, json_answer, text_answer


def read(payload, status: int = 400, secrets=(), **headers: str) -> TokenError:
    answer = json_answer(payload, status, **headers)
    return from_answer(answer, json.loads(answer.body), secrets=secrets, now=NOW)


@pytest.mark.parametrize(
    ("payload", "status", "kind"),
    [
        ({"error": "invalid_grant"}, 400, "terminal"),
        ({"error": "invalid_grant"}, 401, "terminal"),
        ({"error": "INVALID_GRANT"}, 403, "terminal"),
        ({"error": "bad_refresh_token"}, 200, "terminal"),
        ({"ok": False, "error": "invalid_refresh_token"}, 200, "terminal"),
        ({"ok": False, "error": "token_revoked"}, 200, "terminal"),
        ({"status": "BAD_REFRESH_TOKEN", "message": "missing"}, 400, "terminal"),
        ({"error": "interaction_required"}, 400, "terminal"),
        ({"error": "invalid_code"}, 200, "terminal"),
        ({"error": {"code": "invalid_grant", "message": "x"}}, 400, "terminal"),
        ({"errors": [{"errorType": "x", "error": "invalid_grant"}]}, 400, "terminal"),
        ({"error": "unauthorized_client", "error_description": "refresh_token is invalid"}, 403,
         "terminal"),
        ({"error": "invalid_request", "error_description": "Value passed for the token was "
          "invalid."}, 400, "terminal"),
        ({"message": "The refresh token has expired"}, 400, "terminal"),
        ({"error": "invalid_client"}, 401, "configuration"),
        ({"error": "invalid_client", "error_description": "refresh token invalid"}, 401,
         "configuration"),
        ({"error": "unauthorized_client"}, 400, "configuration"),
        ({"error": "unsupported_grant_type", "error_description": "the grant type is unknown"},
         400, "configuration"),
        ({"error": "invalid_scope"}, 400, "configuration"),
        ({"error": "incorrect_client_credentials"}, 200, "configuration"),
        ({"error": "redirect_uri_mismatch"}, 200, "configuration"),
        ({"message": "Bad Request", "error": 400}, 400, "configuration"),
        ({"error": "whatever"}, 404, "configuration"),
        ({}, 401, "configuration"),
        ({"error": "slow_down"}, 400, "throttled"),
        ({"ok": False, "error": "ratelimited"}, 200, "throttled"),
        ({"error": "invalid_grant"}, 429, "throttled"),
        ({}, 429, "throttled"),
        ({"error": "temporarily_unavailable"}, 400, "transient"),
        ({"error": "server_error"}, 400, "transient"),
        ({"error": "x"}, 408, "transient"),
        ({"error": "x"}, 409, "transient"),
        ({"error": "x"}, 425, "transient"),
        ({"error": "slow_down"}, 500, "throttled"),
        ({"error": "x"}, 300, "configuration"),
        ({"error": "x"}, 299, "unusable"),
        ({}, 500, "transient"),
        ({"error": "invalid_grant"}, 500, "transient"),
        ({"error": "invalid_client"}, 503, "transient"),
        ({}, 200, "unusable"),
        ({"hello": "world"}, 201, "unusable"),
    ],
)  # fmt: skip
def test_a_refusal_is_read_by_what_it_means(payload, status, kind) -> None:
    assert read(payload, status).kind == kind


def test_an_unavailable_server_that_names_a_time_throttles() -> None:
    error = read({}, 503, retry_after="30")
    assert (error.kind, error.retry_after) == ("throttled", 30.0)


@pytest.mark.parametrize("status", [500, 502, 504])
def test_another_failure_of_a_server_throttles_nobody(status: int) -> None:
    assert read({}, status, retry_after="30").kind == "transient"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(200, "unusable"), (302, "configuration"), (400, "configuration"),
     (401, "configuration"), (403, "configuration"), (502, "transient"), (429, "throttled")],
)  # fmt: skip
def test_a_page_instead_of_an_answer_is_judged_by_its_status_alone(status, kind) -> None:
    page = text_answer("<html>marked: refresh token expired</html>", status)
    error = from_answer(page, None, secrets=(), now=NOW)
    assert error.kind == kind
    assert "marked" not in str(error)
    assert error.status == status


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("-5", 0.0),
        ("1.5", 1.5),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60.0),
        ("Tue, 14 Nov 2023 20:00:00 GMT", 0.0),
        ("999999999", 86_400.0),
        ("inf", 86_400.0),
        ("nan", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(value: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": value}, NOW) == seconds


def test_no_retry_after_asks_for_nothing() -> None:
    assert retry_after({}, NOW) is None


def test_secrets_that_a_provider_echoes_are_not_shown() -> None:
    payload = {
        "error": "invalid_grant",
        "error_description": "token marked-refresh-token of marked-secret is dead",
    }
    error = read(payload, secrets=("marked-refresh-token", "marked-secret"))
    assert "marked" not in f"{error} {error!r} {error.description} {error.code}"
    assert error.description == "token *** of *** is dead"


def test_a_secret_in_place_of_the_code_is_not_shown_either() -> None:
    error = read({"error": "marked-refresh-token"}, secrets=("marked-refresh-token",))
    assert "marked" not in f"{error} {error!r} {error.code}"
    assert error.code == "http_400"


def test_an_outage_is_no_proof_that_a_token_was_not_rotated() -> None:
    assert read({}, 500).may_have_rotated
    assert read({}, 200).may_have_rotated
    assert not read({"error": "invalid_grant"}).may_have_rotated
    assert not read({}, 429).may_have_rotated


def test_what_an_entry_does_not_allow_is_a_matter_of_configuration_and_was_not_sent() -> None:
    error = ConfigurationError("unfit_config", "Not of its form: site")
    assert (error.kind, error.code, error.sent) == ("configuration", "unfit_config", False)
    assert error.description == "Not of its form: site"


def test_a_failure_on_the_way_tells_what_it_was() -> None:
    for failed in (EgressFailed("timeout", sent=True), EgressRefused("private")):
        assert from_egress(failed).description == str(failed)


def test_a_reason_in_another_charset_is_told_as_far_as_it_can_be_read() -> None:
    error = from_answer(Answer(403, {}, b"caf\xe9 is closed"), None, secrets=(), now=NOW)
    assert error.code == "http_403"
    assert error.description.endswith("is closed")


def test_what_never_left_leaves_the_token_unquestioned() -> None:
    error = from_egress(EgressFailed("connect", sent=False))
    assert (error.kind, error.sent, error.may_have_rotated) == ("transient", False, False)


@pytest.mark.parametrize("kind", ["malformed", "too_large", "too_many_redirects"])
def test_an_answer_that_came_and_cannot_be_used_ends_the_exchange(kind) -> None:
    error = from_egress(EgressFailed(kind, sent=True))
    assert (error.kind, error.sent, error.may_have_rotated) == ("unusable", True, True)


@pytest.mark.parametrize("kind", ["timeout", "lost"])
def test_what_left_without_an_answer_has_an_unknown_fate(kind) -> None:
    error = from_egress(EgressFailed(kind, sent=True))
    assert (error.kind, error.sent, error.may_have_rotated) == ("unknown_fate", True, True)


def test_the_guards_no_is_a_kind_of_its_own() -> None:
    error = from_egress(EgressRefused("private"))
    assert (error.kind, error.sent, error.may_have_rotated) == ("refused", False, False)
    assert error.code == "destination_refused"


@pytest.mark.parametrize(
    "payload",
    [
        [],
        "text",
        1,
        None,
        {"error": None},
        {"error": []},
        {"errors": []},
        {"errors": ["x"]},
        {"error": {"code": 7}},
    ],
)
def test_any_shape_of_body_is_survived(payload) -> None:
    answer = Answer(400, {}, b"")
    assert from_answer(answer, payload, secrets=(), now=NOW).kind == "configuration"


def test_what_was_sent_shows_neither_in_the_code_nor_in_the_description() -> None:
    answer = json_answer({"error": "rt-hidden", "error_description": "no rt-hidden here"}, 400)
    error = from_answer(
        answer, json.loads(answer.body), secrets=(each for each in ["rt-hidden"]), now=NOW
    )
    assert "rt-hidden" not in f"{error.code} {error.description} {error}"


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"code": 20_111, "msg": "refresh token not found"}, "20111"),
        ({"error": {"code": 190, "message": "Session has expired"}}, "190"),
        ({"error": {"code": 190, "type": "OAuthException"}}, "oauthexception"),
        ({"error": 400, "message": "Bad Request"}, "http_400"),
        ({"code": True}, "http_400"),
    ],
)
def test_a_code_that_is_a_number_is_told(payload, code) -> None:
    assert read(payload).code == code


@pytest.mark.parametrize(
    ("payload", "code", "description"),
    [
        ({"error": {"code": "a_b", "message": "Inner"}, "message": "Outer"}, "a_b", "Inner"),
        ({"errors": [{"message": "First"}, {"message": "Second"}]}, "http_400", "First"),
        ({"errors": ["Listed"], "error_description": "Own"}, "http_400", "Own"),
        ({"error": "odd_thing", "code": "invalid_grant"}, "invalid_grant", "odd_thing"),
        ({"error": "odd_thing", "code": "invalid_client"}, "invalid_client", "odd_thing"),
        ({"error": "odd_thing", "code": "slow_down"}, "slow_down", "odd_thing"),
        ({"error": "odd_thing", "code": "server_error"}, "server_error", "odd_thing"),
        ({"error": "odd_thing", "code": "other_thing", "msg": "Why"}, "odd_thing", "Why"),
        ({"error": "Two Words", "detail": "Why"}, "two_words", "Why"),
    ],
)
def test_the_nearest_reason_and_the_code_that_is_known_are_told(payload, code, description) -> None:
    error = read(payload)
    assert (error.code, error.description) == (code, description)


def test_a_sentence_of_up_to_500_characters_is_a_reason() -> None:
    sentence = "words " * 83 + "of"
    assert len(sentence) == 500
    for status, told in ((400, True), (302, False)):
        error = from_answer(text_answer(sentence, status), None, secrets=(), now=NOW)
        assert error.description.startswith("words words") is told
    quoted = from_answer(text_answer('"Blocked"', 403), None, secrets=(), now=NOW)
    assert quoted.description == "Blocked"


def test_a_reason_in_plain_text_is_told_without_what_was_sent() -> None:
    answer = text_answer("Client marked-id is blocked: write to us", 403, "text/plain")
    failed = from_answer(answer, None, secrets=["marked-id"], now=NOW)
    assert (failed.code, failed.description) == (
        "http_403",
        "Client *** is blocked: write to us",
    )


@pytest.mark.parametrize(
    ("body", "status"), [("<h1>No</h1>", 403), ("x" * 501, 403), ("{", 400), ("[", 400)]
)
def test_a_page_or_data_is_no_reason(body, status) -> None:
    failed = from_answer(text_answer(body, status), None, secrets=(), now=NOW)
    assert failed.description.endswith("could not be read")
