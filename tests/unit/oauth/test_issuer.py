from __future__ import annotations

import pytest

from keystow.oauth import issuer
from tests.unit.oauth.doubles import provider

ISSUER = "https://honest.example"


def test_the_expected_issuer_passes() -> None:
    issuer.check(ISSUER, ISSUER, required=True)


@pytest.mark.parametrize(
    "other",
    ["https://evil.example", "https://honest.example/", "HTTPS://honest.example", "", "\udcff"],
)
@pytest.mark.parametrize("required", [True, False])
def test_any_other_issuer_is_an_error(other: str, required: bool) -> None:
    with pytest.raises(issuer.IssuerMismatch) as mismatch:
        issuer.check(other, ISSUER, required=required)
    assert mismatch.value.reason == "different"


def test_a_missing_issuer_is_an_error_where_the_server_announced_it() -> None:
    with pytest.raises(issuer.IssuerMismatch) as mismatch:
        issuer.check(None, ISSUER, required=True)
    assert mismatch.value.reason == "missing"


def test_a_missing_issuer_passes_where_nothing_was_announced() -> None:
    issuer.check(None, ISSUER, required=False)
    issuer.check(None, ISSUER)


ENDPOINTS = ("https://login.honest.example/authorize?p=1", "https://api.honest.example:8443/token")


@pytest.mark.parametrize(
    "given",
    [
        "https://login.honest.example",
        "https://login.honest.example/tenant/v2.0",
        "https://LOGIN.honest.example:443",
        "https://api.honest.example:8443/",
        "https://login.honest.example.",
        "https://login.honest.example/X",
    ],
)
@pytest.mark.parametrize("required", [True, False])
def test_an_issuer_of_an_entry_that_names_none_has_the_host_of_an_endpoint(
    given: str, required: bool
) -> None:
    issuer.check(given, None, ENDPOINTS, required=required)


@pytest.mark.parametrize(
    "given",
    [
        "https://whoever.example",
        "https://honest.example",
        "https://login.honest.example.evil.example",
        "https://login.honest.example@evil.example",
        "https://evil.example\\@login.honest.example",
        "https://login.honest.example:444",
        "https://api.honest.example",
        "http://login.honest.example",
        "https://login.honest.example?x",
        "https://login.honest.example#x",
        "https://login.honest.example:port",
        "https://login.honest.example /",
        'https://login.honest.example/"',
        "https://login.honest.example/<",
        "https://login.honest.example/>",
        "https://login.honest.example/\n",
        "https://login.honest.example/a@b",
        "login.honest.example",
        "//login.honest.example",
        "",
        "\udcff",
    ],
)
@pytest.mark.parametrize("endpoints", [ENDPOINTS, ()])
def test_any_other_issuer_is_refused_though_the_entry_names_none(
    given: str, endpoints: tuple[str, ...]
) -> None:
    with pytest.raises(issuer.IssuerMismatch) as mismatch:
        issuer.check(given, None, endpoints)
    assert mismatch.value.reason == "different"


def test_the_endpoints_are_those_of_this_connection() -> None:
    entry = provider(
        authorization_url="https://${connectionConfig.sub}.example.com/o",
        token_url="https://api.example.com/t",
    )
    issuer.check_answer("https://acme.example.com", entry, {"sub": "acme"})
    issuer.check_answer(None, entry, {"sub": "acme"})
    for given in ("https://other.example.com", "https://${connectionConfig.sub}.example.com"):
        with pytest.raises(issuer.IssuerMismatch):
            issuer.check_answer(given, entry, {"sub": "acme"})


@pytest.mark.parametrize("named", [{}, {"issuer": ISSUER}])
def test_an_entry_says_whether_an_answer_must_name_its_issuer(named: dict[str, str]) -> None:
    issuer.check_answer(None, provider(**named), {})
    with pytest.raises(issuer.IssuerMismatch) as mismatch:
        issuer.check_answer(None, provider(issuer_required=True, **named), {})
    assert mismatch.value.reason == "missing"


def test_the_issuer_of_an_entry_is_compared_as_it_stands() -> None:
    entry = provider(issuer="https://ID.example.com/a%2fb/")
    issuer.check_answer("https://ID.example.com/a%2fb/", entry, {})
    for other in ("https://id.example.com/a%2fb/", "https://ID.example.com/a%2Fb/"):
        with pytest.raises(issuer.IssuerMismatch):
            issuer.check_answer(other, entry, {})


def test_an_entry_without_token_url_is_known_by_where_it_sends_browsers() -> None:
    issuer.check_answer("https://auth.example.com", provider(token_url=""), {})
    with pytest.raises(issuer.IssuerMismatch):
        issuer.check_answer("https://", provider(token_url=""), {})


def test_the_issuer_of_an_entry_may_be_another_one_for_each_connection() -> None:
    entry = provider(issuer="https://id.example.com/${connectionConfig.tenant}")
    issuer.check_answer("https://id.example.com/t1", entry, {"tenant": "t1"})
    for config in ({"tenant": "t2"}, {}):
        with pytest.raises(issuer.IssuerMismatch):
            issuer.check_answer("https://id.example.com/t1", entry, config)
