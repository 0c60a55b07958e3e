"""The end of a token is read in every form in which providers tell it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystow.oauth.token_life import end_in_jwt, expiry, moment, seconds_of
from tests.unit.oauth.doubles import NOW, jwt


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
        ("7200s", NOW + 7_200),
        ("7200 seconds", NOW + 7_200),
        ("120 min", NOW + 7_200),
        ("2h", NOW + 7_200),
        ("1 Day", NOW + 86_400),
        ("7200000ms", NOW + 7_200),
        ("PT2H", NOW + 7_200),
        ("2h0m0s", NOW + 7_200),
        ("119m60.0s", NOW + 7_200),
        ("7200 sec.", NOW + 7_200),
        ("PT7200S", NOW + 7_200),
        ("PT1H59M60.0S", NOW + 7_200),
        ("P1DT0H", NOW + 86_400),
        ("P", None),
        ("PT", None),
        ("02:00:00", NOW + 7_200),
        ("1.02:00:00", NOW + 93_600),
        ("7,200", NOW + 7_200),
        ("7 200", NOW + 7_200),
        ("1,000,000", NOW + 1_000_000),
        ("7,20", None),
        ([7200], NOW + 7_200),
        ([7200, 1], None),
        (int(NOW) + 7_200, NOW + 7_200),
        (str(int(NOW) + 7_200), NOW + 7_200),
        ((int(NOW) + 7_200) * 1_000, NOW + 7_200),
        ((int(NOW) + 7_200) * 1_000_000, NOW + 7_200),
        ("2023-11-15T00:13:20Z", NOW + 7_200),
        ("2023-11-15 00:13:20", NOW + 7_200),
        (int(NOW) - 60, None),
        (315_360_000, NOW + 315_360_000),
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
        "Tue, 14 Nov 2023 22:14:20 GMT",
    ],
)
def test_expires_at_is_read_in_every_shape_and_wins(moment) -> None:
    assert expiry(moment, 3600, NOW) == NOW + 60


@pytest.mark.parametrize(
    "unreadable",
    [
        *(
            None,
            "",
            0,
            -1,
            "soon",
            True,
            [],
            {},
            "9" * 5000,
            "10/10/2031 12:00:00 PM",
            "1970-01-01",
        ),
        *("9999-12-31T23:59:59Z", "0001-01-01T00:00:00", int(NOW) - 1, "2023-11-14T22:15:20"),
    ],
)
def test_an_expires_at_that_tells_nothing_leaves_the_word_to_expires_in(unreadable) -> None:
    assert expiry(unreadable, 3600, NOW) == NOW + 3600


@pytest.mark.parametrize(
    "date",
    [
        "2023-11-15T00:13:20",
        "2023-11-15 00:13:20",
        "2023-11-15 00:13:20 UTC",
        "2023-11-15T00:13:20 GMT",
        "2023-11-15T00:13:20.1234567Z",
        "2023-11-15T00:13:20.123456789+0000",
        "2023-11-15 02:13:20+02:00",
        "2023/11/15 00:13:20",
        "2023-11-15 00:13:20.5 +0000 UTC m=+7200.000000001",
        "Wed Nov 15 00:13:20 2023",
        "Wed, 15 Nov 2023 00:13:20 +0000",
        "/Date(1700007200000)/",
        "/Date(1700007200000+0100)/",
    ],
)
def test_a_date_is_read_in_every_form_that_can_mean_one_thing_only(date) -> None:
    found = moment(date)
    assert found is not None
    assert int(found) == NOW + 7_200
    assert int(expiry(None, date, NOW) or 0) == int(expiry(date, None, NOW) or 0) == NOW + 7_200


@pytest.mark.parametrize(
    "token",
    [
        "opaque",
        "a.b.c",
        "",
        "..",
        jwt(sub="x"),
        jwt(exp="soon"),
        jwt(exp=True),
        jwt(exp=int(NOW) - 1),
        jwt(exp=float("nan")),
        jwt(exp=10**30),
        jwt(header={"typ": "JWT"}, exp=int(NOW) + 60),
        jwt(header=[], exp=int(NOW) + 60),
        jwt(exp=int(NOW) + 60) + ".d",
        "\ud800.\ud800.a",
        "[" * 90_000 + ".e30.x",
    ],
)
def test_a_token_that_tells_no_end_of_its_own_has_none(token) -> None:
    assert end_in_jwt(token, NOW) is None


@pytest.mark.parametrize(
    "ends", [int(NOW) + 60, str(int(NOW) + 60), NOW + 60.0, (int(NOW) + 60) * 1000]
)
def test_the_end_of_a_jwt_is_read(ends) -> None:
    assert end_in_jwt(jwt(exp=ends), NOW) == NOW + 60


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.text("0123456789.,:PTDHMS-/ Z+", max_size=40))
def test_no_text_is_too_odd_for_a_life(text) -> None:
    for found in (seconds_of(text), moment(text), expiry(text, text, NOW)):
        assert found is None or isinstance(found, float)


_anything = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.datetimes().map(lambda date: date.isoformat())
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
