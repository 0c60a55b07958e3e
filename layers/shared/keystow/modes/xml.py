"""XML bodies of token requests, as objects: what stands in a definition is JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from xml.etree.ElementTree import Element

# Before the name of what is an attribute of its element.
_ATTRIBUTE: Final = "$"
_MAX_DEPTH: Final = 40


class NoXml(ValueError):  # noqa: N818 - what a body is not
    """A text is no XML, or more than is read."""


def written(body: Mapping[str, Any]) -> bytes:
    """Return a document of an object with one member, the root.

    An object is an element with children, a list the same element again, ``null`` an empty element;
    ``$name`` is an attribute.
    """
    from xml.etree.ElementTree import tostring

    ((name, value),) = body.items()
    return bytes(tostring(_element(name, value), encoding="utf-8", xml_declaration=True))


def read(body: bytes) -> dict[str, Any]:
    """Return the object of a document; its root is its one member, attributes are left out.

    Raises:
        NoXml: as :func:`parsed`; or the document is too deep.
    """
    root = parsed(body)
    return {_name(root): _value(root, 0)}


def parsed(body: bytes) -> Element:
    """Return the root of a document.

    Raises:
        NoXml: the body is no XML, or defines entities.
    """
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        root: Element = fromstring(body, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise NoXml(type(error).__name__) from None
    return root


def _element(name: str, value: Any) -> Element:
    from xml.etree.ElementTree import Element

    found = Element(name)
    if not isinstance(value, dict):
        found.text = "" if value is None else _text(value)
        return found
    for inner, each in value.items():
        if inner.startswith(_ATTRIBUTE):
            found.set(inner.removeprefix(_ATTRIBUTE), _text(each))
            continue
        for one in each if isinstance(each, list) else [each]:
            found.append(_element(inner, one))
    return found


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _value(element: Element, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise NoXml("nested too deeply")
    if not len(element):
        return (element.text or "").strip()
    found: dict[str, Any] = {}
    for child in element:
        name, value = _name(child), _value(child, depth + 1)
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    return found


def _name(element: Element) -> str:
    """Return the name of an element without its namespace."""
    return str(element.tag).rpartition("}")[2]
