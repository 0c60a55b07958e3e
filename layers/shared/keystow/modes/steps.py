"""Carries out the requests of a login in several steps, as a provider's entry describes them.

Templates may use the credential (``credentials.x``), the connection's config, the JWT that was
signed for it (``token``), and what earlier steps answered (``step1.x``).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from keystow.catalog.authority import sides
from keystow.catalog.errors import InterpolationError
from keystow.catalog.interpolate import (
    as_text,
    interpolate_string_from_object,
    placeholders,
    value_of,
)
from keystow.egress.errors import EgressError
from keystow.modes.declared import asked_of, may_be_missing
from keystow.oauth.errors import ConfigurationError, TokenError, from_egress
from keystow.oauth.token_request import LARGEST_ANSWER, form_encoded, refused, succeeded, text
from keystow.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from keystow.catalog.loader import Provider
    from keystow.context import Context
    from keystow.egress.client import Answer

TYPES: Final = {
    "json": "application/json",
    "form": "application/x-www-form-urlencoded",
    "xml": "application/xml",
}
_STEP_LED: Final = re.compile(r"\$\{step\d+\.")
_CREDENTIAL: Final = re.compile(r"\$\{credentials\.([^}]*)\}")
_SECRET_FROM: Final = 4  # shorter values are words, and masking them garbles every sentence
_LEFT_OUT: Final = object()
_COOKIES: Final = "set-cookie"
_TAKEN: Final = frozenset(
    {"type", "token", "refresh_token", "expires_at", "raw", "assertion", "assertionOption"}
)


class StepFailed(Exception):  # noqa: N818 - an outcome, not a fault
    """A step brought no usable answer: which one, and why."""

    def __init__(self, number: int, error: TokenError) -> None:
        super().__init__(str(error))
        self.number = number
        self.error = error


class Answered(Value):
    """What a step answered.

    Attributes:
        content: decoded from JSON, XML or a form; a text where it is none of them.
        kept: values of the headers and cookies that the entry wants kept, by their names.
        secrets: what was sent, and must not come back in an error.
        answer: as it arrived.
    """

    content: Any
    kept: dict[str, str]
    secrets: tuple[str, ...]
    answer: Answer

    def __repr__(self) -> str:
        return "Answered"


class Login:
    """The requests of one login, one after the other, within one deadline.

    Args:
        ctx: the container's context.
        provider: whose entry describes them.
        values: what templates may use; answers and cookies are added.
        seconds: for all of them together.
    """

    def __init__(
        self, ctx: Context, provider: Provider, values: dict[str, Any], seconds: float
    ) -> None:
        self._ctx = ctx
        self._provider = provider
        self._values = values
        self._until = ctx.clock.now() + seconds
        self._optional = _optional(provider)
        self._format = provider.body_format or "json"
        self._answers = 0

    def first(self) -> Answered:
        """Send the entry's own token request. Raises StepFailed."""
        told = self._provider.definition
        names = ("token_url", "token_params", "token_headers", "token_request_method")
        return self.send({**{name: told.get(name) for name in names}, "body_format": self._format})

    def send(self, step: Mapping[str, Any]) -> Answered:
        """Send one request and return its answer, which later ones may use. Raises StepFailed."""
        self._answers += 1
        try:
            found = self._sent(step)
        except TokenError as error:
            raise StepFailed(self._answers, error) from None
        self._values[f"step{self._answers}"] = found.content
        if found.kept:
            held = self._values["credentials"]
            self._values["credentials"] = {**held, **found.kept}
        return found

    def _sent(self, step: Mapping[str, Any]) -> Answered:
        url = self._url(str(step["token_url"]))
        params, foreign = self._filled(step.get("token_params"))
        headers, foreign_headers = self._filled(step.get("token_headers"))
        method = step.get("token_request_method") or "POST"
        url, body, media_type = _encoded(
            method, url, params or {}, step.get("body_format") or self._format
        )
        held = self._values["credentials"].values()
        secrets = (*(_secrets_of(held)), *foreign, *foreign_headers)
        sent = {"User-Agent": "Keystow", "Accept": "application/json"}
        if media_type:
            sent["Content-Type"] = media_type
        names = {name.lower(): name for name in sent}
        for name, value in (headers or {}).items():
            if name.lower() == "content-type" and not body:
                continue
            sent[names.get(name.lower(), name)] = text(value)
        now = self._ctx.clock.now()
        try:
            answer = self._ctx.egress.send(
                str(method),
                url,
                headers=sent,
                body=body,
                deadline=max(self._until - now, 0.1),
                max_bytes=LARGEST_ANSWER,
            )
        except EgressError as error:
            raise from_egress(error) from None
        content = content_of(answer)
        payload = content if isinstance(content, dict) else None
        good = 200 <= answer.status < 300  # noqa: PLR2004
        if not good or (payload is not None and not succeeded(self._provider, answer, payload)):
            raise refused(self._provider, answer, payload, secrets, now)
        return Answered(content, _kept(self._provider, answer), secrets, answer)

    def _url(self, template: str) -> str:
        """Return an address; one that an earlier answer begins is as that answer says."""
        cause = None
        for side in sides(template):
            if _STEP_LED.match(side):
                found = interpolate_string_from_object(side, self._values)
                if not placeholders(found):
                    return found
                continue
            try:
                return self._made(side)
            except InterpolationError as error:
                cause = error.reason
        raise ConfigurationError(
            cause or "missing_parameters", f"no address can be made of {template[:200]}"
        )

    def _made(self, template: str) -> str:
        held = self._values["credentials"]

        def credential(match: re.Match[str]) -> str:
            value = as_text(value_of(held, match[1]))
            if value in {".", ".."}:  # they would walk up the path
                raise InterpolationError("unsafe_value", "a credential is only dots", template)
            return match[0] if value is None else quote(value, safe="")

        filled = _CREDENTIAL.sub(credential, template)
        if _CREDENTIAL.search(filled):
            raise InterpolationError("missing_parameters", "a credential is missing", template)
        answered = {name: each for name, each in self._values.items() if name.startswith("step")}
        config = {**self._values["connectionConfig"], **answered}
        return self._provider.url(filled, config, self._provider.token_url_skip_encode)

    def _filled(self, template: Any) -> tuple[Any, tuple[str, ...]]:
        """Return a template with its values, and those texts that are not the entry's own.

        Raises:
            ConfigurationError: a value is missing that may not be.
        """
        if not template:
            return None, ()
        found = self._value(template)
        own = set(_texts(template))
        texts = () if found is _LEFT_OUT else tuple(_texts(found))
        return found, tuple(each for each in texts if each not in own and len(each) >= _SECRET_FROM)

    def _value(self, template: Any) -> Any:
        if isinstance(template, str):
            return self._text(template)
        if isinstance(template, dict):
            inner = {name: self._value(each) for name, each in template.items()}
            return {name: each for name, each in inner.items() if each is not _LEFT_OUT}
        if isinstance(template, list):
            return [each for each in map(self._value, template) if each is not _LEFT_OUT]
        return template

    def _text(self, template: str) -> Any:
        try:
            found = interpolate_string_from_object(template, self._values)
        except InterpolationError as error:
            raise ConfigurationError(error.reason, str(error)) from None
        missing = set(placeholders(found)) & set(placeholders(template))
        if not missing:
            return found
        if missing <= self._optional:
            return _LEFT_OUT
        names = ", ".join(sorted(missing))[:200]
        raise ConfigurationError("missing_parameters", f"there is no value for {names}")


def content_of(answer: Answer) -> Any:
    """Return what an answer holds, in whatever format it says it; a text at worst."""
    try:
        return answer.json()
    except ValueError:
        pass
    body = answer.body.strip()
    if body.startswith(b"<") and not body[:15].lower().startswith((b"<!doctype html", b"<html")):
        from keystow.modes import xml

        try:
            return xml.read(body)
        except xml.NoXml:
            pass
    media_type = answer.headers.get("content-type", "")
    if "form-urlencoded" in media_type:
        try:
            return dict(answer.form())
        except ValueError:
            pass
    return body.decode("utf-8", "replace")


def _encoded(
    method: str, url: str, params: Mapping[str, Any], body_format: str
) -> tuple[str, bytes | None, str | None]:
    """Return address, body and media type of a request."""
    if method == "GET" or body_format == "query":
        if params:
            url += ("&" if "?" in url else "?") + form_encoded(params)
        return url, None, None
    if not params:
        return url, b"", None
    if body_format == "form":
        body = form_encoded(params).encode()
    elif body_format == "xml":
        from keystow.modes import xml

        body = xml.written(params)
    else:
        body = json.dumps(params, separators=(",", ":")).encode()
    return url, body, TYPES[body_format]


def _kept(provider: Provider, answer: Answer) -> dict[str, str]:
    """Return the headers that the entry wants kept; cookies one by one and as a header of all."""
    found: dict[str, str] = {}
    for name in provider.definition.get("token_response_headers") or ():
        if name != _COOKIES:
            if name in answer.headers:
                found[name] = answer.headers[name]
            continue
        cookies: dict[str, str] = {}
        for header, value in answer.header_list:
            if header == _COOKIES:
                key, mark, rest = value.partition(";")[0].partition("=")
                if mark and key.strip():
                    cookies[key.strip()] = rest.strip()
        if cookies:
            found |= {key: value for key, value in cookies.items() if key != "_cookies"}
            found["_cookies"] = "; ".join(f"{key}={value}" for key, value in cookies.items())
    # What a provider calls its headers and cookies replaces nothing of the credential.
    kept = _TAKEN | set(asked_of(provider))
    return {name: value for name, value in found.items() if name not in kept}


def _optional(provider: Provider) -> set[str]:
    """Return the placeholders that need not have a value."""
    groups = (
        ("credentials", asked_of(provider)),
        ("connectionConfig", provider.connection_config),
        ("assertionOption", provider.definition.get("assertion_option") or {}),
    )
    return {
        f"{group}.{name}"
        for group, fields in groups
        for name, field in fields.items()
        if may_be_missing(field)
    }


def _secrets_of(held: Any) -> tuple[str, ...]:
    return tuple(each for each in _texts(list(held)) if len(each) >= _SECRET_FROM)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
