"""What tests of the vault seal, and where it belongs."""

from __future__ import annotations

from typing import Any

from keystow.vault import Envelope, Purpose

BINDING = ("integration", "c1", "connection#secret", "g1", "1")


def sealed(ctx: Any, text: bytes = b"secret") -> Envelope:
    found = ctx.vault.seal(Purpose.CREDENTIAL, "env1", BINDING, text)
    assert isinstance(found, Envelope)
    return found
