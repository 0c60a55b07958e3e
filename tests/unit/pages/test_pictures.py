"""The pictures that the Connect UI draws, beside those that the API answers."""

from __future__ import annotations

import json
import re
from pathlib import Path

from keystow.pages.monogram import monogram
from tests.node import run


def shown(folder: Path, expression: str) -> object:
    """Return what an expression gives beside the module of pictures."""
    script = (
        "globalThis.window = {location: {pathname: '/base/ui/connect/go', "
        "origin: 'https://api.example'}};\n"
        "const {colourOf, initialsOf, ownLogo} = await import('./pictures.js');\n"
        f"console.log(JSON.stringify({expression}));\n"
    )
    return run(folder, ("api.js", "pictures.js"), script)


def test_a_provider_has_the_colour_that_the_api_gives_it(tmp_path: Path) -> None:
    keys = ["github", "google-mail", "slack", "a", "x-1", "zendesk", "stripe", "hubspot", "notion"]
    colours = [re.findall(r'fill="(#[0-9a-f]{6})"', monogram(key))[0] for key in keys]
    assert len(set(colours)) > 3
    assert shown(tmp_path, f"{json.dumps(keys)}.map(colourOf)") == colours


def test_initials_are_letters_or_digits_of_two_words_at_most(tmp_path: Path) -> None:
    wanted = {
        "GitHub": "G",
        "Old Faithful": "OF",
        "  (Sandbox) my-app two": "SM",
        "3 com": "3C",
        "élan": "É",
        "\u05e2\u05d9\u05e8 \u05d2": "\u05e2\u05d2",
        "\U0001f600": "",
        "": "",
    }
    found = shown(tmp_path, f"{json.dumps(list(wanted))}.map(initialsOf)")
    assert found == list(wanted.values())


def test_only_a_logo_of_ones_own_on_our_origin_is_loaded(tmp_path: Path) -> None:
    wanted = {
        "https://api.example/base/ui/logos/github.svg": "",
        "https://api.example/logos/github.svg": "https://api.example/logos/github.svg",
        "/logos/a.png": "https://api.example/logos/a.png",
        "https://elsewhere.example/a.svg": "",
        "data:image/svg+xml,x": "",
        "http://[": "",
    }
    found = shown(tmp_path, f"{json.dumps(list(wanted))}.map((logo) => ownLogo({{logo}}))")
    assert found == list(wanted.values())
    assert shown(tmp_path, "[{}, {logo: ''}, {logo: null}].map(ownLogo)") == ["", "", ""]
