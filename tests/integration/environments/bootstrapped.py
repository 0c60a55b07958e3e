"""A deployment as its owner has it after the bootstrap, through its routes."""

from __future__ import annotations

from typing import Any

from keystow.clock import iso
from keystow.environments import bootstrap
from tests.app import App
from tests.support import make_context


class Api:
    """A deployment after its bootstrap, and its account's key."""

    def __init__(self) -> None:
        self.ctx: Any = make_context()
        self.made = bootstrap.bootstrap(self.ctx)
        self.ctx.clock.advance(1)  # ids of one millisecond are in no order
        self.account = self.made["account_key"]
        self.dev, self.prod = self.made["environments"]
        self.keys = f"/environments/{self.dev['uuid']}/api-keys"
        self.app = App(self.ctx, self.account)

    def data(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        answer = self.app.call(method, path, body, **options)
        assert answer.status == 200, (method, path, answer.status, answer.body)
        return answer.json()["data"]

    def code(self, method: str, path: str, body: Any = None, **options: Any) -> str:
        answer = self.app.call(method, path, body, **options)
        assert 400 <= answer.status < 500, (method, path, answer.status, answer.body)
        return answer.json()["error"]["code"]

    def new(self, name: str, place: str | None = None, **more: Any) -> Any:
        body = {"display_name": name, **more}
        self.ctx.clock.advance(0.001)
        return self.data("POST", place or self.keys, body, key=self.account)

    def new_account_key(self, name: str, *scopes: str, **more: Any) -> Any:
        return self.new(name, "/account/api-keys", scopes=list(scopes), **more)

    def in_(self, seconds: float) -> str:
        return iso(self.ctx.clock.now() + seconds)

    def works(self, key: str) -> bool:
        status = self.app.get("/environment-variables", key=key).status
        assert status in {200, 401}
        return status == 200

    def activity(self, path: str = "/activity?type=environment") -> list[Any]:
        return self.app.get(path, key=self.dev["secret_key"]).json()["data"]
