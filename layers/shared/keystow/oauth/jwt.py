"""Signs JSON Web Tokens (RFC 7519, RFC 7515) with keys as people paste them."""

from __future__ import annotations

import base64
import binascii
import json
import warnings
from typing import TYPE_CHECKING, Any, Final

from keystow.catalog.signing import ALGORITHMS
from keystow.text import pem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystow.secret import Secret

_OF_CURVES: Final = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}


class UnusableKey(Exception):  # noqa: N818 - a fault of what was typed in
    """A key cannot sign. The message holds nothing of it."""


def signed(
    header: Mapping[str, Any],
    claims: Mapping[str, Any],
    key: Secret[str],
    *,
    encoding: str = "utf8",
) -> str:
    """Return a signed token (JWS compact serialization, RFC 7515 §3.1).

    Args:
        header: with ``alg``; ``typ`` is ``JWT`` where it says nothing. Where it lacks ``alg`` or
            ``kid``, they are those of the key.
        claims: the payload.
        key: PEM, one JSON Web Key (RFC 7517), or the secret of an HMAC.
        encoding: of an HMAC's secret: ``utf8``, ``hex`` or ``base64``.

    Raises:
        UnusableKey: the key cannot be read, or does not fit the algorithm.
    """
    from joserfc import jwt
    from joserfc.errors import JoseError

    found, own = _key_of(key.reveal(), str(header.get("alg") or ""), encoding)
    head = {**own, **header}
    try:
        return str(jwt.encode(head, dict(claims), found, algorithms=[head["alg"]]))
    except (JoseError, ValueError, TypeError, KeyError):
        # `from None`: a library's message may quote the key.
        raise UnusableKey(f"the key does not sign with {head.get('alg')}") from None


def _key_of(text: str, algorithm: str, encoding: str) -> tuple[Any, dict[str, str]]:
    """Return a key, and what it says itself of ``alg`` and ``kid``."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from joserfc.errors import JoseError, SecurityWarning
    from joserfc.jwk import OctKey

    # How long its keys are is for the provider to say.
    warnings.simplefilter("ignore", SecurityWarning)
    try:
        if text.lstrip().startswith("{"):
            return _jwk(json.loads(text), algorithm)
        if algorithm in ALGORITHMS["HMAC"]:
            return OctKey.import_key(_decoded(text, encoding)), {}
        if algorithm:
            return _of_kind(algorithm in ALGORITHMS["EC"], pem(text)), {}
        return _by_pem(pem(text))
    except (JoseError, UnsupportedAlgorithm, ValueError, TypeError, KeyError, RecursionError):
        raise UnusableKey("the key is no PEM text, JSON Web Key or secret of its kind") from None


def _jwk(found: Any, algorithm: str) -> tuple[Any, dict[str, str]]:
    from joserfc.jwk import import_key

    if isinstance(found.get("keys"), list) and len(found["keys"]) == 1:
        found = found["keys"][0]
    if not isinstance(found, dict):
        raise TypeError("no key")
    key = import_key(found)
    own = {name: found[name] for name in ("alg", "kid") if isinstance(found.get(name), str)}
    if not key.is_private:
        raise ValueError("a public key")
    return key, {"alg": algorithm or _algorithm_of(key), **own}


def _of_kind(is_curve: bool, text: str) -> Any:  # noqa: FBT001 - the one thing to tell apart
    from joserfc.jwk import ECKey, RSAKey

    return (ECKey if is_curve else RSAKey).import_key(text.encode())


def _by_pem(text: str) -> tuple[Any, dict[str, str]]:
    from joserfc.errors import JoseError

    try:
        key = _of_kind(False, text)
    except JoseError:
        key = _of_kind(True, text)
    return key, {"alg": _algorithm_of(key)}


def _algorithm_of(key: Any) -> str:
    """Return the usual algorithm of a key that names none."""
    if key.key_type == "RSA":
        return "RS256"
    return _OF_CURVES[key.curve_name] if key.key_type == "EC" else "HS256"


def _decoded(text: str, encoding: str) -> bytes:
    try:
        if encoding == "hex":
            return bytes.fromhex(text)
        if encoding == "base64":
            return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("not in base64") from error
    return text.encode()
