"""Connect UI: serves the page under /ui/connect/, and pictures of providers."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from keystow.errors import ApiError
from keystow.http.compression import takes_gzip
from keystow.http.handler import lambda_handler_for
from keystow.http.messages import Response
from keystow.pages import bundle
from keystow.pages.monogram import CONTENT_TYPE, monogram
from keystow.pages.sentences import DECLINING, SENTENCES

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.http.messages import Request

# Nothing to open before the first request.
NEEDS = ()

STATIC: Final = Path(__file__).parent / "static"
ROOT: Final = "/ui/connect"
LOGO: Final = re.compile(r"/ui/logos/([a-z0-9-]{1,64})\.svg\Z")
PAGES: Final = frozenset({"", "integrations", "go"})
"""Addresses inside the page that a person may reload or bookmark; all are the same document."""
FRESH_SECONDS: Final = 3_600
"""How long a browser shows the page without asking. So long an older page meets a newer API."""
LOGO_SECONDS: Final = 86_400


def modules() -> dict[str, str]:
    """Return the page's modules by file name, with the sentences for people among them."""
    found = {path.name: path.read_text() for path in STATIC.glob("*.js")}
    del found["first.js"]
    table = {code: [each.title, each.text] for code, each in SENTENCES.items()}
    found["sentences.js"] = (
        f"export const sentences = {json.dumps(table)};\n"
        f"export const declining = new RegExp({json.dumps(DECLINING.pattern)});\n"
    )
    return found


def _page() -> bundle.Document:
    return bundle.document(
        (STATIC / "index.html").read_text(),
        first=(STATIC / "first.js").read_text(),
        style=(STATIC / "connect.css").read_text(),
        modules=modules(),
    )


PAGE: Final = _page()


def serve(context: Context, request: Request) -> Response:
    """Answer the page, a picture, or the error envelope. HEAD is answered like GET.

    Raises:
        ApiError: ``not_found`` for anything else.
    """
    path = request.path
    logo = LOGO.search(path)
    if logo:
        return _picture(request, logo[1])
    _, found, inside = path.partition(ROOT)
    if found and (inside == "" or inside.startswith("/")) and inside.strip("/") in PAGES:
        return _document(context, request)
    raise ApiError("not_found", f"Nothing is served at {path}")


def _document(context: Context, request: Request) -> Response:
    """Return the page. It is the same for everybody, whatever the query holds."""
    packed = takes_gzip(request)
    headers = {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": _policy(request.base_url, context.settings.websocket_url),
        # The address may hold a token, which no shared cache needs for a key. A proxy that changed
        # the scripts would make others of them than the policy allows.
        "cache-control": f"private, no-transform, max-age={FRESH_SECONDS}",
        # Another token, theme or language in the address is no reason to load it again.
        "no-vary-search": "params",
        "vary": "accept-encoding",
    }
    if not packed:
        return _answer(request, PAGE.plain, PAGE.release, headers)
    headers["content-encoding"] = "gzip"
    return _answer(request, PAGE.packed, f"{PAGE.release}-gzip", headers)


def _picture(request: Request, provider: str) -> Response:
    body = monogram(provider).encode()
    lasting = {"content-type": CONTENT_TYPE, "cache-control": f"public, max-age={LOGO_SECONDS}"}
    return _answer(request, body, hashlib.sha256(body).hexdigest()[:32], lasting)


def _answer(request: Request, body: bytes, tag: str, headers: dict[str, str]) -> Response:
    etag = f'"{tag}"'
    headers = {
        **headers,
        "etag": etag,
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }
    known = request.headers.get("if-none-match", "")
    asked = {each.strip().removeprefix("W/") for each in known.split(",")}
    if etag in asked or "*" in asked:
        # RFC 9110 section 15.4.5: what a cache already has of it is not said again.
        for name in ("content-type", "content-encoding"):
            headers.pop(name, None)
        return Response(status=304, body=b"", headers=headers, cookies=())
    return Response(status=200, body=body, headers=headers, cookies=())


def _policy(base_url: str, websocket_url: str) -> str:
    """Content-Security-Policy: the page's own scripts, data of our own API, embeddable anywhere.

    The API's host is named beside ``'self'`` for WebSockets, since not every browser lets
    ``'self'`` stand for ``wss:`` of the same host.
    """
    sockets = []
    for url in (base_url, websocket_url):
        parts = urlsplit(url)
        if not parts.netloc:
            continue
        scheme = "wss" if parts.scheme in {"https", "wss"} else "ws"
        address = f"{scheme}://{parts.netloc}"
        if address not in sockets:
            sockets.append(address)
    return "; ".join(
        (
            "default-src 'none'",
            " ".join(("script-src", *PAGE.script_sources)),
            f"style-src {PAGE.style_source}",
            "img-src 'self' data:",
            " ".join(("connect-src 'self'", *sockets)),
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors *",
        )
    )


handler = lambda_handler_for({"GET /ui/{page+}": serve, "HEAD /ui/{page+}": serve})
