"""Tokens that are signed here, of the templates of a provider's entry (contract 9.10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from keystow.catalog.errors import InterpolationError
from keystow.catalog.interpolate import interpolate_string_from_object, placeholders, value_of
from keystow.oauth.errors import ConfigurationError
from keystow.oauth.jwt import UnusableKey, signed
from keystow.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystow.catalog.loader import Provider

# An assertion whose entry does not say how long it lives.
ASSERTION_SECONDS: Final = 300


def token_of(provider: Provider, values: Mapping[str, Any], now: float) -> tuple[str, float]:
    """Return the token of an entry's ``token`` and ``signature``, and when it ends.

    Args:
        provider: the entry.
        values: what its templates may use.
        now: epoch seconds.

    Raises:
        ConfigurationError: a value is missing, or the key cannot sign.
    """
    told = provider.definition["token"]
    signature = provider.definition["signature"]
    ends = now + told["expires_in_ms"] / 1000
    token = _signed(
        told.get("header") or {},
        told.get("payload") or {},
        str(told["signing_key"]),
        _with_parts(told, values),
        (now, ends),
        # Contract 9.10: a secret of an HMAC is in hex where the entry does not say.
        encoding=signature.get("hmac_secret_encoding") or "hex",
    )
    return token, ends


def assertion_of(assertion: Mapping[str, Any], values: Mapping[str, Any], now: float) -> str:
    """Return the JWT of an entry's ``assertion`` (RFC 7523 §3).

    Raises:
        ConfigurationError: a value is missing, or the key cannot sign.
    """
    ends = now + (assertion.get("lifetimeInSeconds") or ASSERTION_SECONDS)
    standing = {
        "iss": assertion.get("issuer"),
        "aud": assertion.get("audiences"),
        **(assertion.get("payload") or {}),
    }
    payload = {name: value for name, value in standing.items() if value is not None}
    return _signed(
        assertion.get("header") or {}, payload, str(assertion["key"]), values, (now, ends)
    )


def can_be_filled(template: str, values: Mapping[str, Any]) -> bool:
    """Return whether there is a value for each placeholder of a template."""
    return _text(template, values) is not None


def _signed(
    header: Mapping[str, Any],
    payload: Mapping[str, Any],
    key: str,
    values: Mapping[str, Any],
    life: tuple[float, float],
    *,
    encoding: str = "utf8",
) -> str:
    found = _text(key, values)
    if not found:
        raise ConfigurationError("missing_parameters", "the key to sign with is missing")
    claims = {**_filled(payload, values), "iat": int(life[0]), "exp": int(life[1])}
    try:
        return signed(_filled(header, values), claims, Secret(found), encoding=encoding)
    except UnusableKey as error:
        raise ConfigurationError("failed_to_sign", str(error)) from None


def _filled(templates: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Fill templates in; what has no value is left out, and lists are split at commas."""
    found: dict[str, Any] = {}
    for name, template in templates.items():
        value: Any = template
        if isinstance(template, str):
            value = _text(template, values)
        elif isinstance(template, dict):
            value = _filled(template, values)
        elif isinstance(template, list):
            value = []
            for each in template:
                text = _text(each, values) if isinstance(each, str) else each
                parts = text.split(",") if isinstance(text, str) else [text]
                value += [part.strip() if isinstance(part, str) else part for part in parts if part]
        if value not in (None, "", [], {}):
            found[name] = value
    return found


def _text(template: str, values: Mapping[str, Any]) -> str | None:
    try:
        text = interpolate_string_from_object(template, values)
    except InterpolationError as error:
        raise ConfigurationError("failed_to_sign", str(error)) from None
    missing = set(placeholders(text)) & set(placeholders(template))
    return None if missing else text


def _with_parts(told: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with keys of the form ``id:secret`` cut in two where templates ask so."""
    credentials = dict(values["credentials"])
    for template in (told["signing_key"], *(told.get("header") or {}).values()):
        for name in placeholders(template) if isinstance(template, str) else ():
            whole = name.removeprefix("credentials.").rpartition(".")[0]
            held = value_of(credentials, whole) if whole else None
            if isinstance(held, str) and ":" in held:
                before, _, after = held.partition(":")
                credentials[whole] = {"id": before, "secret": after}
    return {**values, "credentials": credentials}
