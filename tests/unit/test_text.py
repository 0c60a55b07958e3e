"""What is cut from pasted text, and what is not."""

from __future__ import annotations

import pytest

from keystow.text import trimmed

AROUND = [
    "",
    " ",
    "\n",
    "\r\n",
    "\t",
    "\u00a0",
    "\u200b",
    "\ufeff",
    "\u2003\u200b \u2060",
    "\u00ad",
]


@pytest.mark.parametrize("before", AROUND)
@pytest.mark.parametrize("after", AROUND)
def test_white_space_around_a_text_is_cut_whatever_its_width(before, after):
    assert trimmed(f"{before}key{after}") == "key"


@pytest.mark.parametrize("inside", ["a b", "a\u00a0b", "a\u200bb", "a\nb"])
def test_what_stands_inside_stays(inside):
    assert trimmed(f" {inside} ") == inside


def test_nothing_but_white_space_is_nothing():
    assert trimmed(" \u200b\n\u00a0\ufeff") == ""
