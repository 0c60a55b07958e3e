"""What a provider's definition may hold, built in or handed in by a caller."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from keystow.catalog import loader
from keystow.catalog.model import ProviderDefinition, validate_definition

DOCS = Path(__file__).parents[3] / "docs" / "catalogue.md"


def oauth2(**changes):
    definition = {
        "display_name": "Example",
        "auth_mode": "OAUTH2",
        "authorization_url": "https://example.com/authorize",
        "token_url": "https://example.com/token",
        "proxy": {"base_url": "https://api.example.com"},
        **changes,
    }
    return {key: value for key, value in definition.items() if value is not None}


def check(body, **options):
    return validate_definition("example", body, **{"builtin": False, **options})


@pytest.mark.parametrize("id_", loader.built_in_ids())
def test_every_built_in_entry_is_valid_and_kept_as_it_is(id_):
    definition = loader.built_in(id_).definition
    assert validate_definition(id_, definition, builtin=True) == definition


@pytest.mark.parametrize("id_", loader.built_in_ids())
def test_what_get_provider_answers_can_be_put_again(id_):
    answer = loader.built_in(id_).public("https://keystow.example")
    assert validate_definition(id_, answer, builtin=False) == loader.built_in(id_).definition


def test_name_and_logo_are_dropped():
    body = oauth2(name="example", logo_url="https://example.com/l.svg")
    assert check(body) == oauth2()


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"},
        {"unknown_field": 1},
        {"auth_mode": "OAUTH3"},
        {"auth_mode": None},
        {"display_name": ""},
        {"display_name": None},
        {"token_url": None},
        {"authorization_url": None},
        {"token_url": "http://example.com/token"},
        {"token_url": "https://me@example.com/token"},
        {"token_url": "ftp://example.com"},
        {"token_url": "/token"},
        {"token_url": "https://"},
        {"token_url": "https://example.com:port/"},
        {"token_url": "https://exam ple.com"},
        {"token_url": "https://{connectionConfig.x}.com"},
        {"token_url": "https://a.com || http://b.com"},
        {"token_url": "https://${connectionConfig.sub}.example.com"},
        {"token_url": 5},
        {"docs": "javascript:alert(1)"},
        {"proxy": {}},
        {"proxy": {"base_url": "https://a.com", "headers": {"x-y": "a\r\nb: c"}}},
        {"proxy": {"base_url": "https://a.com", "headers": {"x y": "a"}}},
        {"proxy": {"base_url": "https://a.com", "verification": {"endpoints": []}}},
        {"authorization_params": {"redirect_uri": "https://evil.example"}},
        {"authorization_params": {"state": "fixed"}},
        {"authorization_url": "https://a.example/o?p=1&state=fixed"},
        {"authorization_url": "https://a.example/o || https://b.example/o?redirect_uri=x"},
        {"connection_config": {"a b": {"title": "T"}}},
        {"connection_config": {"a": {"title": "T", "pattern": "("}}},
        {"connection_config": {"a": {"title": "T", "pattern": "(" * 900 + ")" * 900}}},
        {"connection_config": {"a": {"title": "T", "type": "number"}}},
        {"use_refresh_url": True},
        {"post_connection": {"hook": "no_such_hook"}},
        {"disable_pkce": "yes"},
        {"token_params": {"a": float("nan")}},
        {"token_expires_in_ms": 10 * 365 * 86_400_000 + 1},
        {"token_params": {"a": "\ud800"}},
        {"token_params": {"a": [[[[[[[[[[[["deep"]]]]]]]]]]]]}},
        {"categories": ["popular", "no-such"]},
        {"alias": "no-such-provider"},
        {"alias": "../../etc/passwd"},
        {"alias": ["github"]},
    ],
)
def test_what_cannot_work_or_could_harm_is_refused(changes):
    with pytest.raises(ValidationError):
        check(oauth2(**changes))


@pytest.mark.parametrize("body", [None, [], "x", 1, True, {}])
def test_a_body_of_another_type_is_refused(body):
    with pytest.raises(ValidationError):
        check(body)


@pytest.mark.parametrize("id_", ["", "Upper", "a/b", "..", "a" * 101, "a\n"])
def test_an_id_is_lower_case_letters_digits_and_dashes(id_):
    with pytest.raises(ValidationError):
        validate_definition(id_, oauth2(), builtin=False)


def test_a_definition_has_a_size_that_can_be_stored():
    with pytest.raises(ValidationError, match="larger"):
        check(oauth2(token_params={f"p{n}": "x" * 3_000 for n in range(50)}))


def test_loopback_http_is_only_for_the_local_stack():
    body = oauth2(token_url="http://127.0.0.1:4600/token")
    with pytest.raises(ValidationError):
        check(body)
    assert check(body, allow_http_loopback=True) == body
    with pytest.raises(ValidationError):
        check(oauth2(token_url="http://127.0.0.1.evil.example/"), allow_http_loopback=True)


@pytest.mark.parametrize(
    "declared",
    [
        {"connection_config": {"sub": {"type": "string", "title": "Sub"}}},
        {"token_response_metadata": ["sub"]},
        {
            "post_connection": {
                "calls": [{"method": "GET", "url": "/me", "sets": {"sub": "account.sub"}}]
            }
        },
    ],
)
def test_a_placeholder_is_declared_where_its_value_comes_from(declared):
    body = oauth2(proxy={"base_url": "https://example.com/${connectionConfig.sub}"}, **declared)
    assert check(body) == body


LEARNT = {"connection_config": {"team": {"type": "string", "title": "Team"}}}


@pytest.mark.parametrize(
    "learns",
    [
        {"token_response_metadata": ["team"]},
        {"post_connection": {"sets": {"team": {"source": "token_response", "paths": ["t"]}}}},
        {"post_connection": {"calls": [{"url": "/me", "sets": {"team": "name"}}]}},
        {"post_connection": {"hook": "choose_site", "hook_sets": ["team"]}},
    ],
)
def test_an_account_is_named_by_what_the_provider_tells(learns):
    definition = oauth2(**LEARNT, **learns, account=["team"])
    assert check(definition)["account"] == ["team"]
    secret = {"team": {"type": "string", "title": "Team", "secret": True}}
    for changes in ({"account": ["other"]}, {"account": []}, {"connection_config": secret}):
        with pytest.raises(ValidationError):
            check({**definition, **changes})


@pytest.mark.parametrize("learns", [{}, {"token_response_metadata": ["team"]}])
def test_no_account_is_named_by_what_is_typed_or_a_callback_brings(learns):
    with pytest.raises(ValidationError, match="does not tell"):
        check(oauth2(**LEARNT, account=["team"]))
    with pytest.raises(ValidationError, match="does not tell"):
        check(oauth2(**LEARNT, **learns, redirect_uri_metadata=["team"], account=["team"]))


def test_a_callback_may_not_choose_the_token_host_freely():
    body = oauth2(
        token_url="${connectionConfig.server}/token",
        redirect_uri_metadata=["server"],
        connection_config={"server": {"type": "string", "automated": True}},
    )
    with pytest.raises(ValidationError, match="pattern"):
        check(body)
    body["connection_config"]["server"]["pattern"] = r"^https://eu\.example\.com$"
    assert check(body) == body


def test_an_api_key_entry_asks_for_its_key():
    body = {
        "display_name": "Example",
        "auth_mode": "API_KEY",
        "proxy": {"base_url": "https://a.com"},
    }
    assert check(body)["credentials"]["apiKey"]["secret"] is True
    with pytest.raises(ValidationError, match="apiKey"):
        check({**body, "credentials": {"other": {"type": "string", "title": "T"}}})


def test_a_built_in_entry_says_why_pkce_is_off_but_a_custom_one_need_not():
    body = oauth2(disable_pkce=True)
    assert check(body) == body
    complete = {**body, "categories": ["other"], "corroborated": False, "sources": ["contract"]}
    with pytest.raises(ValidationError, match="pkce_off_reason"):
        check(complete, builtin=True)
    check({**complete, "pkce_off_reason": "It refuses the parameter."}, builtin=True)


def test_an_alias_takes_over_the_fields_it_does_not_replace():
    result = check({"alias": "google", "display_name": "Mine", "auth_mode": "OAUTH2"})
    assert result["token_url"] == "https://oauth2.googleapis.com/token"
    assert result["display_name"] == "Mine"
    assert "alias" not in result


def test_header_names_are_answered_in_lower_case_and_a_field_with_its_type():
    body = oauth2(
        proxy={"base_url": "https://a.com", "headers": {"X-Key": "v"}},
        connection_config={"a": {"title": "T"}},
    )
    result = check(body)
    assert result["proxy"]["headers"] == {"x-key": "v"}
    assert result["connection_config"]["a"]["type"] == "string"


def test_every_field_is_documented():
    text = DOCS.read_text()
    missing = [name for name in ProviderDefinition.model_fields if f"`{name}`" not in text]
    assert missing == []


@pytest.mark.parametrize(
    "replacements",
    [
        {"a.example": "https://b.example"},
        {"a.example": "b.example/path"},
        {"a.example": "b.example:8443"},
        {"a.example": "user@b.example"},
        {"a.example": "B.example"},
        {"A.example": "b.example"},
        {"a.example": "localhost"},
        {"a.example": "${connectionConfig.host}"},
        {"a.example": ""},
        {"a.example": "b.example\n"},
    ],
)
def test_a_host_is_replaced_by_a_host_that_is_written_out(replacements):
    assert check(oauth2(host_replacements={"a.example": "b.example"}))
    with pytest.raises(ValidationError, match="host_replacements"):
        check(oauth2(host_replacements=replacements))


@pytest.mark.parametrize("status", [200, 302, 400, 401, 408, 429, 500, 503, "403", True])
def test_only_a_refusal_other_than_for_the_credential_may_pass_for_a_good_key(status):
    def proxy(*statuses):
        verification = {"endpoints": ["/me"], "accepted_statuses": list(statuses)}
        return {"base_url": "https://a.com", "verification": verification}

    assert check(oauth2(proxy=proxy(403, 404, 422)))
    with pytest.raises(ValidationError, match="accepted_statuses"):
        check(oauth2(proxy=proxy(403, status)))


def test_a_replaced_host_counts_in_every_url_and_elsewhere_in_none():
    body = oauth2(host_replacements={"eu.example.com": "europe.example.net"})
    provider = loader.Provider("x", check(body))
    assert provider.url("https://eu.example.com/a?b=eu.example.com", {}) == (
        "https://europe.example.net/a?b=eu.example.com"
    )
    for other in ("https://eu.example.com.au/a", "https://x.eu.example.com/a", "https://a.com/a"):
        assert provider.url(other, {}) == other
