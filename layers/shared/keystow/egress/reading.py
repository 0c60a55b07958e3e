"""Reads bodies of answers as forgivingly as browsers do, into what can be stored and answered.

What stands in a field that nobody reads must not cost a token: a byte of another charset, a raw
control character, a number that JSON does not know, a nest of brackets. Such a field is left out
or shown with a mark in its place; the rest is read. What comes out is bounded like the bodies of
our own requests: depth, digits, finite numbers, whole characters.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from keystow.egress.mending import mended

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH: Final = 64
MAX_DIGITS: Final = 100
MAX_FIELDS: Final = 1_000

# Charsets that spell ASCII as it is, by the names that servers use (IANA, WHATWG). Names are looked
# up here and never in Python's registry, which knows codecs that are no charsets.
_CHARSETS: Final[dict[str, str]] = {
    **{f"iso-8859-{number}": f"iso8859-{number}" for number in range(2, 17) if number != 12},  # noqa: PLR2004
    **{f"windows-125{number}": f"cp125{number}" for number in range(9)},
    **{f"cp125{number}": f"cp125{number}" for number in range(9)},
    **dict.fromkeys(("iso-8859-1", "iso8859-1", "latin1", "latin-1", "l1"), "cp1252"),
    **dict.fromkeys(("shift-jis", "sjis", "x-sjis", "windows-31j"), "cp932"),
    **dict.fromkeys(("gb2312", "gbk", "gb18030"), "gb18030"),
    **dict.fromkeys(("euc-kr", "ks-c-5601-1987", "windows-949"), "cp949"),
    **dict.fromkeys(("windows-874", "tis-620"), "cp874"),
    "euc-jp": "euc_jp",
    "big5": "big5hkscs",
    "koi8-r": "koi8_r",
    "koi8-u": "koi8_u",
    "ibm866": "cp866",
    "macintosh": "mac_roman",
    "utf-16": "utf_16",
    "utf-16le": "utf_16_le",
    "utf-16be": "utf_16_be",
    "utf-32": "utf_32",
    "utf-32le": "utf_32_le",
    "utf-32be": "utf_32_be",
}
_DECLARED: Final = re.compile(r"charset\s*=\s*[\"']?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
_MARKS: Final = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF8, "utf_8_sig"),
    (codecs.BOM_UTF32_LE, "utf_32"),
    (codecs.BOM_UTF32_BE, "utf_32"),
    (codecs.BOM_UTF16_LE, "utf_16"),
    (codecs.BOM_UTF16_BE, "utf_16"),
)
_ALL_MARKS: Final = tuple(mark for mark, _codec in _MARKS)
# A text (closed or not) counts as one piece, so that no bracket within it is taken for structure.
_PIECES: Final = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
_AROUND: Final = "\ufeff\0 \t\r\n"  # marks and fillings that stand around a body
_FIELD_NAME: Final = re.compile(r"[^<>{}\"'\x00-\x1f]{1,200}")
# What servers put before an object, so that no page can load it as a script, and what goes wrong on
# them before they answer. The object must then end the body.
_BEFORE: Final = re.compile(r"[^{]{0,8000}+(?=\{)")


class _LeftOut:
    """Stands for a number that cannot be kept."""


_LEFT_OUT: Final = _LeftOut()


def json_of(body: bytes, content_type: str = "") -> Any:
    """Return decoded JSON without what could not be kept of it.

    Args:
        body: as received.
        content_type: of the answer; only its charset counts.

    Raises:
        ValueError: it is no JSON, in whatever charset. Its text is not in the error.
    """
    for text, _codec in _texts(body, content_type):
        try:
            found = _kept(_parsed(text))
        except (ValueError, RecursionError):
            continue
        if found is not _LEFT_OUT:
            return found
    raise ValueError("the answer is not JSON")


def is_whole_object(body: bytes | bytearray) -> bool:
    """Return whether a body is an object of JSON up to its closing bracket."""
    text = body.decode("utf_8", "replace").strip(_AROUND)
    if not (text.startswith("{") and text.endswith("}")):
        return False
    try:
        _, end = _DECODER.raw_decode(_shallow(text))
    except (ValueError, RecursionError):
        return False
    return bool(end)


def form_of(body: bytes, content_type: str = "") -> dict[str, str]:
    """Return the fields of ``application/x-www-form-urlencoded``; the last value of a name wins.

    Raises:
        ValueError: it is no form.
    """
    for text, codec in _texts(body, content_type):
        plain = text.strip(_AROUND)
        if not _FIELD_NAME.fullmatch(plain.partition("&")[0].partition("=")[0]) or "=" not in plain:
            continue
        fields = "&".join(plain.split("&", MAX_FIELDS)[:MAX_FIELDS])
        charset = "utf-8" if codec.startswith("utf") else codec
        return dict(parse_qsl(fields, keep_blank_values=True, encoding=charset, errors="replace"))
    raise ValueError("the answer is not a form")


def _texts(body: bytes, content_type: str) -> Iterator[tuple[str, str]]:
    """Yield the body as text, in the charsets that it may be in, the likeliest first."""
    codec = next((codec for mark, codec in _MARKS if body.startswith(mark)), None)
    if codec is None:
        declared = _DECLARED.search(content_type)
        name = declared.group(1).lower().replace("_", "-") if declared else ""
        codec = _CHARSETS.get(name)
    if b"\0" in body[:4] and not body.startswith(_ALL_MARKS):
        codec = json.detect_encoding(body)  # RFC 4627 section 3: UTF-16 or 32 without a mark
    if codec is not None:
        yield body.decode(codec, "replace"), codec
    yield body.decode("utf_8", "replace"), "utf_8"


def _parsed(text: str) -> Any:
    if text.count("[") + text.count("{") > MAX_DEPTH:
        text = _shallow(text)
    text = text.strip(_AROUND)
    try:
        found, end = _DECODER.raw_decode(text)
    except ValueError:
        return _parsed_after_all(text)
    if end < len(text) and not isinstance(found, dict):
        return _parsed_after_all(text)
    return found  # of an object, what stands behind it (a comment of the server's) is not read


def _parsed_after_all(text: str) -> Any:
    """Read an object that is written not quite as JSON, or has something before it.

    Raises:
        ValueError: it is none.
    """
    before = _BEFORE.match(text)
    if before is None:
        raise ValueError("there is no object in it")
    found, _end = _DECODER.raw_decode(mended(text[before.end() :]))
    if not isinstance(found, dict) or (before.end() and not text.endswith("}")):
        raise ValueError("it is no object")
    return found


def _shallow(text: str) -> str:
    """Return JSON text in which whatever is nested too deeply is ``null``."""
    kept: list[str] = []
    depth = copied = 0
    for piece in _PIECES.finditer(text):
        sign = piece.group()
        if sign in "[{":
            depth += 1
            if depth == MAX_DEPTH + 1:
                kept.append(text[copied : piece.start()])
        elif sign in "]}":
            depth -= 1
            if depth == MAX_DEPTH:
                kept.append("null")
                copied = piece.end()
    return "".join((*kept, text[copied:]))


def _int(digits: str) -> Any:
    return int(digits) if len(digits) <= MAX_DIGITS else _LEFT_OUT


def _float(digits: str) -> Any:
    number = float(digits)
    return number if math.isfinite(number) else _LEFT_OUT


_DECODER: Final = json.JSONDecoder(
    strict=False,  # raw control characters in texts
    parse_constant=lambda _name: _LEFT_OUT,
    parse_float=_float,
    parse_int=_int,
)


def _kept(value: Any) -> Any:
    """Return a value without what is left out, and without halves of surrogate pairs."""
    match value:
        case str():
            return _whole(value)
        case dict():
            kept = ((_whole(name), _kept(entry)) for name, entry in value.items())
            return {name: entry for name, entry in kept if entry is not _LEFT_OUT}
        case list():
            entries = (_kept(entry) for entry in value)
            return [None if entry is _LEFT_OUT else entry for entry in entries]
        case _:
            return value


def _whole(text: str) -> str:
    return text if text.isascii() else text.encode("utf_8", "replace").decode("utf_8")
