"""The algorithms that tokens are signed with (RFC 7518 §3.1), by the protocol of an entry."""

from collections.abc import Mapping
from typing import Final

ALGORITHMS: Final[Mapping[str, frozenset[str]]] = {
    "HMAC": frozenset({"HS256", "HS384", "HS512"}),
    "RSA": frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
    "EC": frozenset({"ES256", "ES384", "ES512"}),
}
# Of those with a key pair: what an assertion is signed with.
OF_PAIRS: Final = ALGORITHMS["RSA"] | ALGORITHMS["EC"]
EVERY: Final = ALGORITHMS["HMAC"] | OF_PAIRS
