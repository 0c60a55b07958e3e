"""Addresses of this deployment, made from the canonical public URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keystow.http.messages import Request


def connect_ui_url(request: Request) -> str:
    """Return where the Connect UI is, ending with a slash."""
    return f"{request.base_url}/ui/connect/"


def telemetry_cors(request: Request) -> dict[str, str]:
    """Return the CORS headers of /connect/telemetry, which browsers send with credentials."""
    return {
        "access-control-allow-origin": request.base_url,
        "access-control-allow-credentials": "true",
        "access-control-expose-headers": "content-type",
    }
