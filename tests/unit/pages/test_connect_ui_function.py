"""The function that serves the Connect UI: one document, caching, compression, refusals."""

import importlib.util
import re
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from keystow.errors import ApiError
from keystow.http.handler import Request
from keystow.pages.layout import source
from tests.app import App
from tests.support import make_context

API = "https://api.example"


@pytest.fixture(scope="module")
def app():
    path = Path(__file__).parents[3] / "functions" / "connect_ui" / "app.py"
    spec = importlib.util.spec_from_file_location("connect_ui_under_test", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def ask(app, path, *, base_url=API, websocket_url="wss://ws.example/live", **headers):
    request = Request(
        method="GET",
        path=path,
        route="GET /ui/{page+}",
        path_params={},
        query={},
        raw_query="",
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        cookies={},
        body=b"",
        base_url=base_url,
    )
    context = SimpleNamespace(settings=SimpleNamespace(websocket_url=websocket_url))
    return app.serve(context, request)


def policy(answer):
    return dict(
        part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; ")
    )


@pytest.mark.parametrize(
    "path",
    [
        "/ui/connect/",
        "/ui/connect",
        "/ui/connect/integrations",
        "/ui/connect/go",
        "/base/ui/connect/",
    ],
)
def test_every_address_of_the_page_gives_the_same_document(app, path):
    answer = ask(app, path)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.body == app.PAGE.plain


def test_the_document_needs_no_other_file(app):
    text = app.PAGE.plain.decode()
    markup = re.sub(r"(<(script|style)[^>]*>).*?(</\2>)", r"\1\3", text, flags=re.DOTALL)
    assert "{{" not in markup
    assert re.findall(r'(?:src|href)="([^"]*)"', markup) == ["data:,"]
    assert not re.search(r"@import|url\(|\bimport\b", text)


def test_its_scripts_and_style_are_the_ones_that_its_policy_allows(app):
    answer = ask(app, "/ui/connect/")
    text = answer.body.decode()
    scripts = [source(each) for each in re.findall(r"<script[^>]*>(.*?)</script>", text, re.DOTALL)]
    (style,) = [source(each) for each in re.findall(r"<style>(.*?)</style>", text, re.DOTALL)]
    assert policy(answer)["script-src"] == " ".join(scripts)
    assert policy(answer)["style-src"] == style
    assert len(scripts) == 2


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip", True),
        ("gzip, deflate, br, zstd", True),
        ("br;q=1.0, GZIP;q=0.5", True),
        ("x-gzip", True),
        ("*", True),
        ("br, *;q=0.1", True),
        ("", False),
        ("identity", False),
        ("br", False),
        ("gzip;q=0", False),
        ("gzip; q=0.0, *", False),
        ("*;q=0", False),
        ("gzip;q=much", False),
    ],
)
def test_it_is_compressed_for_whoever_takes_that(app, accepted, packed):
    answer = ask(app, "/ui/connect/", accept_encoding=accepted)
    assert answer.headers.get("content-encoding") == ("gzip" if packed else None)
    assert answer.headers["vary"] == "accept-encoding"
    body = zlib.decompress(answer.body, 31) if packed else answer.body
    assert body == app.PAGE.plain


def test_it_fits_into_what_a_first_visit_may_cost(app):
    assert len(app.PAGE.packed) < 22_000


def test_a_browser_may_keep_it_for_an_hour_whatever_the_query_holds(app):
    headers = ask(app, "/ui/connect/").headers
    assert headers["cache-control"] == "private, no-transform, max-age=3600"
    assert headers["no-vary-search"] == "params"


@pytest.mark.parametrize("accepted", ["gzip", "identity"])
def test_an_unchanged_document_is_not_sent_again(app, accepted):
    first = ask(app, "/ui/connect/", accept_encoding=accepted)
    tag = first.headers["etag"]
    again = ask(app, "/ui/connect/", accept_encoding=accepted, if_none_match=f'W/{tag}, "x"')
    assert (again.status, again.body) == (304, b"")
    for name in ("etag", "cache-control", "vary", "no-vary-search", "content-security-policy"):
        assert again.headers[name] == first.headers[name]
    assert "content-type" not in again.headers
    assert "content-encoding" not in again.headers
    for other in ('"other"', "", tag.strip('"')):
        got = ask(app, "/ui/connect/", accept_encoding=accepted, if_none_match=other)
        assert got.status == 200
    assert ask(app, "/ui/connect/", if_none_match="*").status == 304


def test_one_form_of_the_document_is_not_taken_for_the_other(app):
    packed = ask(app, "/ui/connect/", accept_encoding="gzip").headers["etag"]
    assert ask(app, "/ui/connect/", if_none_match=packed).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/ui/connect/nothing.js",
        "/ui/connect/main.js",
        "/ui/connect/../app.py",
        "/ui/connect//etc/passwd",
        "/ui/connected",
        "/ui/other/",
        "/",
    ],
)
def test_anything_else_is_a_404_in_the_envelope(app, path):
    with pytest.raises(ApiError) as caught:
        ask(app, path)
    assert (caught.value.status, caught.value.code) == (404, "not_found")


def test_the_page_may_speak_to_its_own_api_and_socket_and_be_framed_by_anyone(app):
    parts = policy(ask(app, "/ui/connect/"))
    assert parts["default-src"] == parts["base-uri"] == parts["form-action"] == "'none'"
    assert parts["connect-src"] == "'self' wss://api.example wss://ws.example"
    assert parts["frame-ancestors"] == "*"
    assert "unsafe" not in str(parts)


def test_without_a_known_socket_address_the_policy_stays_narrow(app):
    assert policy(ask(app, "/ui/connect/", websocket_url=""))["connect-src"] == (
        "'self' wss://api.example"
    )


def test_the_page_loads_nothing_from_elsewhere(app):
    text = app.PAGE.plain.decode().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"(src|href|url\(|import)[^\n]{0,20}https?://", text)
    assert "innerHTML" not in text
    assert "localStorage" not in text


def test_head_is_answered_like_get():
    app = App(make_context())
    got, head = (app.call(method, "/ui/connect/", None, key=None) for method in ("GET", "HEAD"))
    assert (head.status, head.headers["etag"]) == (200, got.headers["etag"])
