"""How tests open the Connect UI and look at it: as a link, or in a frame of a page of others."""

from tests.browser.stub import TOKEN


def link(page, stub, extra=""):
    page.goto(f"{stub.url}/ui/connect/?session_token={TOKEN}{extra}")
    return page


def embed(page, stub, extra=""):
    page.goto(f"{stub.host}/parent?lang=en{extra}")
    return page.frame_locator("#connect-ui")


def heading(surface):
    return surface.get_by_role("heading", level=1)


def told(page, kind):
    page.wait_for_function("kind => window.seen.some((one) => one.type === kind)", arg=kind)
    return page.evaluate("kind => window.seen.find((one) => one.type === kind)", kind)


def closed(popup):
    """Wait until a popup has closed itself, which it may have done already."""
    if not popup.is_closed():
        popup.wait_for_event("close")
