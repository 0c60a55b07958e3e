"""What the Connect UI looks like: theme, sizes, and the page around it."""

import base64

import pytest
from playwright.sync_api import expect

from tests.browser.stub import PROVIDERS
from tests.browser.surfaces import embed, heading, link

pytestmark = pytest.mark.full


def corner(page):
    """Return the colour of a screenshot's lower right corner, as red, green and blue."""
    address = "data:image/png;base64," + base64.b64encode(page.screenshot()).decode()
    return page.evaluate(
        """async (address) => {
          const image = new Image();
          image.src = address;
          await image.decode();
          const canvas = document.createElement('canvas');
          [canvas.width, canvas.height] = [image.width, image.height];
          const pen = canvas.getContext('2d');
          pen.drawImage(image, 0, 0);
          return [...pen.getImageData(image.width - 4, image.height - 4, 1, 1).data].slice(0, 3);
        }""",
        address,
    )


@pytest.mark.parametrize(
    ("theme", "scheme", "expected"),
    [
        ("light", "dark", "light"),
        ("dark", "light", "dark"),
        ("system", "dark", "dark"),
        ("", "dark", "dark"),
        ("", "light", "light"),
    ],
)
def test_theme_and_colour_follow_the_address_then_the_settings(page, stub, theme, scheme, expected):
    page.emulate_media(color_scheme=scheme)
    link(page, stub, f"&theme={theme}" if theme else "")
    expect(heading(page)).to_have_text("Connect GitHub")
    expect(page.locator("html")).to_have_attribute("data-theme", expected)
    colours = {"light": "rgb(31, 95, 191)", "dark": "rgb(134, 183, 255)"}
    button = page.get_by_role("button", name="Connect")
    expect(button).to_have_css("background-color", colours[expected])


@pytest.mark.parametrize("wanted", [True, False])
def test_the_watermark_stands_below_the_card_where_it_is_wanted(page, stub, wanted):
    stub.session["connectUISettings"]["showWatermark"] = wanted
    link(page, stub)
    expect(heading(page)).to_have_text("Connect GitHub")
    expect(page.get_by_text("Secured by Keystow")).to_be_visible(visible=wanted)
    card = page.locator("#card").bounding_box()
    height = page.evaluate("document.documentElement.clientHeight")
    below = height - card["y"] - card["height"]
    assert (below - card["y"] > 10) is wanted  # without it the card is in the middle


def test_on_a_phone_nothing_is_cut_off(page, stub):
    stub.offered = ["zendesk"]
    page.set_viewport_size({"width": 320, "height": 640})
    link(page, stub)
    expect(page.get_by_label("Subdomain")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


@pytest.mark.parametrize("embedded", [False, True])
def test_at_twice_the_size_everything_can_be_reached(page, stub, embedded):
    stub.offered = ["zendesk"]
    page.set_viewport_size({"width": 640, "height": 380})
    surface = embed(page, stub) if embedded else link(page, stub)
    expect(surface.get_by_label("Subdomain")).to_be_visible()
    button = surface.get_by_role("button", name="Connect")
    button.scroll_into_view_if_needed()
    expect(button).to_be_in_viewport(ratio=1)
    wide = surface.locator("html").evaluate("(root) => root.scrollWidth - root.clientWidth")
    assert wide == 0


def test_long_names_stay_inside_the_card(page, stub, monkeypatch):
    name = "Donaudampfschifffahrtsgesellschaftskapitaenskajuete" * 2
    monkeypatch.setitem(PROVIDERS, "stripe", {**PROVIDERS["stripe"], "display_name": name})
    stub.offered = ["stripe"]
    page.set_viewport_size({"width": 390, "height": 700})
    link(page, stub)
    expect(heading(page)).to_have_text(f"Connect {name}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    inside = page.locator("#card").evaluate("(card) => card.scrollWidth - card.clientWidth")
    assert inside == 0


@pytest.mark.parametrize("theme", ["system", "light", "dark"])
@pytest.mark.parametrize("system", ["light", "dark"])
def test_a_page_that_names_no_scheme_shows_through(page, stub, system, theme):
    page.emulate_media(color_scheme=system)
    page.goto(f"{stub.host}/parent?lang=en&theme={theme}")
    frame = page.frame_locator("#connect-ui")
    expect(heading(frame)).to_have_text("Connect GitHub")
    expect(frame.locator("html")).to_have_css("color-scheme", "light")
    red, green, blue = corner(page)
    assert blue > 60
    assert max(red, green) < 20


@pytest.mark.parametrize(
    ("system", "scheme", "theme"),
    [
        ("light", "normal", "system"),
        ("light", "light", "dark"),
        ("light", "light_dark", "system"),
        ("light", "light_dark", "dark"),
        ("dark", "light_dark", "system"),
        ("dark", "light", "system"),
        ("dark", "dark", "dark"),
        ("dark", "normal", "light"),
        ("dark", "normal", "dark"),
    ],
)
@pytest.mark.parametrize("same_origin", [False, True])
def test_the_page_around_it_shows_through(page, stub, system, scheme, theme, same_origin):
    page.emulate_media(color_scheme=system)
    base = stub.url if same_origin else stub.host
    # What the documentation asks of a page of another origin that has a dark scheme.
    told = "" if same_origin else "&frame_scheme=light"
    page.goto(f"{base}/parent?lang=en&scheme={scheme}&theme={theme}{told}")
    expect(heading(page.frame_locator("#connect-ui"))).to_have_text("Connect GitHub")
    red, green, blue = corner(page)
    assert blue > 60
    assert max(red, green) < 20


def test_a_dark_page_of_another_origin_that_does_not_help_is_dimmed_and_not_black(page, stub):
    page.emulate_media(color_scheme="dark")
    page.goto(f"{stub.host}/parent?lang=en&scheme=dark")
    expect(heading(page.frame_locator("#connect-ui"))).to_have_text("Connect GitHub")
    assert 50 < corner(page)[2] < 130
