"""Identifiers and random tokens; randomness is handed in so that a test can repeat it."""

from __future__ import annotations

import hashlib
import re
import secrets
import uuid
from typing import Final, Protocol

# What a caller may call a connection (contract 3).
CONNECTION_ID: Final = re.compile(r"[a-zA-Z0-9,.;:=+~\[\]|@${}\"'\\/_ -]+")


class Randomness(Protocol):
    """A source of random bytes."""

    def bytes(self, count: int) -> bytes:
        """Return that many random bytes."""
        ...


class SystemRandomness:
    """The operating system's generator."""

    def bytes(self, count: int) -> bytes:
        """Return that many random bytes fit for keys and tokens."""
        return secrets.token_bytes(count)


def uuid4(random: Randomness) -> str:
    """Return a UUID version 4 (RFC 9562, section 5.4)."""
    return str(uuid.UUID(bytes=random.bytes(16), version=4))


def numeric_id(now: float, random: Randomness) -> int:
    """Return a time-ordered integer of at most 53 bits, exact in JavaScript.

    41 bits of milliseconds since the epoch (until 2039) and 12 random bits. Two connections of one
    millisecond may draw the same number; nothing but display and order depends on it, and a
    conditional write on (environment, integration, connection) guards identity.
    """
    return (int(now * 1000) & ((1 << 41) - 1)) << 12 | int.from_bytes(random.bytes(2)) & 0xFFF


def operation_id(now: float, random: Randomness) -> str:
    """Return the id of an activity operation: milliseconds, then 64 random bits in hex."""
    return f"{int(now * 1000):013d}_{random.bytes(8).hex()}"


def short_id(random: Randomness) -> str:
    """Return an immutable internal id of 96 random bits in hex."""
    return random.bytes(12).hex()


def sha256_hex(text: str) -> str:
    """Return the lower-case hex SHA-256 of a text; how tokens and keys are stored."""
    return hashlib.sha256(text.encode()).hexdigest()
