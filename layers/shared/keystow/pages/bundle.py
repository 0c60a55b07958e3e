"""Joins the modules of a page into one document, and compresses it: one request, no npm.

The sources stay ES modules, so that an editor and Node read them as they are. All of them end up
in the scope of one ``<script type="module">``, in the order in which a browser would run them
(ECMAScript 2025, 16.2.1.6: each module after those that it imports). What that scope could change
is refused here rather than rewritten: a name that two modules give, an import under another name.
Nothing is minified; whole lines of comment and the space around lines are left out, which buys
four fifths of what a minifier does after compression.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from typing import TYPE_CHECKING, Final

from keystow.pages.layout import source
from keystow.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_IMPORT: Final = re.compile(r"^import \{([^}]*)\} from '\./([a-z]+\.js)';\n", re.MULTILINE)
_EXPORT: Final = re.compile(r"^export (?=(?:async )?(?:function|class|const|let) )", re.MULTILINE)
_NAMED: Final = re.compile(
    r"^(?P<out>export )?(?:async )?(?:function|class|const|let) (?P<name>[\w$]+)", re.MULTILINE
)
_UNNAMED: Final = re.compile(
    r"^(?:export )?(?:(?:const|let) [^\w$]|var |import\b|export\b)", re.MULTILINE
)
_NOT_JOINED: Final = re.compile(r"\bimport\s*[(.]")
# What would end a script or style, or begin another state of the parser (HTML 13.2.5).
_MARKUP: Final = re.compile(r"</?(?:script|style)|<!--|\r|\x00", re.IGNORECASE)
# zlib's name for its largest window in gzip's format. No time stands in it, so the same page is the
# same bytes.
_GZIP: Final = 31


class JoinError(Exception):
    """The sources use something that does not mean the same once they are joined."""


class Document(Value):
    """A page as it is sent.

    Attributes:
        plain: the document, for clients that take no compression.
        packed: the same, in gzip's format.
        release: a hash of it, in hexadecimal digits.
        script_sources: hashes of its scripts, for a Content-Security-Policy.
        style_source: the hash of its style.
    """

    plain: bytes
    packed: bytes
    release: str
    script_sources: tuple[str, ...]
    style_source: str


def document(template: str, *, first: str, style: str, modules: Mapping[str, str]) -> Document:
    """Return a page made of its sources.

    Args:
        template: the markup, with ``{{first}}``, ``{{style}}`` and ``{{script}}`` in it once each.
        first: a script that runs before anything is painted.
        style: its style sheet.
        modules: ES modules by file name; ``main.js`` is where the page begins.

    Raises:
        JoinError: see the module.
    """
    parts = {
        "first": bare("first", first),
        "style": bare("style", style),
        "script": joined(modules),
    }
    text = bare_markup(template)
    for name, part in parts.items():
        if _MARKUP.search(part):
            raise JoinError(f"{name} holds what ends it or begins another one in a document")
        if text.count(f"{{{{{name}}}}}") != 1:
            raise JoinError(f"the template has not one place for {name}")
    for name, part in parts.items():
        text = text.replace(f"{{{{{name}}}}}", part)
    plain = text.encode()
    packer = zlib.compressobj(9, zlib.DEFLATED, _GZIP)
    return Document(
        plain=plain,
        packed=packer.compress(plain) + packer.flush(),
        release=hashlib.sha256(plain).hexdigest()[:32],
        script_sources=(source(parts["first"]), source(parts["script"])),
        style_source=source(parts["style"]),
    )


def joined(modules: Mapping[str, str]) -> str:
    """Return ES modules as one script of module kind.

    Args:
        modules: source by file name, ``main.js`` among them. They may import named things from
            each other by ``import {a, b} from './other.js';`` at the beginning of a line and export
            declarations.

    Raises:
        JoinError: a name that two of them give, an import or export of another kind, an import of
            what is not exported, a module that nothing imports.
    """
    exported = {
        name: {each["name"] for each in _NAMED.finditer(text) if each["out"]}
        for name, text in modules.items()
    }
    order = list(_order(modules, "main.js", []))
    if unused := set(modules) - set(order):
        raise JoinError(f"nothing imports {', '.join(sorted(unused))}")
    owners: dict[str, str] = {}
    parts = []
    for name in order:
        text = modules[name]
        for each in _IMPORT.finditer(text):
            wanted = {part.strip() for part in each[1].split(",") if part.strip()}
            if missing := wanted - exported[each[2]]:
                raise JoinError(f"{name}: {each[2]} has no {', '.join(sorted(missing))}")
        for each in _NAMED.finditer(text):
            owner = owners.setdefault(each["name"], name)
            if owner != name:
                raise JoinError(f"{owner} and {name} both have {each['name']}")
        rest = _EXPORT.sub("", _IMPORT.sub("", text))
        if odd := _UNNAMED.search(rest) or _NOT_JOINED.search(rest):
            raise JoinError(f"{name}: cannot join {odd[0]!r}")
        parts.append(bare(name, rest))
    return "\n".join(parts)


def names(modules: Mapping[str, str]) -> frozenset[str]:
    """Return every name that modules declare at their top level.

    None of them may be one of the browser's own: another module that means the browser's would
    silently get this one.
    """
    return frozenset(each["name"] for text in modules.values() for each in _NAMED.finditer(text))


def _order(modules: Mapping[str, str], name: str, seen: list[str]) -> Iterator[str]:
    if name not in modules:
        raise JoinError(f"there is no {name}")
    seen.append(name)
    for each in _IMPORT.finditer(modules[name]):
        if each[2] not in seen:
            yield from _order(modules, each[2], seen)
    yield name


def bare(name: str, text: str) -> str:
    """Return a script or style without whole lines of comment, indentation and empty lines.

    Raises:
        JoinError: a text that goes on over the end of a line, in which a line might look like one
            of these and be none.
    """
    kept = []
    inside = False
    for line in map(str.strip, text.split("\n")):
        if inside:
            inside = not line.endswith("*/")
        elif line.startswith("/*"):
            inside = "*/" not in line
            if not inside and not line.endswith("*/"):
                raise JoinError(f"{name}: something follows a comment in its line: {line}")
        elif line.startswith("//"):
            continue
        elif line.count("`") % 2 or line.endswith("\\"):
            raise JoinError(f"{name}: a text goes on over the end of a line: {line}")
        elif line:
            kept.append(line)
    return "\n".join(kept)


def bare_markup(text: str) -> str:
    """Return markup without the ends of lines between elements, which show nothing here."""
    return "".join(map(str.strip, text.split("\n")))
