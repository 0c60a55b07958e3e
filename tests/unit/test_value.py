"""Frozen values with shared methods."""

from __future__ import annotations

import pytest

from keystow.value import Value, field, replace


class Point(Value):
    x: int
    y: int = 2
    tags: list[str] = field(default_factory=list)


class Named(Point):
    name: str = "p"


def test_fields_are_given_by_place_or_name_and_have_defaults() -> None:
    assert (Point(1).x, Point(1).y, Point(1, y=5).y, Point(x=3).x) == (1, 2, 5, 3)


def test_a_made_default_is_not_shared() -> None:
    assert Point(1).tags is not Point(1).tags


@pytest.mark.parametrize("wrong", [(), (1, 2, [], 4)])
def test_too_few_and_too_many_values_are_refused(wrong: tuple[object, ...]) -> None:
    with pytest.raises(TypeError):
        Point(*wrong)  # type: ignore[arg-type]


def test_unknown_names_are_refused() -> None:
    with pytest.raises(TypeError, match="takes no z"):
        Point(1, z=1)  # type: ignore[call-arg]


def test_a_value_cannot_be_changed() -> None:
    point = Point(1)
    with pytest.raises(AttributeError):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del point.x
    assert point.x == 1


def test_values_are_equal_when_their_class_and_fields_are() -> None:
    assert Point(1) == Point(1, 2)
    assert Point(1) != Point(2)
    assert Point(1) != Named(1)
    assert hash(Point(1, 2, ())) == hash(Point(1, 2, ()))  # type: ignore[arg-type]


def test_a_copy_may_differ() -> None:
    assert replace(Point(1), y=9) == Point(1, 9)
    assert replace(Named(1), name="q").name == "q"


def test_patterns_see_the_fields_in_order() -> None:
    match Named(1, 2, [], "n"):
        case Named(x, y, _, name):
            assert (x, y, name) == (1, 2, "n")
        case _:
            pytest.fail("no match")


def test_the_text_form_shows_the_fields() -> None:
    assert repr(Point(1)) == "Point(x=1, y=2, tags=[])"
