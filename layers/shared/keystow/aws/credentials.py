"""The function's own credentials: from its environment, or from the container's endpoint.

Lambda puts them into environment variables; where SnapStart restores a function, it names an
endpoint on the same machine instead, since what is in memory is older than the container. Such
credentials end and are asked for anew before they do.
"""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from keystow.aws.errors import AwsError, AwsUnanswered
from keystow.aws.wire import Origin, request_of
from keystow.clock import parse_iso
from keystow.secret import Secret
from keystow.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RENEW_SECONDS: Final = 600  # before their end, new ones are asked for
PAUSE_SECONDS: Final = 30  # after a failure, while the present ones are still good
_ATTEMPTS: Final = 3
_SECONDS: Final = 2.0  # to connect, and for each part of the answer
_CONTAINER_HOST: Final = "169.254.170.2"
# The endpoints of containers; any other host has to prove by TLS who it is.
_PLAIN_HOSTS: Final = {_CONTAINER_HOST, "169.254.170.23", "fd00:ec2::23", "localhost"}
_OK: Final = 200


class Keys(Value):
    """What requests are signed with; ``ends`` in epoch seconds, None: not known, or never."""

    id: str
    secret: Secret[str]
    token: Secret[str] | None = None
    ends: float | None = None


class Credentials:
    """The keys of this function; threads may share it.

    Args:
        variables: environment variables.
        now: epoch seconds.
        sleep: waits.
    """

    def __init__(
        self,
        variables: Mapping[str, str] | None = None,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._variables = os.environ if variables is None else variables
        self._now = now
        self._sleep = sleep
        self._keys: Keys | None = None
        self._not_before = 0.0
        self._lock = threading.Lock()

    def current(self) -> Keys:
        """Return the keys to sign with.

        Raises:
            AwsUnanswered: there are none (``CredentialsUnavailable``).
        """
        keys = self._keys
        if keys is not None and (keys.ends is None or self._now() < keys.ends - RENEW_SECONDS):
            return keys
        with self._lock:
            keys = self._keys
            now = self._now()
            if keys is not None and keys.ends is not None:
                if now < keys.ends - RENEW_SECONDS:
                    return keys
                if now < min(self._not_before, keys.ends):
                    return keys
            try:
                self._keys = self._found()
            except AwsError:
                if keys is None or keys.ends is None or now >= keys.ends:
                    raise
                self._not_before = now + PAUSE_SECONDS
                return keys
            return self._keys

    def renewed(self, refused: Keys) -> bool:
        """Look for other keys than those that AWS takes for ended; return whether there are."""
        with self._lock:
            if self._keys is not None and self._keys is not refused:
                return True
            try:
                found = self._found()
            except AwsError:
                return False
            if found == refused:
                return False
            self._keys = found
            return True

    def _found(self) -> Keys:
        given = self._variables
        key_id, secret = given.get("AWS_ACCESS_KEY_ID"), given.get("AWS_SECRET_ACCESS_KEY")
        if key_id and secret:
            return _keys(key_id, secret, given.get("AWS_SESSION_TOKEN"), None)
        relative = given.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
        if relative:
            return self._asked_for(f"http://{_CONTAINER_HOST}{relative}")
        full = given.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
        if full:
            return self._asked_for(full)
        raise AwsUnanswered("CredentialsUnavailable")

    def _asked_for(self, url: str) -> Keys:
        parts = urlsplit(url)
        if parts.scheme != "https" and not _is_of_this_machine(parts.hostname or ""):
            raise AwsUnanswered("CredentialsUnavailable")
        try:
            origin = Origin(f"{parts.scheme}://{parts.netloc}", _SECONDS, _SECONDS)
        except ValueError:
            raise AwsUnanswered("CredentialsUnavailable") from None
        path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        headers = {"accept": "application/json"}
        token = self._token()
        if token is not None:
            headers["authorization"] = token.reveal()
        request = request_of("GET", path, {"host": origin.authority, **headers}, b"")
        try:
            for attempt in range(_ATTEMPTS):
                if attempt:
                    self._sleep(1)
                with suppress(AwsUnanswered):
                    answer = origin.exchange(request)
                    if answer.status == _OK:
                        return _decoded(answer.body)
        finally:
            origin.close()
        raise AwsUnanswered("CredentialsUnavailable")

    def _token(self) -> Secret[str] | None:
        """Return what the container's endpoint wants to see; a file may be replaced at any time."""
        place = self._variables.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
        if place:
            try:
                with open(place, encoding="utf-8") as file:  # noqa: PTH123 - pathlib is slow to load
                    return Secret(_one_line(file.read()))
            except (OSError, UnicodeError):
                raise AwsUnanswered("CredentialsUnavailable") from None
        given = self._variables.get("AWS_CONTAINER_AUTHORIZATION_TOKEN")
        return Secret(_one_line(given)) if given else None


def _is_of_this_machine(host: str) -> bool:
    if host in _PLAIN_HOSTS:
        return True
    from ipaddress import ip_address  # only where there is such an endpoint: start-up time

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _keys(key_id: str, secret: str, token: str | None, ends: float | None) -> Keys:
    return Keys(
        _one_line(key_id), Secret(secret), Secret(_one_line(token)) if token else None, ends
    )


def _one_line(text: str) -> str:
    """Return what goes into a header, if it is one that can. Raises AwsUnanswered."""
    if not (text.isascii() and text.isprintable()):
        raise AwsUnanswered("CredentialsUnavailable")
    return text


def _decoded(body: bytes) -> Keys:
    try:
        found: dict[str, Any] = json.loads(body)
        key_id, secret = found["AccessKeyId"], found["SecretAccessKey"]
        token, expiration = found.get("Token"), found.get("Expiration")
        ends = parse_iso(expiration) if expiration else None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise AwsUnanswered("CredentialsUnavailable") from None
    if not all(isinstance(each, str) for each in (key_id, secret, token or "")):
        raise AwsUnanswered("CredentialsUnavailable")
    return _keys(key_id, secret, token, ends)
