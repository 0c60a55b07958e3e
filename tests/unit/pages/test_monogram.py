"""Pictures of providers."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from keystow.pages.monogram import monogram
from tests.app import App
from tests.support import make_context


def test_a_picture_shows_the_initials_and_is_the_same_every_time() -> None:
    picture = ET.fromstring(monogram("google-mail"))
    assert picture[0].text == "GM"
    assert monogram("google-mail") == monogram("google-mail")
    assert monogram("google-mail") != monogram("github")


@pytest.mark.parametrize("provider", ["", "A", "a/b", "<svg>", "a" * 65])
def test_only_keys_of_providers_have_a_picture(provider: str) -> None:
    with pytest.raises(ValueError, match="not a provider"):
        monogram(provider)


def test_the_address_that_the_api_gives_answers_the_picture() -> None:
    app = App(make_context())
    found = app.get("/ui/logos/github.svg", key=None)
    assert (found.status, found.headers["content-type"]) == (200, "image/svg+xml")
    assert ET.fromstring(found.body)[0].text == "G"
    assert app.get("/ui/logos/../x.svg", key=None).status == 404
    assert app.get("/ui/logos/Git.svg", key=None).status == 404
