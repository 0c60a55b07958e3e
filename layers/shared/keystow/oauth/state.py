"""The state of one authorization attempt, and the cookie that ties it to one browser.

RFC 6749 §10.12 and RFC 9700 §4.7: state is 256 random bits, stored only as a hash and used once
(the store sees to that). The cookie holds a second, independent secret, so that who learns the
state from a URL still cannot finish the attempt in another browser. Each attempt has a cookie of
its own, named after its state, so that several popups at once do not overwrite one another.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from typing import TYPE_CHECKING, Final

from keystow.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_BYTES: Final = 32
_NAME_DIGITS: Final = 16
_NAME: Final = "keystow-state-"
_LONGEST_STATE: Final = 512
DEFAULT_MAX_AGE: Final = 3600


@dataclass(frozen=True)
class NewState:
    """What one attempt needs.

    Attributes:
        value: goes to the provider and comes back in the callback.
        hash: the key under which the attempt is stored.
        binding: the value of the browser's cookie.
        binding_hash: stored with the attempt.
    """

    value: str
    hash: str
    binding: Secret[str]
    binding_hash: str

    def __repr__(self) -> str:
        return f"NewState(hash={self.hash[:_NAME_DIGITS]}...)"


def new_state(random_bytes: Callable[[int], bytes]) -> NewState:
    """Return a fresh state with its browser binding, 256 random bits each.

    Args:
        random_bytes: gives that many cryptographically random bytes.
    """
    value = _token(random_bytes(_BYTES))
    binding = _token(random_bytes(_BYTES))
    return NewState(value, hash_of(value), Secret(binding), hash_of(binding))


def hash_of(value: str) -> str:
    """Return the SHA-256 of a state or binding, in lower-case hex, for storing and looking up.

    Any text may come in from a callback; one that no state of ours can be gives a hash that no
    row has.
    """
    return sha256(value[:_LONGEST_STATE].encode("utf-8", "surrogatepass")).hexdigest()


def cookie_name(state_hash: str, *, secure: bool) -> str:
    """Return the name of an attempt's cookie.

    Args:
        state_hash: see :func:`hash_of`.
        secure: whether the callback is https; the ``__Host-`` prefix (RFC 6265bis §4.1.3.2) can
            then keep other hosts of the domain from setting it. On loopback http browsers would
            drop such a cookie, so the plain name is used.
    """
    return ("__Host-" if secure else "") + _NAME + state_hash[:_NAME_DIGITS]


def set_cookie(state: NewState, *, secure: bool, max_age: int = DEFAULT_MAX_AGE) -> str:
    """Return the Set-Cookie value that binds an attempt to the browser that starts it.

    Args:
        state: the new attempt.
        secure: see :func:`cookie_name`.
        max_age: seconds.
    """
    name = cookie_name(state.hash, secure=secure)
    return f"{name}={state.binding.reveal()}; Max-Age={max_age}{_attributes(secure=secure)}"


def is_bound(
    cookies: Mapping[str, str], state_hash: str, binding_hash: str, *, secure: bool
) -> bool:
    """Tell whether a request comes from the browser that started the attempt.

    Args:
        cookies: those of the callback request.
        state_hash: of the state in the callback.
        binding_hash: as stored with the attempt; an empty one binds to nothing and never passes.
        secure: see :func:`cookie_name`; only the name that was set is looked at.
    """
    given = hash_of(cookies.get(cookie_name(state_hash, secure=secure), ""))
    return compare_digest(given, binding_hash)


def _attributes(*, secure: bool) -> str:
    # Lax, not Strict: the callback is a navigation that another site started.
    return "; Path=/; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")


def _token(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
