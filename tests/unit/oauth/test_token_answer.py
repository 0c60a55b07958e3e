from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystow.oauth.token_answer import at, decoded, expiry, scopes_of, token_set
from tests.unit.oauth.doubles import NOW, json_answer, text_answer


@pytest.mark.parametrize(
    ("lives", "ends"),
    [
        (3600, NOW + 3600),
        ("3600", NOW + 3600),
        (" 3600 ", NOW + 3600),
        (3600.5, NOW + 3600.5),
        ("3599.9", NOW + 3599.9),
        (None, None),
        (0, None),
        ("0", None),
        (-1, None),
        ("", None),
        ("never", None),
        (True, None),
        ([], None),
        ({}, None),
        (float("inf"), None),
        (float("nan"), None),
        ("1e999", None),
        (10**400, None),
        (10**12, None),
    ],
)
def test_expires_in_is_read_in_every_shape_it_comes_in(lives, ends) -> None:
    assert expiry(None, lives, NOW) == ends


@pytest.mark.parametrize(
    "moment",
    [
        NOW + 60,
        int(NOW + 60),
        str(int(NOW + 60)),
        int((NOW + 60) * 1000),
        str(int((NOW + 60) * 1000)),
        "2023-11-14T22:14:20Z",
        "2023-11-14T22:14:20.000Z",
        "2023-11-14T23:14:20+01:00",
        "2023-11-14T22:14:20",
        "Tue, 14 Nov 2023 22:14:20 GMT",
    ],
)
def test_expires_at_is_read_in_every_shape_and_wins(moment) -> None:
    assert expiry(moment, 3600, NOW) == NOW + 60


@pytest.mark.parametrize("moment", [None, "", 0, -1, "soon", True, [], {}, "9" * 5000])
def test_an_unreadable_expires_at_leaves_the_word_to_expires_in(moment) -> None:
    assert expiry(moment, 3600, NOW) == NOW + 3600


_anything = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.datetimes().map(lambda moment: moment.isoformat())
    | st.integers(-(10**15), 10**15).map(str)
    | st.lists(st.integers(), max_size=2)
)


@settings(max_examples=500, deadline=None)
@given(_anything, _anything)
def test_no_expiry_is_ever_endless_or_an_exception(expires_at, expires_in) -> None:
    ends = expiry(expires_at, expires_in, NOW)
    assert ends is None or 0 < ends <= NOW + 100 * 366 * 86_400


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 10**9))
def test_a_life_in_seconds_means_the_same_as_number_and_as_text(seconds: int) -> None:
    assert expiry(None, seconds, NOW) == expiry(None, str(seconds), NOW) == NOW + seconds


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


@pytest.mark.parametrize("empty", ["", " ", None, 7, []])
def test_an_empty_refresh_token_is_none(empty) -> None:
    found = token_set({}, {"access_token": "a", "refresh_token": empty}, NOW)
    assert found is not None
    assert found.refresh_token is None


@pytest.mark.parametrize("empty", ["", " ", None, 7, {}])
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
