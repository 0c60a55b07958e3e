from __future__ import annotations

import pytest

from keystow.oauth.token_answer import at, decoded, scopes_of, token_set
from tests.unit.oauth.doubles import NOW, json_answer, jwt, text_answer


@pytest.mark.parametrize(
    ("text", "separator", "scopes"),
    [
        ("a b", " ", ("a", "b")),
        ("a,b", " ", ("a", "b")),
        ("a, b", " ", ("a,", "b")),
        ("a,b", ",", ("a", "b")),
        ("a+b", "+", ("a", "b")),
        ("https://x.example/a https://x.example/b", ",", None),
        ("", " ", ()),
        (["a", "b", 1], " ", ("a", "b")),
        (None, " ", None),
        (7, " ", None),
    ],
)
def test_granted_scopes_are_read_with_any_separator(text, separator, scopes) -> None:
    if scopes is None and isinstance(text, str):
        scopes = tuple(text.split())
    assert scopes_of(text, separator) == scopes


def test_paths_lead_into_mappings_and_lists_or_nowhere() -> None:
    source = {"a": {"b": [{"c": 1}]}, "x.y": 2}
    assert at(source, "a.b.0.c") == 1
    assert at(source, "x.y") == 2
    assert at(source, "a.b.5.c") is None
    assert at(source, "a.b.c.d") is None
    assert at(None, "a") is None


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("access_token=a%20b&scope=&token_type=bearer",
         {"access_token": "a b", "scope": "", "token_type": "bearer"}),
        ("error=bad_verification_code", {"error": "bad_verification_code"}),
        ("<html>access_token=1</html>", None),
        ("hello=world", None),
        ("", None),
        ("[1]", None),
        ("null", None),
        ('"token"', None),
    ],
)  # fmt: skip
def test_an_answer_is_json_or_a_form_or_nothing(text, fields) -> None:
    assert decoded(text_answer(text, kind="application/json")) == fields


def test_a_byte_order_mark_does_not_hide_json() -> None:
    assert decoded(text_answer('\ufeff{"a": 1}')) == {"a": 1}


def test_raw_is_the_answer_with_the_moment_that_follows_from_expires_in() -> None:
    payload = {"access_token": "a", "expires_in": 3600, "extra": [1]}
    found = token_set({}, payload, NOW)
    assert found is not None
    assert found.raw.reveal() == {**payload, "expires_at": "2023-11-14T23:13:20.000Z"}
    assert "expires_at" not in payload


def test_raw_keeps_an_expires_at_of_the_providers_own() -> None:
    found = token_set({}, {"access_token": "a", "expires_at": 1_700_000_060}, NOW)
    assert found is not None
    assert found.expires_at == NOW + 60
    assert found.raw.reveal()["expires_at"] == 1_700_000_060


@pytest.mark.parametrize("empty", ["", " ", None, True, [], {}])
def test_an_empty_refresh_token_is_none(empty) -> None:
    found = token_set({}, {"access_token": "a", "refresh_token": empty}, NOW)
    assert found is not None
    assert found.refresh_token is None


def test_what_has_no_width_around_a_token_is_no_part_of_it():
    told = {"access_token": "\ufeff at\u200b\n", "refresh_token": "\u00a0rt\u2060"}
    found = token_set({}, told, NOW)
    assert found.access_token.reveal() == "at"
    assert found.refresh_token.reveal() == "rt"


@pytest.mark.parametrize("empty", ["", " ", None, False, {}, ["a"], 1.5])
def test_an_empty_access_token_is_no_token(empty) -> None:
    assert token_set({}, {"access_token": empty}, NOW) is None


def test_the_token_may_stand_at_another_place() -> None:
    entry = {"alternate_access_token_response_path": "authed_user"}
    as_object = {"ok": True, "authed_user": {"access_token": "a", "refresh_token": "r",
                 "expires_in": 60, "scope": "x,y"}}  # fmt: skip
    found = token_set(entry, as_object, NOW)
    assert found is not None
    assert found.access_token.reveal() == "a"
    assert found.refresh_token is not None
    assert found.refresh_token.reveal() == "r"
    assert (found.expires_at, found.granted_scopes) == (NOW + 60, ("x", "y"))
    as_text = token_set({"alternate_access_token_response_path": "d.t"}, {"d": {"t": "b"}}, NOW)
    assert as_text is not None
    assert as_text.access_token.reveal() == "b"


def test_the_usual_place_comes_first() -> None:
    entry = {"alternate_access_token_response_path": "authed_user"}
    found = token_set(entry, {"access_token": "bot", "authed_user": {"access_token": "u"}}, NOW)
    assert found is not None
    assert found.access_token.reveal() == "bot"


def test_an_entry_may_say_where_everything_stands() -> None:
    entry = {
        "token_exchange": {
            "response": {"root": "data", "access_token": "token", "expires_at": "expireTime"}
        }
    }
    found = token_set(entry, {"data": {"token": "a", "expireTime": 1_700_000_060_000}}, NOW)
    assert found is not None
    assert (found.access_token.reveal(), found.expires_at) == ("a", NOW + 60)


def test_an_entry_may_say_how_long_tokens_live() -> None:
    entry = {"default_expires_in": 600}
    silent = token_set(entry, {"access_token": "a"}, NOW)
    spoken = token_set(entry, {"access_token": "a", "expires_in": 60}, NOW)
    assert silent is not None
    assert spoken is not None
    assert (silent.expires_at, spoken.expires_at) == (NOW + 600, NOW + 60)


def test_a_token_set_shows_no_token() -> None:
    payload = {"access_token": "marked", "refresh_token": "marked"}
    assert "marked" not in repr(token_set({}, payload, NOW))
    assert json_answer(payload).json() == payload


@pytest.mark.parametrize(
    ("given", "kept"), [("new\n", "new"), ("\r\n a.b ", "a.b"), (12345678901, "12345678901")]
)
def test_a_token_is_read_without_what_surrounds_it_and_as_a_number(given, kept) -> None:
    found = token_set({}, {"access_token": given, "refresh_token": given}, NOW)
    assert found is not None
    assert found.refresh_token is not None
    assert (found.access_token.reveal(), found.refresh_token.reveal()) == (kept, kept)


NESTED = {
    "tokenData": {
        "access_token": "nested",
        "refresh_token": "r",
        "expires_in": 60_000,
        "scope": "a b",
    },
    "errors": [],
    "success": True,
}


@pytest.mark.parametrize("grant", ["exchange", "refresh", "client_credentials"])
@pytest.mark.parametrize(
    "entry",
    [
        {"alternate_access_token_response_path": "tokenData"},
        {"alternate_access_token_response_path": "tokenData.access_token"},
        {"token_exchange": {"response": {"root": "tokenData"}}},
        {"token_exchange": {"response": {"access_token": "tokenData.access_token"}}},
        {"token_exchange": {"response": {"access_token": "tokenData.access_token",
                                         "expires_in": "tokenData.expires_in"}}},
    ],
)  # fmt: skip
def test_a_field_of_an_entry_means_the_same_in_every_grant(grant, entry) -> None:
    found = token_set(entry, NESTED, NOW, grant, 3_300)
    assert found is not None
    assert found.access_token.reveal() == "nested"
    assert found.expires_at == NOW + 60_000
    assert found.granted_scopes == ("a", "b")
    assert found.refresh_token is not None
    assert found.raw.reveal() == NESTED


@pytest.mark.parametrize("grant", ["exchange", "refresh", "client_credentials"])
@pytest.mark.parametrize(
    ("entry", "fields", "life"),
    [
        ({"expires_in_unit": "milliseconds"}, {"expires_in": 7_200_000}, 7_200),
        ({"expires_in_unit": "milliseconds"}, {"expires_in": "7200000"}, 7_200),
        ({"expires_in_unit": "milliseconds"}, {}, 3_300),
        ({"expires_in_unit": "milliseconds"}, {"expires_in": "soon"}, 3_300),
        ({"token_expires_in_ms": 900_000}, {"expires_in": 7_200}, 900),
        ({"default_expires_in": 600}, {}, 600),
        ({"default_expires_in": 600}, {"expires_in": 60}, 60),
        ({"default_expires_in": 600}, {"expires_in": 0}, 600),
        ({}, {"expires": 7_200}, 7_200),
        ({}, {"expires": str(int(NOW) + 7_200)}, 7_200),
        ({}, {"expires_on": str(int(NOW) + 7_200)}, 7_200),
        ({}, {".expires": "Wed, 15 Nov 2023 00:13:20 GMT"}, 7_200),
        ({}, {"expiry": "2023-11-15T00:13:20Z"}, 7_200),
        ({}, {"expiration": "2023-11-15T00:13:20Z"}, 7_200),
        ({}, {"accessTokenExpiresAt": "2023-11-15T00:13:20Z"}, 7_200),
        ({}, {"access_token_expires_in": 7_200, "refresh_token_expires_in": 9}, 7_200),
        ({}, {"exp": int(NOW) + 7_200}, 7_200),
        ({"token_exchange": {"response": {"expires_in": "ttl"}}}, {"ttl": 7_200}, 7_200),
        ({"token_exchange": {"response": {"expires_in": "ttl"}}}, {"expires_in": 7_200}, 7_200),
    ],
)
def test_a_life_is_read_alike_in_every_grant(grant, entry, fields, life) -> None:
    found = token_set(entry, {"access_token": "a", **fields}, NOW, grant, 3_300)
    assert found is not None
    assert found.expires_at == NOW + life


SECOND = {"access_token": "b", "refresh_token": "r", "expires_in": 60}


@pytest.mark.parametrize(
    ("entry", "second", "life"),
    [
        ({"dual_tokens": True}, SECOND, 60),
        ({"dual_tokens": True}, {**SECOND, "expires_in": None, "expires_at": NOW + 30}, 30),
        ({"dual_tokens": True}, {**SECOND, "expires_in": 7_200}, 3_600),
        ({"dual_tokens": True}, {**SECOND, "expires_in": "soon"}, 3_600),
        ({"dual_tokens": True}, {**SECOND, "refresh_token": ""}, 3_600),
        ({"dual_tokens": True}, {**SECOND, "access_token": "a"}, 3_600),
        ({"dual_tokens": True}, "b", 3_600),
        ({"dual_tokens": True, "alternate_access_token_response_path": None}, SECOND, 3_600),
        ({"dual_tokens": False}, SECOND, 3_600),
        ({}, SECOND, 3_600),
    ],
)
def test_of_two_tokens_in_an_answer_the_one_that_ends_first_counts(entry, second, life) -> None:
    entry = {"alternate_access_token_response_path": "user", **entry}
    payload = {"access_token": "a", "expires_in": 3_600, "user": second}
    found = token_set(entry, payload, NOW)
    assert found is not None
    assert found.access_token.reveal() == "a"
    assert found.expires_at == NOW + life


def test_what_an_answer_says_of_its_token_is_kept() -> None:
    found = token_set({}, {"access_token": "a", "token_type": "DPoP", "scopes": "x y"}, NOW)
    assert found is not None
    assert (found.token_type, found.granted_scopes) == ("DPoP", ("x", "y"))
    found = token_set({}, {"access_token": "a", "scope": "x", "scopes": "x y"}, NOW)
    assert found is not None
    assert (found.token_type, found.granted_scopes) == ("bearer", ("x",))


def test_an_end_is_added_to_the_raw_answer_only_where_it_has_none_of_its_own() -> None:
    for fields, expected in (
        ({"expires_in": 60}, "2023-11-14T22:14:20.000Z"),
        ({"expires_in": 60, "expires_at": "later"}, "later"),
        ({"expires": 60}, None),
    ):
        found = token_set({}, {"access_token": "a", **fields}, NOW)
        assert found is not None
        assert found.expires_at == NOW + 60
        assert found.raw.reveal().get("expires_at") == expected


def test_a_token_without_an_end_is_none_by_the_word_of_its_entry() -> None:
    found = token_set({"token_expires_in_ms": 0}, {"access_token": "a", "expires_in": 5}, NOW)
    assert found is not None
    assert (found.expires_at, found.endless) == (None, True)


def test_a_refresh_may_be_answered_in_another_shape_than_the_exchange() -> None:
    entry = {
        "token_exchange": {"response": {"root": "data", "access_token": "token"}},
        "token_refresh": {"response": {"root": "renewed"}},
    }
    for payload, grant in (
        ({"data": {"token": "a"}}, "exchange"),
        ({"renewed": {"token": "a"}}, "refresh"),
        ({"access_token": "a"}, "refresh"),
        ({"data": {"access_token": "a"}}, "exchange"),
    ):
        found = token_set(entry, payload, NOW, grant)  # type: ignore[arg-type]
        assert found is not None
        assert found.access_token.reveal() == "a"


def test_a_client_alone_is_given_a_life_only_when_nobody_tells_one() -> None:
    ends = int(NOW) + 1_800
    for payload, expected in (
        ({"access_token": "opaque"}, NOW + 3_300),
        ({"access_token": jwt(exp=ends)}, ends),
        ({"access_token": jwt(exp=ends), "expires_in": 60}, NOW + 60),
        ({"data": {"token": jwt(exp=ends)}}, ends),
        ({"jwt": jwt(exp=ends)}, ends),
        ({"access_token": jwt(sub="x")}, NOW + 3_300),
    ):
        found = token_set({}, payload, NOW, "client_credentials", 3_300)
        assert found is not None
        assert found.expires_at == expected


def test_the_end_of_a_token_is_looked_for_in_it_when_the_answer_is_silent() -> None:
    token = jwt(exp=int(NOW) + 1_800)
    for entry, life in (
        ({}, 1_800),
        ({"default_expires_in": 600}, 600),
        ({"default_expires_in": 9_000}, 1_800),
    ):
        found = token_set(entry, {"access_token": token, "refresh_token": "r"}, NOW)
        assert found is not None
        assert found.expires_at == NOW + life
