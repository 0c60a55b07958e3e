"""What the demo app knows of its connections, learned as a customer's backend would learn it.

It reads a connection when it is new, when the provider's log shows a refresh, and shortly before
its token ends; it never reads for the sake of looking, since a read of a token with under a
minute left refreshes it and the page is to show what happens by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import httpx

from local.demo.provider_store import fingerprint
from local.demo.registration import API_KEY, OAUTH, Stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SHOWN = 20
REFRESHES_SHOWN = 20
REFRESHES_KEPT = 200
TICK_S = 1.0
NEARLY_OVER_S = 8.0
KEEP_ALIVE_S = 15.0


@dataclass
class Seen:
    """A connection as the page shows it; the credential itself is never part of it."""

    id: str
    integration: str
    created: str
    masked: str = ""
    expires_at: float | None = None
    life_s: float | None = None
    refreshes: int = 0
    family: str = ""
    mark: str = ""
    trouble: str = ""
    read_at: float = 0


class Watch:
    """The connections of the demo integrations, and everybody who looks at them."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._seen: dict[str, Seen] = {}
        self._listeners: set[asyncio.Queue[tuple[str, Any]]] = set()
        self._task: asyncio.Task[None] | None = None
        self._after = 0
        self._families: dict[str, str] = {}
        self._refreshes: dict[str, int] = {}
        self._owners: dict[str, str] = {}
        self._history: deque[dict[str, Any]] = deque(maxlen=REFRESHES_KEPT)
        self._wake = asyncio.Event()

    def api(self) -> httpx.AsyncClient:
        """Return a client of Keystow's API with the backend's secret key."""
        return httpx.AsyncClient(
            base_url=self._stack.api_url,
            headers={"authorization": f"Bearer {self._stack.secret_key}"},
            timeout=40,
            trust_env=False,
        )

    def provider(self) -> httpx.AsyncClient:
        """Return a client of the demo provider."""
        return httpx.AsyncClient(
            base_url=self._stack.demo_provider_url, timeout=10, trust_env=False
        )

    def connections(self) -> list[dict[str, Any]]:
        """Return what the page shows, newest first."""
        newest = sorted(self._seen.values(), key=lambda one: one.created, reverse=True)
        return [asdict(one) for one in newest]

    def refreshes(self) -> list[dict[str, Any]]:
        """Return the latest refreshes, oldest first, at the times the provider's log gives."""
        known = [entry for entry in self._history if (entry["family"] or "") in self._owners]
        return [self._event(entry) for entry in known[-REFRESHES_SHOWN:]]

    def _event(self, entry: dict[str, Any]) -> dict[str, Any]:
        return {
            "entry": entry["id"],
            "id": self._owners[entry["family"] or ""],
            "ok": entry["outcome"] == "ok",
            "why": entry["outcome"],
            "time": entry["ended"] or entry["time"],
        }

    def tell(self, kind: str, value: Any) -> None:
        """Send something to everybody who listens."""
        for listener in list(self._listeners):
            with contextlib.suppress(asyncio.QueueFull):
                listener.put_nowait((kind, value))

    def stop(self) -> None:
        """End every stream, so that a server that shuts down need not wait for them."""
        self.tell("end", None)

    def look(self) -> None:
        """Look for new and gone connections soon."""
        self._wake.set()

    async def listen(self) -> AsyncIterator[tuple[str, Any]]:
        """Yield what happens; ``("", None)`` now and then keeps the line open."""
        queue: asyncio.Queue[tuple[str, Any]] = asyncio.Queue(maxsize=500)
        self._listeners.add(queue)
        self._wake.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        try:
            yield "connections", self.connections()
            yield "refreshes", self.refreshes()
            while True:
                try:
                    kind, value = await asyncio.wait_for(queue.get(), KEEP_ALIVE_S)
                except TimeoutError:
                    kind, value = "", None
                if kind == "end":
                    return
                yield kind, value
        finally:
            self._listeners.discard(queue)

    async def _run(self) -> None:
        """Watch for as long as anybody looks."""
        while self._listeners:
            try:
                await self._follow_log()
                if self._wake.is_set():
                    self._wake.clear()
                    await self._list()
                await self._read_what_ends()
            except (httpx.HTTPError, ValueError, KeyError) as error:
                self.tell("trouble", f"The stack does not answer ({type(error).__name__})")
                await asyncio.sleep(2)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), TICK_S)

    async def _list(self) -> None:
        async with self.api() as api:
            answer = await api.get("/connections", params={"limit": 100})
            answer.raise_for_status()
            rows = [
                row
                for row in answer.json()["connections"]
                if row["provider_config_key"] in {OAUTH, API_KEY}
            ]
            rows.sort(key=lambda row: str(row["created"]), reverse=True)
            rows = rows[:SHOWN]
            kept = {row["connection_id"] for row in rows}
            came = False
            self._seen = {key: one for key, one in self._seen.items() if key in kept}
            for row in rows:
                if row["connection_id"] not in self._seen:
                    one = Seen(row["connection_id"], row["provider_config_key"], row["created"])
                    self._seen[one.id] = one
                    await self._read(api, one)
                    came = True
        self.tell("connections", self.connections())
        if came:  # the log was read before it was known whose refreshes it tells of
            self.tell("refreshes", self.refreshes())

    async def _read(self, api: httpx.AsyncClient, one: Seen, *, force: bool = False) -> None:
        """Fetch the credential as a backend does, and keep only what may be shown."""
        query = {"provider_config_key": one.integration}
        if force:
            query["force_refresh"] = "true"
        answer = await api.get(f"/connections/{one.id}", params=query)
        one.read_at = time.time()
        body = answer.json()
        if answer.is_error:
            error = body.get("error", {})
            one.trouble = str(error.get("message") or error.get("code") or answer.status_code)
            return
        one.trouble = ""
        credentials = body.get("credentials") or {}
        token = str(credentials.get("access_token") or credentials.get("apiKey") or "")
        one.masked = mask(token)
        mark = fingerprint(token)
        ends = credentials.get("expires_at")
        if ends:
            one.expires_at = datetime.fromisoformat(str(ends)).timestamp()
            if mark != one.mark:
                raw_life = (credentials.get("raw") or {}).get("expires_in")
                one.life_s = float(raw_life or one.expires_at - time.time())
        one.mark = mark
        self._place(one)

    def _place(self, one: Seen) -> bool:
        """Say of which family a connection's token is, as far as the log has told; is that news?"""
        before = (one.family, one.refreshes)
        one.family = self._families.get(one.mark, one.family)
        one.refreshes = self._refreshes.get(one.family, one.refreshes)
        if one.family:
            self._owners[one.family] = one.id
        return (one.family, one.refreshes) != before

    async def token_of(self, connection_id: str) -> tuple[Seen, str]:
        """Return a connection and its working credential, for use on the backend.

        Raises:
            KeyError: there is no such connection.
            httpx.HTTPStatusError: the API did not give the credential.
        """
        one = self._seen[connection_id]
        async with self.api() as api:
            answer = await api.get(
                f"/connections/{one.id}", params={"provider_config_key": one.integration}
            )
        answer.raise_for_status()
        credentials = answer.json()["credentials"]
        return one, str(credentials.get("access_token") or credentials.get("apiKey") or "")

    async def refresh(self, connection_id: str) -> tuple[Seen, bool]:
        """Refresh a connection now; return it and whether that brought another credential.

        Raises:
            KeyError: there is no such connection.
        """
        one = self._seen[connection_id]
        before = one.mark
        async with self.api() as api:
            await self._read(api, one, force=True)
        self.tell("connections", self.connections())
        return one, one.mark != before

    async def delete(self, connection_id: str) -> httpx.Response:
        """Delete a connection. Raises KeyError when there is none."""
        one = self._seen[connection_id]
        async with self.api() as api:
            answer = await api.delete(
                f"/connections/{one.id}", params={"provider_config_key": one.integration}
            )
        self.look()
        return answer

    async def _follow_log(self) -> None:
        """Read the provider's log: it knows of every refresh, whoever asked for it."""
        async with self.provider() as provider:
            answer = await provider.get("/log", params={"after": self._after})
        answer.raise_for_status()
        fresh: list[dict[str, Any]] = []
        for entry in answer.json()["entries"]:
            if entry["ended"] is None and entry["time"] > time.time() - 60:
                break  # in progress; what follows is read again next time
            self._after = entry["id"]
            family, grant = entry["family"] or "", entry["grant_type"]
            if entry["fingerprint"]:
                self._families[entry["fingerprint"]] = family
            if grant == "refresh_token" and entry["outcome"] == "ok":
                self._refreshes[family] = self._refreshes.get(family, 0) + 1
            if grant == "refresh_token":
                fresh.append(entry)
                self._history.append(entry)
        self._place_all()
        by_family = {one.family: one for one in self._seen.values() if one.family}
        latest: dict[str, dict[str, Any]] = {}
        for entry in fresh:
            family = entry["family"] or ""
            if family in by_family:
                self.tell("refresh", self._event(entry))
                if entry["outcome"] == "ok":
                    latest[family] = entry
        for family, entry in latest.items():
            await self._after_refresh(by_family[family], entry)

    def _place_all(self) -> None:
        """Say of all connections what the log has told: it may do so later than the list."""
        news = [one for one in self._seen.values() if self._place(one)]
        if news:
            self.tell("connections", self.connections())
            self.tell("refreshes", self.refreshes())

    async def _after_refresh(self, one: Seen, entry: dict[str, Any]) -> None:
        async with self.api() as api:
            for _ in range(10):  # the provider answers a moment before the answer is stored
                await asyncio.sleep(0.4)
                await self._read(api, one)
                if one.mark == entry["fingerprint"] or one.trouble:
                    break
        self.tell("connections", self.connections())

    async def _read_what_ends(self) -> None:
        now = time.time()
        due = [
            one
            for one in self._seen.values()
            if one.expires_at is not None
            and one.expires_at - now < NEARLY_OVER_S
            and now - one.read_at > NEARLY_OVER_S
        ]
        if not due:
            return
        async with self.api() as api:
            for one in due:
                await self._read(api, one)
        self.tell("connections", self.connections())


def mask(token: str) -> str:
    """Return a token with only its beginning and its end left: enough to see that it changed."""
    if not token:
        return ""
    return f"{token[:8]}……{token[-4:]}"
