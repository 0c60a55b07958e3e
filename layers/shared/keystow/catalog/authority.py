"""Who is spoken to: the URLs of a definition, their hosts, and what a value may bring to one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

# Stricter than the WHATWG URL standard on purpose: parsers that disagree about a host are how
# requests get led astray.
HOST_NAME: Final = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*\.?"
)
IP_LITERAL: Final = re.compile(r"\[[0-9A-Fa-f:.]+\]")
_PORT: Final = re.compile(r":\d{1,5}$")
_ORIGIN: Final = re.compile(r"https?://", re.IGNORECASE)
_PIECE: Final = re.compile(r"[A-Za-z0-9._-]{1,253}")
_PREFIX: Final = re.compile(r"(?:connectionConfig|credentials)\.")
# White space of ASCII only: other texts that look like a separator stay part of a URL.
_WHITE: Final = " \t\r\n"
_FALLBACK: Final = re.compile(rf"[{_WHITE}]\|\|[{_WHITE}]")
_END: Final = re.compile(r"[/?#\\]")
_TOP_LEVEL: Final = (
    "token_url",
    "refresh_url",
    "revocation_url",
    "registration_url",
    "device_authorization_url",
    "request_url",
)


class Part(NamedTuple):
    """A piece of a host as it is written, or the name inside a placeholder."""

    text: str
    is_placeholder: bool


class Authority(NamedTuple):
    """A URL template cut where host and port end.

    ``scheme`` is what stands before the host, empty where a placeholder brings it along.
    """

    scheme: str
    parts: tuple[Part, ...]
    rest: str

    @property
    def is_value(self) -> bool:
        """Whether one placeholder stands for all of it."""
        return len(self.parts) == 1 and self.parts[0].is_placeholder

    def takes(self, value: str) -> bool:
        """Return whether a value may stand where a placeholder does.

        Where it stands for host and port, it may bring both, and a scheme where none is written;
        inside a host it is a piece of one. It never brings a user, path, query or fragment.
        """
        if not self.is_value:
            return bool(_PIECE.fullmatch(value))
        if not self.scheme:
            origin = _ORIGIN.match(value)
            if origin is None:
                return False
            value = value[origin.end() :]
        host = _PORT.sub("", value)
        return bool(HOST_NAME.fullmatch(host) or IP_LITERAL.fullmatch(host))


def sides(template: str) -> list[str]:
    """The sides of a template between ` || `, in the order in which they are tried."""
    return [side.strip(_WHITE) for side in _FALLBACK.split(template)]


def authority_of(template: str) -> Authority:
    """Cut one side of a URL template."""
    scheme, mark, after = template.partition("://")
    if not mark or "$" in scheme:
        scheme, mark, after = "", "", template
    parts: list[Part] = []
    position = 0
    while position < len(after):
        start = after.find("${", position)
        end = _END.search(after, position, len(after) if start < 0 else start)
        if end or start < 0:
            stop = end.start() if end else len(after)
            if stop > position:
                parts.append(Part(after[position:stop], is_placeholder=False))
            return Authority(scheme + mark, tuple(parts), after[stop:])
        if start > position:
            parts.append(Part(after[position:start], is_placeholder=False))
        close = closing(after, start)
        if close < 0:
            close = len(after)
        parts.append(Part(after[start + 2 : close], is_placeholder=True))
        position = close + 1
    return Authority(scheme + mark, tuple(parts), "")


def field_name(placeholder: str) -> str:
    """Return the config name that a placeholder asks for: ``connectionConfig.x`` is ``x``."""
    return _PREFIX.sub("", placeholder, count=1) if _PREFIX.match(placeholder) else placeholder


def closing(template: str, start: int) -> int:
    """Return where the placeholder that opens at ``start`` closes, or -1."""
    level = 0
    for index in range(start + 1, len(template)):
        if template[index] == "{":
            level += 1
        elif template[index] == "}":
            level -= 1
            if level == 0:
                return index
    return -1


def url_templates(
    definition: Mapping[str, Any], *, secret: bool = False
) -> Iterator[tuple[str, str]]:
    """Yield the name and template of every URL that is called.

    Args:
        definition: of a provider.
        secret: only those that something secret is sent to: browsers are sent to the others.
    """
    for name in _TOP_LEVEL if secret else ("authorization_url", *_TOP_LEVEL):
        value = definition.get(name)
        for template in value.values() if isinstance(value, dict) else [value]:
            if template:
                yield name, template
    proxy = definition.get("proxy", {})
    post = definition.get("post_connection", {})
    named = [
        ("introspection.url", definition.get("introspection", {}).get("url")),
        ("proxy.base_url", proxy.get("base_url")),
        (
            "proxy.verification.base_url_override",
            proxy.get("verification", {}).get("base_url_override"),
        ),
        ("on_disconnect.url", definition.get("on_disconnect", {}).get("url")),
    ]
    named += [
        ("additional_steps.token_url", step.get("token_url"))
        for step in definition.get("additional_steps", ())
    ]
    named += [("post_connection.calls.url", call.get("url")) for call in post.get("calls", ())]
    for name, template in named:
        if template and not template.startswith("/"):  # a path is below proxy.base_url
            yield name, template
