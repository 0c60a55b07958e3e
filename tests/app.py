"""The whole API in one process: requests go through the template's routes to the real handlers."""

from __future__ import annotations

import base64
import importlib.util
import json
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from keystow import context as contexts
from local.payload import Arrival, event
from local.routing import Router
from local.template import load, routes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from keystow.context import Context

ROOT = Path(__file__).parents[1]
HOST = "keystow.test"


@dataclass(frozen=True)
class Result:
    """What the API answered."""

    status: int
    headers: dict[str, str]
    cookies: tuple[str, ...]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The error's code."""
        return str(self.json()["error"]["code"])

    @property
    def issues(self) -> list[tuple[str, list[str]]]:
        """Code and path of each issue."""
        return [(each["code"], each["path"]) for each in self.json()["error"]["errors"]]


@lru_cache
def router() -> tuple[Router, dict[str, str]]:
    """The template's routes, and the folder of each function."""
    template = load(ROOT / "template.yaml")
    folders = {
        name: Path(resource["Properties"]["CodeUri"]).name
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }
    return Router(routes(template)), folders


@lru_cache
def function(folder: str) -> ModuleType:
    """The module of a function's handler."""
    place = ROOT / "functions" / folder / "app.py"
    spec = importlib.util.spec_from_file_location(f"functions_{folder}_app", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def invoke(
    ctx: Context, folder: str, payload: Mapping[str, Any], lambda_context: Any = None
) -> Any:
    """Run a function's handler on a context."""
    contexts._current = ctx  # not restored: threads of one test would restore it over each other
    return function(folder).handler(payload, lambda_context)


class App:
    """Calls the API on a context.

    Args:
        ctx: what the functions work with.
        key: API key sent unless a call names another, or ``None``.
    """

    def __init__(self, ctx: Context, key: str | None = None) -> None:
        self.ctx = ctx
        self.key = key

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> Result:
        """Send a request, made as :meth:`asked` says."""
        folder, payload = self.asked(method, path, body, **options)
        found = invoke(self.ctx, folder, payload)
        text = found.get("body", "")
        answer = base64.b64decode(text) if found.get("isBase64Encoded") else text.encode()
        return Result(
            found["statusCode"], found.get("headers", {}), tuple(found.get("cookies", ())), answer
        )

    def asked(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = "",
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
        cookies: Mapping[str, str] | None = None,
    ) -> tuple[str, dict[str, Any]]:
        """The folder of the function that a request goes to, and the event that it gets.

        ``key`` "" means the app's own, None sends none.
        """
        place, _, query = path.partition("?")
        given = {"host": HOST, **{name.lower(): text for name, text in (headers or {}).items()}}
        chosen = self.key if key == "" else key
        if chosen and "authorization" not in given:
            given["authorization"] = f"Bearer {chosen}"
        content = raw if raw is not None else b""
        if body is not None:
            content = json.dumps(body).encode()
            given.setdefault("content-type", "application/json")
        if cookies:
            given["cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        table, folders = router()
        decoded = unquote(place)
        match = table.match(method, decoded)
        assert match is not None
        arrival = Arrival(method, decoded, query, list(given.items()), content, "127.0.0.1")
        payload = event(arrival, match, "request-1", self.ctx.clock.now())
        return folders[match.function], payload

    def get(self, path: str, **options: Any) -> Result:
        return self.call("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> Result:
        return self.call("POST", path, body, **options)

    def patch(self, path: str, body: Any = None, **options: Any) -> Result:
        return self.call("PATCH", path, body, **options)

    def put(self, path: str, body: Any = None, **options: Any) -> Result:
        return self.call("PUT", path, body, **options)

    def delete(self, path: str, body: Any = None, **options: Any) -> Result:
        return self.call("DELETE", path, body, **options)
