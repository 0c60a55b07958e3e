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

_IMPORT: Final = re.compile(r"import \{([^}]*)\} from '\./([a-z]+\.js)';")
_NAMED: Final = re.compile(r"(export )?(?:async )?(?:function|class|const|let) ([\w$]+)")
_NOT_JOINED: Final = re.compile(r"(?:export|import|var)\b|(?:const|let) [^\w$]")
_ELSEWHERE: Final = ("import(", "import.", "import (")
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


class _Module:
    """One module as it goes into the script: what it imports, declares and exports, and the rest.

    Raises:
        JoinError: an import or export of another kind than :func:`joined` takes.
    """

    def __init__(self, name: str, text: str) -> None:
        self.imports: list[tuple[str, set[str]]] = []
        self.names: set[str] = set()
        self.exports: set[str] = set()
        self.lines: list[str] = []
        begun = ""
        for top, line in _lines(name, text):
            if begun or (top and line.startswith("import ")):
                begun += f"{line} " if ";" not in line else line
                if ";" in line:
                    self._import(name, begun)
                    begun = ""
            elif top:
                self._declare(name, line)
            else:
                self.lines.append(line)
        if begun or any(each in line for line in self.lines for each in _ELSEWHERE):
            raise JoinError(f"{name}: cannot join an import within the code")

    def _import(self, name: str, line: str) -> None:
        found = _IMPORT.fullmatch(line)
        if not found:
            raise JoinError(f"{name}: cannot join {line}")
        wanted = {part.strip() for part in found[1].split(",")} - {""}
        self.imports.append((found[2], wanted))

    def _declare(self, name: str, line: str) -> None:
        found = _NAMED.match(line)
        if found:
            self.names.add(found[2])
            if found[1]:
                self.exports.add(found[2])
                line = line[len(found[1]) :]
        elif _NOT_JOINED.match(line):
            raise JoinError(f"{name}: cannot join {line}")
        self.lines.append(line)


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
    parsed = {name: _Module(name, text) for name, text in modules.items()}
    order = list(_order(parsed, "main.js", set()))
    if unused := set(modules) - set(order):
        raise JoinError(f"nothing imports {', '.join(sorted(unused))}")
    owners: dict[str, str] = {}
    for name in order:
        module = parsed[name]
        for other, wanted in module.imports:
            if missing := wanted - parsed[other].exports:
                raise JoinError(f"{name}: {other} has no {', '.join(sorted(missing))}")
        for each in sorted(module.names):
            owner = owners.setdefault(each, name)
            if owner != name:
                raise JoinError(f"{owner} and {name} both have {each}")
    return "\n".join(line for name in order for line in parsed[name].lines)


def names(modules: Mapping[str, str]) -> frozenset[str]:
    """Return every name that modules declare at their top level.

    None of them may be one of the browser's own: another module that means the browser's would
    silently get this one.
    """
    return frozenset().union(*(_Module(name, text).names for name, text in modules.items()))


def _order(modules: Mapping[str, _Module], name: str, seen: set[str]) -> Iterator[str]:
    if name not in modules:
        raise JoinError(f"there is no {name}")
    seen.add(name)
    for other, _wanted in modules[name].imports:
        if other not in seen:
            yield from _order(modules, other, seen)
    yield name


def bare(name: str, text: str) -> str:
    """Return a script or style without whole lines of comment, indentation and empty lines.

    Raises:
        JoinError: a text that goes on over the end of a line, in which a line might look like one
            of these and be none.
    """
    return "\n".join(line for _top, line in _lines(name, text))


def _lines(name: str, text: str) -> Iterator[tuple[bool, str]]:
    """Yield what is kept of a text, each line with whether it begins without indentation."""
    inside = False
    for whole in text.split("\n"):
        line = whole.strip()
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
            yield whole[0] == line[0], line


def bare_markup(text: str) -> str:
    """Return markup without the ends of lines between elements, which show nothing here."""
    return "".join(map(str.strip, text.split("\n")))
