"""Signatures of requests, as AWS takes them: Signature Version 4, in the Authorization header.

    request ─▶ canonical request ─▶ text to sign ─▶ signature
                (SHA-256)            (moment, day/region/service)
                                                     ▲ HMAC-SHA256
    secret key ─▶ day ─▶ region ─▶ service ─▶ key of the day, kept until the day or the keys change

IAM user guide, "Create a signed AWS API request". AWS's published examples are the tests.
"""

from __future__ import annotations

import hmac
import time
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote_to_bytes, urlsplit

from keystow.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystow.aws.credentials import Keys

_ALGORITHM: Final = "AWS4-HMAC-SHA256"


def moment_of(epoch: float) -> str:
    """Return epoch seconds as ``20150830T123600Z``, the form of ``X-Amz-Date``."""
    year, month, day, hour, minute, second = time.gmtime(epoch)[:6]
    return f"{year:04d}{month:02d}{day:02d}T{hour:02d}{minute:02d}{second:02d}Z"


class Signer:
    """Signs requests for one service in one region; threads may share it.

    Args:
        service: its name in credential scopes, such as ``dynamodb``.
        region: such as ``eu-central-1``.
    """

    def __init__(self, service: str, region: str) -> None:
        self._service = service
        self._region = region
        self._known: tuple[Keys, str, Secret[bytes]] | None = None

    def authorization(
        self,
        keys: Keys,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        query: str = "",
    ) -> str:
        """Return the value of the Authorization header.

        Args:
            keys: whose signature it is.
            method: HTTP method.
            path: as it stands in the request line, without the query.
            headers: what is signed: names in lower case, values without white space around them.
                ``host``, ``x-amz-date`` (:func:`moment_of`) and, where the keys have a token,
                ``x-amz-security-token`` have to be among them.
            body: the whole body.
            query: in the form that is signed, see :func:`signed_headers`.
        """
        moment = headers["x-amz-date"]
        day = moment[:8]
        names = sorted(headers)
        signed = ";".join(names)
        lines = "".join([f"{name}:{headers[name]}\n" for name in names])
        canonical = (
            f"{method}\n{self._signed_path(path)}\n{query}\n"
            f"{lines}\n{signed}\n{sha256(body).hexdigest()}"
        )
        scope = f"{day}/{self._region}/{self._service}/aws4_request"
        text = f"{_ALGORITHM}\n{moment}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self._key(keys, day).reveal(), text.encode(), "sha256").hex()
        return (
            f"{_ALGORITHM} Credential={keys.id}/{scope}, "
            f"SignedHeaders={signed}, Signature={signature}"
        )

    def _signed_path(self, path: str) -> str:
        """Return the path as it is signed: encoded once for S3, for others once more than sent."""
        if path == "/":
            return path
        if self._service == "s3":
            return quote(unquote_to_bytes(path), safe="/-_.~")
        return quote(path, safe="/-_.~")

    def _key(self, keys: Keys, day: str) -> Secret[bytes]:
        known = self._known
        if known is not None and known[0] is keys and known[1] == day:
            return known[2]
        key = f"AWS4{keys.secret.reveal()}".encode()
        for part in (day, self._region, self._service, "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        made = Secret(key)
        self._known = (keys, day, made)
        return made


def signed_headers(
    keys: Keys,
    *,
    service: str,
    region: str,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    now: float,
) -> dict[str, str]:
    """Return the headers of a request to any service, with those that its signature adds.

    Args:
        keys: whose signature it is.
        service: of the credential scope.
        region: of the credential scope.
        method: HTTP method.
        url: as it is sent.
        headers: the request's, names in lower case. The content type and what begins with
            ``x-amz-`` is signed, an ``authorization`` is replaced.
        body: the whole body.
        now: epoch seconds.
    """
    parts = urlsplit(url)
    kept = {name: text for name, text in headers.items() if name != "authorization"}
    kept["x-amz-date"] = moment_of(now)
    kept["x-amz-content-sha256"] = sha256(body).hexdigest()
    if keys.token is not None:
        kept["x-amz-security-token"] = keys.token.reveal()
    signed = {
        name: " ".join(text.split())
        for name, text in kept.items()
        if name.startswith("x-amz-") or name == "content-type"
    }
    signed["host"] = parts.netloc.lower().removesuffix(":443")
    pairs = [each.partition("=") for each in parts.query.split("&") if each]
    # Sorted by name first: "=" comes behind other characters that a name may go on with.
    named = sorted((_once(name), _once(value)) for name, _, value in pairs)
    query = "&".join(f"{name}={value}" for name, value in named)
    kept["authorization"] = Signer(service, region).authorization(
        keys, method, parts.path or "/", signed, body, query
    )
    return kept


def _once(text: str) -> str:
    """Return a part of a query, percent-encoded exactly once; of a form, plus is a space."""
    return quote(unquote_to_bytes(text.replace("+", " ")), safe="-_.~")
