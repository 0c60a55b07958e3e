from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import pytest

from keystow.catalog.interpolate import InterpolationError
from keystow.oauth.authorization import (
    InvalidAuthorizationUrl,
    authorization_url,
    missing_parameters,
    uses_code_grant,
)
from keystow.oauth.authorization_params import (
    RESERVED,
    ReservedParameter,
    check_authorization_params,
    of_browser,
)
from tests.unit.oauth.doubles import provider

CALLBACK = "https://keystow.example/oauth/callback"


def url_for(entry, **changes) -> str:
    given = {
        "client_id": "cid",
        "redirect_uri": CALLBACK,
        "scopes": ("a", "b"),
        "state": "st",
        "code_challenge": "ch",
        "connection_config": {},
        "authorization_params": {},
    }
    return authorization_url(entry, **(given | changes))


def query(url: str) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(url).query, keep_blank_values=True)


def test_parameters_come_in_the_order_of_the_contract() -> None:
    entry = provider(authorization_params={"prompt": "consent", "session": False})
    assert url_for(entry, user_scope="u", authorization_params={"login_hint": "x"}) == (
        "https://auth.example.com/authorize?response_type=code&client_id=cid"
        "&redirect_uri=https%3A%2F%2Fkeystow.example%2Foauth%2Fcallback&scope=a+b&state=st"
        "&prompt=consent&session=false&code_challenge=ch&code_challenge_method=S256"
        "&user_scope=u&login_hint=x"
    )


@pytest.mark.parametrize(
    "changes",
    [{}, {"authorization_url_skip_encode": ["scopes"]}, {"scope_separator": ","}],
)
def test_no_scope_is_left_out_and_not_sent_empty(changes: dict[str, object]) -> None:
    assert "scope" not in url_for(provider(**changes), scopes=())
    kept = url_for(provider(**changes), scopes=(), authorization_params={"scope": ""})
    assert "scope" not in kept


def test_the_entry_names_its_scope_separator() -> None:
    assert ("scope", "a,b") in query(url_for(provider(scope_separator=",")))


def test_the_entrys_response_type_takes_the_place_of_code() -> None:
    entry = provider(authorization_params={"response_type": "code id_token"})
    assert query(url_for(entry))[0] == ("response_type", "code id_token")


def test_pkce_is_left_out_only_where_the_entry_says_so() -> None:
    off = url_for(provider(disable_pkce=True), code_challenge=None)
    assert "code_challenge" not in off
    assert "code_challenge" not in url_for(provider(disable_pkce=True))
    with pytest.raises(ValueError, match="PKCE"):
        url_for(provider(), code_challenge=None)


def test_templates_are_filled() -> None:
    entry = provider(
        authorization_url="https://${connectionConfig.sub}.example.com/a",
        authorization_params={"aud": "https://${connectionConfig.sub}", "nonce": "${random}"},
    )
    got = url_for(entry, connection_config={"sub": "acme"})
    assert got.startswith("https://acme.example.com/a?response_type=code")
    assert ("aud", "https://acme") in query(got)
    assert len(dict(query(got))["nonce"]) == 36


def test_the_query_of_the_endpoint_is_kept_and_its_fragment_is_not() -> None:
    entry = provider(authorization_url="https://a.example/o?p=b2c_1&p=2&flag&e=a%2Bb#f")
    got = url_for(entry)
    assert got.startswith("https://a.example/o?p=b2c_1&p=2&flag&e=a%2Bb&response_type=code&")
    assert "#" not in got
    assert ("client_id", "cid") in query(got)


def test_the_query_of_the_endpoint_stands_before_the_fragment_of_an_app() -> None:
    entry = provider(
        authorization_url="https://a.example/o?tenant=1", authorization_url_fragment="/in"
    )
    assert url_for(entry).startswith("https://a.example/o?tenant=1#/in?response_type=code&")


def test_the_query_of_the_endpoint_is_filled_for_each_connection() -> None:
    entry = provider(authorization_url="https://a.example/o?tenant=${connectionConfig.t}")
    got = query(url_for(entry, connection_config={"t": "a&scope=all"}))
    assert got[0] == ("tenant", "a&scope=all")
    assert [value for name, value in got if name == "scope"] == ["a b"]


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("https://a.example/${connectionConfig.t}/o", "x?claims=all&scope=all#"),
        ("https://a.example/${connectionConfig.t}/o?p=1", "x?claims=all&p=2#"),
        ("https://a.example/o?p=${connectionConfig.t}", "1&claims=all"),
        ("${connectionConfig.t}/o", "https://a.example/x?claims=all&state=evil"),
        ("${connectionConfig.t}/o?p=1", "https://a.example/x?claims=all&state=evil"),
    ],
)
def test_a_config_value_adds_no_parameter(template: str, value: str) -> None:
    for skip in ([], ["base_url"]):
        entry = provider(authorization_url=template, authorization_url_skip_encode=skip)
        try:
            got = query(url_for(entry, connection_config={"t": value}))
        except InterpolationError:
            continue  # refused altogether
        assert not {name for name, _ in got} & {"claims", "scope=all"}
        assert [content for name, content in got if name == "state"] == ["st"]
        assert [content for name, content in got if name == "scope"] == ["a b"]


def test_no_parameter_comes_twice_when_the_endpoint_has_it_too() -> None:
    entry = provider(
        authorization_url="https://a.example/o?state=x&prompt=none&scope=all&client_id=other&k=1",
        authorization_params={"prompt": "consent"},
    )
    got = query(url_for(entry, authorization_params={"k": None}))
    assert len(got) == len(dict(got))
    given = dict(got)
    assert (given["state"], given["prompt"], given["scope"]) == ("st", "consent", "a b")
    assert given["client_id"] == "cid"
    assert "k" not in given


def test_what_the_endpoint_has_of_its_own_stays_beside_what_the_request_sets() -> None:
    got = query(url_for(provider(authorization_url="https://a.example/o?state=x&tenant=1&&flag")))
    assert [value for name, value in got if name == "state"] == ["st"]
    assert got[:3] == [("tenant", "1"), ("flag", ""), ("response_type", "code")]


@pytest.mark.parametrize(
    ("skip", "path"), [([], "x%2Fy"), (["base_url"], "x/y"), (["scopes"], "x%2Fy")]
)
def test_an_entry_says_whether_values_in_the_path_are_encoded(skip: list[str], path: str) -> None:
    entry = provider(
        authorization_url="https://a.example/${connectionConfig.path}/o",
        authorization_url_skip_encode=skip,
    )
    got = url_for(entry, connection_config={"path": "x/y"})
    assert got.startswith(f"https://a.example/{path}/o?")


def test_a_nonce_is_another_one_in_each_attempt() -> None:
    entry = provider(authorization_params={"nonce": "${random}"})
    nonces = {dict(query(url_for(entry, state=state)))["nonce"] for state in ("a", "b", "c")}
    assert len(nonces) == 3


def test_a_missing_value_for_the_endpoint_is_an_error() -> None:
    with pytest.raises(InterpolationError):
        url_for(provider(authorization_url="https://${connectionConfig.sub}.example.com/a"))


@pytest.mark.parametrize("removal", [None, "undefined"])
def test_a_caller_may_remove_a_parameter_of_the_entry(removal: str | None) -> None:
    entry = provider(authorization_params={"prompt": "consent"})
    assert "prompt" not in url_for(entry, authorization_params={"prompt": removal})


def test_a_caller_may_replace_a_parameter_of_the_entry() -> None:
    entry = provider(authorization_params={"prompt": "consent"})
    assert ("prompt", "none") in query(url_for(entry, authorization_params={"prompt": "none"}))


@pytest.mark.parametrize(
    "name",
    [
        "redirect_uri",
        "state",
        "client_id",
        "code_challenge",
        "code_challenge_method",
        "request",
        "request_uri",
        "response_type",
        "Redirect_URI",
        " state",
        "state\u200b",
        "redirect.uri",
        "redirect uri",
        "redirect[uri",
        "state[]",
        "state\0x",
        "\uff53tate",
        "",
    ],
)
@pytest.mark.parametrize("value", ["evil", None, "undefined"])
def test_a_caller_cannot_touch_what_protects_the_flow(name: str, value: str | None) -> None:
    with pytest.raises(ReservedParameter) as reserved:
        url_for(provider(), authorization_params={"prompt": "none", name: value})
    told = reserved.value.name
    assert told in RESERVED or told == "a parameter without a name", "not as it was spelled"
    with pytest.raises(ReservedParameter):
        check_authorization_params({name: value})


def test_a_caller_cannot_reach_a_reserved_parameter_by_the_entrys_own_name_for_it() -> None:
    entry = provider(
        authorization_url_replacements={"state=": "customField=", "client_id": "client_key"}
    )
    for name in ("customField", "client_key"):
        with pytest.raises(ReservedParameter):
            url_for(entry, authorization_params={name: "evil"})


def test_the_response_may_be_asked_for_only_where_it_reaches_the_callback() -> None:
    for mode in ("query", "form_post", None):
        check_authorization_params({"response_mode": mode})
    for mode in ("fragment", "web_message", "jwt"):
        with pytest.raises(ReservedParameter):
            check_authorization_params({"response_mode": mode})


def test_repeating_the_response_type_changes_nothing_and_passes() -> None:
    check_authorization_params({"response_type": "code"})
    check_authorization_params({"response_type": "code"}, provider())
    with pytest.raises(ReservedParameter):
        check_authorization_params({"response_type": "code", "state": "evil"})
    entry = provider(authorization_params={"response_type": "auth_code"})
    check_authorization_params({"response_type": "auth_code"}, entry)
    with pytest.raises(ReservedParameter):
        check_authorization_params({"response_type": "token"}, entry)


def test_scopes_that_must_not_be_encoded_stand_last_as_they_are() -> None:
    entry = provider(authorization_url_skip_encode=["scopes"], scope_separator="+")
    got = url_for(entry, scopes=("read:a/b", "write"))
    assert got.endswith("&code_challenge_method=S256&scope=read:a/b+write")
    assert got.count("scope=") == 1


def test_scopes_that_are_not_encoded_cannot_add_a_parameter() -> None:
    entry = provider(authorization_url_skip_encode=["scopes"])
    got = url_for(entry, scopes=("a&state=evil#x\r\nSet-Cookie:y",))
    assert [value for name, value in query(got) if name == "state"] == ["st"]
    assert not set(got) & set("\r\n #")


def test_a_fragment_comes_before_the_query() -> None:
    got = url_for(provider(authorization_url_fragment="/oauth/authorize"))
    assert got.startswith("https://auth.example.com/authorize#/oauth/authorize?response_type=code&")


def test_replacements_change_the_first_place_each() -> None:
    entry = provider(authorization_url_replacements={"client_id": "client_key"})
    got = url_for(entry, authorization_params={"hint": "client_id"})
    assert "&client_key=cid&" in got
    assert got.endswith("&hint=client_id")


def test_empty_parameters_are_left_out_where_the_entry_says_so() -> None:
    entry = provider(authorization_url_skip_empty=True)
    got = url_for(entry, scopes=(), authorization_params={"hint": ""})
    assert "scope" not in got
    assert "hint" not in got
    assert [name for name, _ in query(got)] == [
        "response_type",
        "client_id",
        "redirect_uri",
        "state",
        "code_challenge",
        "code_challenge_method",
    ]


@pytest.mark.parametrize("url", ["http://auth.example.com/a", "http://10.0.0.1/a"])
def test_the_browser_is_sent_to_https_only(url: str) -> None:
    with pytest.raises(InvalidAuthorizationUrl):
        url_for(provider(authorization_url=url))


def test_the_browser_may_be_sent_to_a_provider_on_its_own_machine() -> None:
    got = url_for(provider(authorization_url="http://127.0.0.1:4500/authorize"))
    assert got.startswith("http://127.0.0.1:4500/authorize?")


@pytest.mark.parametrize("value", ["javascript:alert(1)//", "https://evil.example/x?", "@evil"])
def test_a_config_value_inside_a_host_cannot_lead_elsewhere(value: str) -> None:
    entry = provider(authorization_url="https://${connectionConfig.sub}.example.com/a")
    with pytest.raises((InterpolationError, InvalidAuthorizationUrl)):
        url_for(entry, connection_config={"sub": value})


def test_missing_values_are_named_before_the_flow_starts() -> None:
    entry = provider(
        authorization_url="https://${connectionConfig.sub}.example.com/a",
        authorization_params={"x": "${connectionConfig.x}", "n": "${random}"},
        token_params={"y": "${connectionConfig.y}"},
        token_url="https://${connectionConfig.later}/token",
    )
    assert missing_parameters(entry, {}) == ("sub", "x", "y")
    assert missing_parameters(entry, {"sub": "s", "x": "1", "y": "2"}) == ()


def test_one_complete_side_of_an_alternative_is_enough() -> None:
    entry = provider(
        authorization_url="https://${connectionConfig.host}/a || https://auth.example.com/a"
    )
    assert missing_parameters(entry, {}) == ()


def test_of_an_alternative_that_is_not_complete_the_first_side_is_asked_for() -> None:
    entry = provider(
        authorization_url="https://${connectionConfig.a}.example/x || "
        "https://${connectionConfig.b}.example/x",
        authorization_params={"a": "${connectionConfig.a}", "expiring": 1},
    )
    assert missing_parameters(entry, {}) == ("a",)


@pytest.mark.parametrize(
    ("url", "start"),
    [
        ("https://auth.example.com", "https://auth.example.com/?response_type=code&"),
        ("http://localhost:4500/a", "http://localhost:4500/a?response_type=code&"),
        ("http://[::1]:4500/a", "http://[::1]:4500/a?response_type=code&"),
    ],
)
def test_an_endpoint_may_have_no_path_or_stand_on_loopback(url: str, start: str) -> None:
    assert url_for(provider(authorization_url=url)).startswith(start)


@pytest.mark.parametrize(
    "url", ["https://user@auth.example.com/a", "https:///a", "ftp://a.example"]
)
def test_the_browser_is_not_sent_to_what_is_no_plain_address(url: str) -> None:
    with pytest.raises((InterpolationError, InvalidAuthorizationUrl)):
        url_for(provider(authorization_url=url))


def test_a_nonce_is_a_random_uuid_and_the_same_wherever_it_stands() -> None:
    entry = provider(authorization_params={"nonce": "${random}", "again": "${random}"})
    given = dict(query(url_for(entry)))
    assert UUID(given["nonce"]).version == 4
    assert given["again"] == given["nonce"]


def test_an_entry_of_another_grant_is_recognized() -> None:
    assert uses_code_grant(provider())
    assert uses_code_grant(provider(token_params={"grant_type": "authorization_code"}))
    assert not uses_code_grant(provider(token_params={"grant_type": "client_credentials"}))


@pytest.mark.parametrize(
    "name",
    [
        "scope",
        "SCOPE",
        " scope",
        "scope[]",
        "sc\u200bope",
        "user_scope",
        "user.scope",
        "user scope",
        "optional_scope",
        "include_granted_scopes",
        "prompt",
        "Prompt",
        "approval_prompt",
        "approval.prompt",
        "claims",
        "acr_values",
        "audience",
        "resource",
        "resource[0]",
        "authorization_details",
        "config_id",
        "auth_type",
        "force_confirm",
        "force_login",
        "force_reapprove",
        "force_verify",
        "show_dialog",
        "Show.Dialog",
        "access_type",
        "Access_Type",
        "policy",
        "scp",
        "perms",
    ],
)
@pytest.mark.parametrize("value", ["x", "undefined", ""])
def test_a_browser_decides_nothing_that_the_backend_or_the_entry_decides(
    name: str, value: str
) -> None:
    entry = provider(
        authorization_url="https://a.example/o?policy=sign_in",
        authorization_params={"access_type": "offline"},
        authorization_url_replacements={"scope=": "scp=", "&resource=": "&perms="},
    )
    kept, ignored = of_browser({"login_hint": "ada", name: value}, entry)
    assert kept == {"login_hint": "ada"}
    assert ignored == (name,)


def test_what_decides_nothing_counts_as_the_browser_sends_it() -> None:
    given = {"login_hint": "ada", "hd": "example.com", "ui_locales": "fr", "owner": "user"}
    assert of_browser(given, provider()) == (given, ())
