from __future__ import annotations

import re

from keystow.oauth import pkce
from keystow.secret import Secret


def test_the_vectors_of_the_contract_and_of_the_rfc_hold() -> None:
    contract = Secret("0123456789abcdef0123456789abcdef0123456789abcdef")
    rfc_7636_appendix_b = Secret("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
    assert pkce.challenge(contract) == "NMJuFUurX_VE8p-HR6aR0P7dO4pRZV8n0PWFsbJ1OXA"
    assert pkce.challenge(rfc_7636_appendix_b) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_a_verifier_is_made_of_32_random_bytes() -> None:
    asked: list[int] = []

    def random_bytes(count: int) -> bytes:
        asked.append(count)
        return bytes(range(count))

    verifier = pkce.new_verifier(random_bytes)

    assert asked == [32]
    assert verifier.reveal() == "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    assert re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", verifier.reveal())
    assert verifier.reveal() not in repr(verifier)
