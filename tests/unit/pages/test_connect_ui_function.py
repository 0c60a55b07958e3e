"""The function that serves the Connect UI: documents, assets, caching, refusals."""

import importlib.util
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from keystow.errors import ApiError
from keystow.http.handler import Request

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


@pytest.mark.parametrize(
    "path", ["/ui/connect/", "/ui/connect", "/ui/connect/integrations", "/ui/connect/go"]
)
def test_every_address_of_the_page_gives_the_document(app, path):
    answer = ask(app, path)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert b'data-base="/ui/connect/"' in answer.body
    assert b"{{" not in answer.body


def test_a_base_path_of_the_public_address_is_kept(app):
    answer = ask(app, "/ui/connect/", base_url="https://example.com/keystow")
    assert b'data-base="/keystow/ui/connect/"' in answer.body


def test_every_asset_the_document_names_exists_and_lasts(app):
    document = ask(app, "/ui/connect/").body.decode()
    named = re.findall(r'(?:src|href)="(/[^"]+)"', document)
    assert len(named) >= 6
    for path in named:
        answer = ask(app, path)
        assert answer.status == 200
        assert "immutable" in answer.headers["cache-control"]
        kind = "text/css" if path.endswith(".css") else "text/javascript"
        assert answer.headers["content-type"] == f"{kind}; charset=utf-8"


def test_modules_import_only_files_that_are_there(app):
    for name, asset in app.ASSETS.items():
        if name.endswith(".js"):
            for imported in re.findall(r"from '\./([^']+)'", asset.body.decode()):
                assert imported in app.ASSETS


def test_an_asset_of_another_release_is_not_kept_by_caches(app):
    answer = ask(app, "/ui/connect/release-0000/main.js")
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-cache")


def test_an_unchanged_document_is_not_sent_again(app):
    first = ask(app, "/ui/connect/")
    again = ask(app, "/ui/connect/", if_none_match=f'W/{first.headers["etag"]}, "x"')
    assert (again.status, again.body) == (304, b"")
    assert ask(app, "/ui/connect/", if_none_match='"other"').status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/ui/connect/nothing.js",
        "/ui/connect/release-x/../../app.py",
        "/ui/connect/release-x/..%2f..%2fapp.py",
        "/ui/connect/release-x/app.py",
        "/ui/connect/../app.py",
        "/ui/connect/release-x//etc/passwd",
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
    policy = ask(app, "/ui/connect/").headers["content-security-policy"]
    parts = dict(part.split(" ", 1) for part in policy.split("; "))
    assert parts["default-src"] == "'none'"
    assert parts["script-src"] == parts["style-src"] == "'self'"
    assert parts["connect-src"] == "'self' wss://api.example wss://ws.example"
    assert parts["frame-ancestors"] == "*"


def test_without_a_known_socket_address_the_policy_stays_narrow(app):
    policy = ask(app, "/ui/connect/", websocket_url="").headers["content-security-policy"]
    assert "connect-src 'self' wss://api.example;" in policy


def test_the_page_loads_nothing_from_elsewhere(app):
    for name, asset in app.ASSETS.items():
        text = asset.body.decode().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"(src|href|url\(|import)[^\n]{0,20}https?://", text), name
        assert "innerHTML" not in text
        assert "localStorage" not in text
