"""Connect UI: serves the pages and assets under /ui/connect/, and pictures of providers."""

from __future__ import annotations

import hashlib
import json
import mimetypes
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from keystow.errors import ApiError
from keystow.http.handler import lambda_handler_for
from keystow.http.messages import Response
from keystow.pages.monogram import CONTENT_TYPE, monogram
from keystow.pages.sentences import DECLINING, SENTENCES

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.http.messages import Request

STATIC: Final = Path(__file__).parent / "static"
ROOT: Final = "/ui/connect"
LOGO: Final = re.compile(r"/ui/logos/([a-z0-9-]{1,64})\.svg\Z")
PAGES: Final = frozenset({"", "integrations", "go"})
"""Addresses inside the page that a person may reload or bookmark; all are the same document."""


@dataclass(frozen=True)
class Asset:
    """A file as it is sent."""

    body: bytes
    content_type: str


def _load() -> tuple[dict[str, Asset], str]:
    """Read every asset once; the release is a hash of all of them and part of their address."""
    mimetypes.add_type("text/javascript", ".js")
    assets: dict[str, Asset] = {}
    digest = hashlib.sha256()
    for path in sorted(STATIC.iterdir()):
        if not path.is_file():
            continue
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        if kind.startswith("text/"):
            kind += "; charset=utf-8"
        assets[path.name] = Asset(path.read_bytes(), kind)
    assets["sentences.js"] = Asset(_sentences().encode(), "text/javascript; charset=utf-8")
    for name in sorted(assets):
        digest.update(name.encode() + b"\0" + assets[name].body)
    return assets, digest.hexdigest()[:16]


def _sentences() -> str:
    """Return the sentences for people as a script: one table for all pages."""
    table = {code: [each.title, each.text] for code, each in SENTENCES.items()}
    return (
        "// What each code means to people; made of keystow.pages.sentences.\n"
        f"export const sentences = {json.dumps(table)};\n"
        f"export const declining = new RegExp({json.dumps(DECLINING.pattern)});\n"
    )


ASSETS, RELEASE = _load()


def serve(context: Context, request: Request) -> Response:
    """Answer the document, an asset of this release, or the error envelope.

    Only names found at start-up can be asked for, so no path leads out of the folder.

    Raises:
        ApiError: ``not_found`` for anything else.
    """
    path = request.path
    logo = LOGO.search(path)
    if logo:
        picture = Asset(monogram(logo[1]).encode(), CONTENT_TYPE)
        return _answer(request, picture, {"cache-control": "public, max-age=86400"})
    cut = path.find(ROOT)
    inside = path[cut + len(ROOT) :] if cut >= 0 else path
    if cut < 0 or not (inside == "" or inside.startswith("/")):
        raise ApiError("not_found", f"Nothing is served at {path}")
    parts = inside.strip("/").split("/")
    if len(parts) == 1 and parts[0] in PAGES:
        return _document(context, request)
    name = parts[-1]
    if len(parts) == 2 and parts[0].startswith("release-") and name in ASSETS:  # noqa: PLR2004
        return _asset(request, name, current=parts[0] == f"release-{RELEASE}")
    raise ApiError("not_found", f"Nothing is served at {path}")


def _document(context: Context, request: Request) -> Response:
    base = urlsplit(request.base_url).path.rstrip("/") + ROOT + "/"
    body = (
        ASSETS["index.html"]
        .body.decode()
        .replace("{{base}}", base)
        .replace("{{assets}}", f"{base}release-{RELEASE}")
        .encode()
    )
    return _answer(
        request,
        Asset(body, "text/html; charset=utf-8"),
        {
            "cache-control": "no-cache",
            "content-security-policy": _policy(request.base_url, context.settings.websocket_url),
        },
    )


def _asset(request: Request, name: str, *, current: bool) -> Response:
    lasting = "public, max-age=31536000, immutable"
    return _answer(request, ASSETS[name], {"cache-control": lasting if current else "no-cache"})


def _answer(request: Request, asset: Asset, headers: dict[str, str]) -> Response:
    etag = '"' + hashlib.sha256(asset.body).hexdigest()[:32] + '"'
    headers = {
        **headers,
        "content-type": asset.content_type,
        "etag": etag,
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }
    asked = request.headers.get("if-none-match", "")
    if etag in {tag.strip().removeprefix("W/") for tag in asked.split(",")}:
        return Response(status=304, body=b"", headers=headers, cookies=())
    return Response(status=200, body=asset.body, headers=headers, cookies=())


def _policy(base_url: str, websocket_url: str) -> str:
    """Content-Security-Policy: scripts and data from our own API only, embeddable anywhere.

    The API's host is named beside ``'self'`` for WebSockets, since not every browser lets
    ``'self'`` stand for ``wss:`` of the same host.
    """
    sockets = []
    for url in (base_url, websocket_url):
        parts = urlsplit(url)
        if not parts.netloc:
            continue
        scheme = "wss" if parts.scheme in {"https", "wss"} else "ws"
        source = f"{scheme}://{parts.netloc}"
        if source not in sockets:
            sockets.append(source)
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            " ".join(("connect-src 'self'", *sockets)),
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors *",
        )
    )


handler = lambda_handler_for({"GET /ui/{page+}": serve})
