"""What a page asks for, as Chromium saw it on the wire (Chrome DevTools Protocol, Network)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Asked:
    """One request: its path and query, whether the cache answered, bytes received with headers."""

    url: str
    cached: bool = False
    size: int = 0
    status: int = 0


class Wire:
    """Every HTTP request of a page and its frames to one origin, from now on."""

    def __init__(self, page, origin):
        self.origin = origin
        self._found = {}
        self._session = page.context.new_cdp_session(page)
        self._session.on("Network.requestWillBeSent", self._sent)
        self._session.on("Network.requestServedFromCache", self._from_cache)
        self._session.on("Network.responseReceived", self._answered)
        self._session.on("Network.loadingFinished", self._done)
        self._session.send("Network.enable")

    def _sent(self, event):
        address = event["request"]["url"]
        if address.startswith(self.origin + "/"):
            self._found[event["requestId"]] = Asked(address.removeprefix(self.origin))

    def _at(self, event):
        return self._found.get(event["requestId"], Asked(""))

    def _from_cache(self, event):
        self._at(event).cached = True

    def _answered(self, event):
        asked = self._at(event)
        answer = event["response"]
        asked.cached = asked.cached or answer.get("fromDiskCache", False)
        asked.status = answer["status"]
        asked.size = int(answer["encodedDataLength"])

    def _done(self, event):
        self._at(event).size = int(event["encodedDataLength"])

    def take(self):
        """Return what was asked since the last time."""
        found, self._found = list(self._found.values()), {}
        return found
