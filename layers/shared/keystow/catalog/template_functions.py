"""The functions a template may call: `${base64(…)}`, `${sha256Hex(…)}`, `${awsSigV4(…)}` and so on.

Each takes strings that are filled in already and gives a string. `cryptography` is imported only
by the two that need it, so that reading the catalogue stays cheap.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote

from keystow.catalog import dates
from keystow.catalog.errors import InterpolationError
from keystow.text import pem as mended

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

# How a function's arguments are cut: one argument, `message, key` (cut at the last comma, since
# a message may hold commas), or a list.
WHOLE: Final = "whole"
MESSAGE_AND_KEY: Final = "message_and_key"
LIST: Final = "list"

Arguments = tuple[str, ...]
Lookup = Mapping[str, Any]

_HOST = re.compile(r"[A-Za-z0-9._-]+(:\d+)?")
_AWS_PLAIN = "-_.~"  # the characters AWS leaves unescaped beside letters and digits


def _failed(name: str, why: str) -> InterpolationError:
    return InterpolationError("function_failed", f"{name} failed: {why}.")


def encode_base64(args: Arguments, _: Lookup) -> str:
    """Standard base64 (RFC 4648 section 4) of the UTF-8 text."""
    return base64.b64encode(args[0].encode()).decode()


def sha256_hex(args: Arguments, _: Lookup) -> str:
    """Lower-case hexadecimal SHA-256 of the UTF-8 text."""
    return hashlib.sha256(args[0].encode()).hexdigest()


def sha256_base64(args: Arguments, _: Lookup) -> str:
    """Base64 of the SHA-256 of the UTF-8 text, as `Content-Digest` (RFC 9530) wants it."""
    return base64.b64encode(hashlib.sha256(args[0].encode()).digest()).decode()


def hmac_sha1_hex(args: Arguments, _: Lookup) -> str:
    """Lower-case hexadecimal HMAC-SHA1 (RFC 2104) of a message under a key."""
    return hmac.new(args[1].encode(), args[0].encode(), hashlib.sha1).hexdigest()


def _load_private_key(name: str, pem: str) -> "PrivateKeyTypes":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(mended(pem).strip().encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # `from None`: the parser's message may quote the key.
        raise _failed(name, f"the key is no readable PEM ({type(error).__name__})") from None


def fingerprint(args: Arguments, _: Lookup) -> str:
    """`SHA256:` and the base64 SHA-256 of the key's SubjectPublicKeyInfo (RFC 5280).

    Takes a private key, whose public half is meant, or a public key, in PEM.

    Raises:
        InterpolationError: the key can't be read.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_pem_public_key,
    )

    pem = mended(args[0]).strip()
    if "PUBLIC KEY" in pem:
        try:
            public = load_pem_public_key(pem.encode())
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise _failed(
                "fingerprint", f"the key is no readable PEM ({type(error).__name__})"
            ) from None
    else:
        public = _load_private_key("fingerprint", pem).public_key()
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return "SHA256:" + base64.b64encode(hashlib.sha256(der).digest()).decode()


def ed25519_sign(args: Arguments, _: Lookup) -> str:
    """Base64 Ed25519 signature (RFC 8032) of a message under a PEM private key.

    Raises:
        InterpolationError: the key can't be read or is of another kind.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
    )

    key = _load_private_key("ed25519Sign", args[1])
    if not isinstance(key, Ed25519PrivateKey):
        raise _failed("ed25519Sign", "the key is not an Ed25519 key")
    return base64.b64encode(key.sign(args[0].encode())).decode()


def aws_sigv4(args: Arguments, lookup: Lookup) -> str:
    """The `Authorization` value of AWS Signature Version 4 for the request being built.

    Arguments: access key id, secret access key, region, service and optionally the host. The
    request is read from `lookup`: `method`, `host`, `path`, `params` (the query as sent),
    `contentType`, `bodyCanonicalParams` (the body as sent) and `now`. Signed are `host`,
    `x-amz-date` and, where there is one, `content-type`; the entry must send `x-amz-date` as
    `${now:YYYYMMDDTHHmmss[Z]}`.

    Source: AWS General Reference, "Create a signed AWS API request".

    Raises:
        InterpolationError: too few arguments, or no instant to sign with.
    """
    least, most = 4, 5
    if not least <= len(args) <= most:
        raise _failed("awsSigV4", "it takes four or five arguments")
    access_key, secret_key, region, service = args[:4]
    host = args[4] if len(args) == most else str(lookup.get("host", ""))
    when = dates.parse_iso(str(lookup.get("now", "")))
    if when is None or not _HOST.fullmatch(host):
        raise _failed("awsSigV4", "it needs an instant and a host")
    stamp = dates.format_instant(when, "YYYYMMDDTHHmmss[Z]")
    path = str(lookup.get("path", "")) or "/"
    content_type = str(lookup.get("contentType", "") or "")
    headers = {"host": host, "x-amz-date": stamp}
    if content_type:
        headers["content-type"] = content_type
    names = ";".join(sorted(headers))
    body = str(lookup.get("bodyCanonicalParams", "") or "")
    canonical = "\n".join(
        (
            str(lookup.get("method", "GET")).upper(),
            # Every service but s3 escapes the path once more.
            path if service == "s3" else quote(path, safe="/" + _AWS_PLAIN),
            _canonical_query(str(lookup.get("params", "") or "")),
            *(f"{name}:{' '.join(headers[name].split())}" for name in sorted(headers)),
            "",
            names,
            hashlib.sha256(body.encode()).hexdigest(),
        )
    )
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    to_sign = "\n".join(
        ("AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest())
    )
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    return (
        f"AWS4-HMAC-SHA256 Credential={access_key}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}"
    )


def _canonical_query(query: str) -> str:
    pairs = [
        (quote(name, safe=_AWS_PLAIN), quote(value, safe=_AWS_PLAIN))
        for name, value in parse_qsl(query, keep_blank_values=True)
    ]
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


FUNCTIONS: Final[Mapping[str, tuple[Callable[[Arguments, Lookup], str], str]]] = {
    "hmacSha1Hex": (hmac_sha1_hex, MESSAGE_AND_KEY),
    "awsSigV4": (aws_sigv4, LIST),
    "base64": (encode_base64, WHOLE),
    "fingerprint": (fingerprint, WHOLE),
    "sha256Hex": (sha256_hex, WHOLE),
    "sha256Base64": (sha256_base64, WHOLE),
    "ed25519Sign": (ed25519_sign, MESSAGE_AND_KEY),
}
