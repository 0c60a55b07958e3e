"""What can go wrong on the demo provider's token endpoint, and the switches for it."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from flask import Response, request

if TYPE_CHECKING:
    from collections.abc import Iterator

DRIP_PAUSE_S = 1.0


@dataclass
class Faults:
    """What goes wrong on the token endpoint, and how often.

    ``token_delay_s`` waits after the tokens were rotated, before the answer; ``delay_before_s``
    waits before anything happens. ``drop_after_rotation`` (a count) rotates and then cuts the
    line without an answer; ``status_after_rotation`` rotates and answers that status. ``status``
    answers a status and rotates nothing. ``expires_in`` puts any value in the answer.
    ``grant_type`` narrows all of it to one grant, ``remaining`` to so many requests.
    """

    token_delay_s: float = 0
    delay_before_s: float = 0
    drop_after_rotation: int = 0
    status: int = 0
    status_after_rotation: int = 0
    retry_after: int = 0
    invalid_grant: bool = False
    slow_drip: bool = False
    not_json: bool = False
    redirect: bool = False
    no_expires_in: bool = False
    expires_in: Any = None
    no_refresh_token: bool = False
    empty_refresh_token: bool = False
    fewer_scopes: bool = False
    grant_type: str = ""
    remaining: int | None = None


class Switchboard:
    """The faults that are on; every token request takes its share."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults = Faults()

    def set(self, wanted: dict[str, Any]) -> Faults:
        """Turn faults on; ``{"reset": true}`` first turns all off. Raises ValueError."""
        wanted = dict(wanted)
        with self._lock:
            if wanted.pop("reset", False):
                self._faults = Faults()
            unknown = set(wanted) - {field.name for field in fields(Faults)}
            if unknown:
                raise ValueError(f"unknown faults: {', '.join(sorted(unknown))}")
            self._faults = Faults(**{**asdict(self._faults), **wanted})
            return self._faults

    def current(self) -> Faults:
        """Return what is on now."""
        with self._lock:
            return Faults(**asdict(self._faults))

    def take(self, grant_type: str) -> Faults:
        """Return the faults of one request, counting down those that are counted."""
        with self._lock:
            on = self._faults
            if (on.grant_type and on.grant_type != grant_type) or on.remaining == 0:
                return Faults()
            taken = Faults(**asdict(on))
            if on.remaining is not None:
                on.remaining -= 1
            if on.drop_after_rotation:
                on.drop_after_rotation -= 1
            return taken


def json_answer(value: dict[str, Any], status: int) -> Response:
    """Return JSON with a status."""
    return Response(json.dumps(value), status=status, content_type="application/json")


def early_fault(on: Faults) -> Response | None:
    """Return the answer of a fault that strikes before anything is rotated, if one is on."""
    if on.redirect:
        return Response("", status=302, headers={"Location": "/api/me"})
    if on.status:
        response = json_answer({"error": "temporarily_unavailable"}, on.status)
        if on.retry_after:
            response.headers["Retry-After"] = str(on.retry_after)
        return response
    if on.invalid_grant:
        return json_answer({"error": "invalid_grant"}, 400)
    return None


def late_fault(on: Faults, response: Response) -> Response:
    """Return what becomes of a good answer after the tokens were rotated."""
    body = response.get_json(silent=True)
    if response.status_code != 200 or not isinstance(body, dict):  # noqa: PLR2004
        return response
    time.sleep(on.token_delay_s)
    if on.status_after_rotation:
        return json_answer({"error": "server_error"}, on.status_after_rotation)
    if on.not_json:
        return Response("<html>A proxy was here</html>", content_type="text/html")
    if on.no_expires_in:
        body.pop("expires_in", None)
    if on.expires_in is not None:
        body["expires_in"] = on.expires_in
    if on.no_refresh_token:
        body.pop("refresh_token", None)
    if on.empty_refresh_token:
        body["refresh_token"] = ""
    if on.fewer_scopes:
        body["scope"] = ""
    text = json.dumps(body)
    if on.slow_drip:
        return Response(_drip(text), content_type="application/json")
    return Response(text, content_type="application/json", headers={"Pragma": "no-cache"})


def _drip(text: str) -> Iterator[str]:
    for character in text:
        time.sleep(DRIP_PAUSE_S)
        yield character


def cut_the_line() -> None:
    """Close the connection under the answer, which then never arrives."""
    line = request.environ.get("werkzeug.socket")
    if isinstance(line, socket.socket):
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)
