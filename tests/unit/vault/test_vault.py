"""The vault opens what it sealed, where it was sealed for, and nothing else."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystow.store import StoreUnavailable, Update, tables
from keystow.value import replace
from keystow.vault import Envelope, Purpose, Vault, VaultError, VaultUnavailable
from keystow.vault.kms import KmsError, KmsKeyWrapper, Wrapped
from keystow.vault.vault import CACHE_SECONDS, WARM_SECONDS
from tests.aws_server import serving
from tests.support import CountingRandom, FakeKms, make_context, run_in_parallel
from tests.unit.vault.sealing import BINDING, sealed


def test_what_is_sealed_opens() -> None:
    ctx = make_context()
    envelope = Envelope.from_item(sealed(ctx, b"secret").as_item())

    assert ctx.vault.open(Purpose.CREDENTIAL, "env1", BINDING, envelope) == b"secret"


@given(st.binary(max_size=2000))
def test_no_plaintext_shows_in_its_envelope(plaintext: bytes) -> None:
    envelope = sealed(make_context(), plaintext)

    assert len(envelope.ciphertext) == len(plaintext) + 16
    if len(plaintext) > 4:
        assert plaintext not in envelope.ciphertext


@pytest.mark.parametrize(
    ("environment", "binding"),
    [
        ("env2", BINDING),
        ("env1", ("integration", "c2", "connection#secret", "g1", "1")),
        ("env1", ("integration", "c1", "connection#secret", "g2", "1")),
        ("env1", ("integration", "c1", "connection#secret", "g1", "2")),
        ("env1", ("integrationc1", "", "connection#secret", "g1", "1")),
        ("env1", BINDING[:-1]),
    ],
)
def test_an_envelope_moved_elsewhere_does_not_open(
    environment: str, binding: tuple[str, ...]
) -> None:
    ctx = make_context()
    envelope = sealed(ctx)
    ctx.vault.seal(Purpose.CREDENTIAL, "env2", BINDING, b"so that env2 has a data key")

    with pytest.raises(VaultError):
        ctx.vault.open(Purpose.CREDENTIAL, environment, binding, envelope)


def test_an_envelope_does_not_open_for_another_purpose() -> None:
    ctx = make_context()

    with pytest.raises(VaultError):
        ctx.vault.open(Purpose.SIGNING, "env1", BINDING, sealed(ctx))


def test_kms_is_not_asked_for_an_envelope_of_another_purpose() -> None:
    ctx: Any = make_context()
    envelope = sealed(ctx)
    ctx.clock.advance(CACHE_SECONDS)

    with pytest.raises(VaultError):
        ctx.vault.open(Purpose.SESSION, "env1", BINDING, envelope)

    assert ctx.kms.unwrapped == 0


@pytest.mark.parametrize("part", ["nonce", "ciphertext"])
def test_an_altered_envelope_does_not_open(part: str) -> None:
    ctx = make_context()
    envelope = sealed(ctx)
    value = bytearray(getattr(envelope, part))
    value[-1] ^= 1
    changes: dict[str, Any] = {part: bytes(value)}

    with pytest.raises(VaultError):
        ctx.vault.open(Purpose.CREDENTIAL, "env1", BINDING, replace(envelope, **changes))


@pytest.mark.parametrize("found", [None, "text", {}, {"f": 2, "k": "x", "n": b"", "c": b""}])
def test_what_is_no_envelope_is_refused(found: Any) -> None:
    with pytest.raises(VaultError):
        Envelope.from_item(found)


def test_no_nonce_is_used_twice() -> None:
    ctx = make_context()

    nonces = {sealed(ctx).nonce for _ in range(200)}

    assert len(nonces) == 200
    assert {len(nonce) for nonce in nonces} == {12}


def test_one_data_key_serves_a_month_and_an_environment() -> None:
    ctx: Any = make_context()
    sealed(ctx)
    sealed(ctx)
    ctx.vault.seal(Purpose.CREDENTIAL, "env2", BINDING, b"x")
    ctx.vault.seal(Purpose.SIGNING, "env1", BINDING, b"x")
    ctx.clock.advance(30 * 86_400)  # from the first to the last of January
    assert sealed(ctx).data_key == "credential-202601"
    assert ctx.kms.generated == 3

    ctx.clock.advance(86_400)

    assert sealed(ctx).data_key == "credential-202602"
    assert ctx.kms.generated == 4


def test_workers_share_the_data_key_of_the_first() -> None:
    ctx: Any = make_context()

    def work(number: int) -> Envelope:
        vault = Vault(ctx.store, ctx.kms, ctx.clock, CountingRandom(str(number)))
        return vault.seal(Purpose.CREDENTIAL, "env1", BINDING, b"secret")

    envelopes = run_in_parallel(8, work)

    opened = [ctx.vault.open(Purpose.CREDENTIAL, "env1", BINDING, each) for each in envelopes]
    assert opened == [b"secret"] * 8
    stored = [row for row in ctx.store.everything()["registry"] if "wrapped" in row]
    assert len(stored) == 1


def test_a_warm_vault_asks_kms_nothing() -> None:
    ctx: Any = make_context()
    envelope = sealed(ctx)

    ctx.clock.advance(CACHE_SECONDS - 1)
    ctx.vault.open(Purpose.CREDENTIAL, "env1", BINDING, envelope)

    assert (ctx.kms.generated, ctx.kms.unwrapped) == (1, 0)


def test_an_unwrapped_data_key_is_forgotten_after_five_minutes() -> None:
    ctx: Any = make_context()
    envelope = sealed(ctx)
    ctx.vault.open(Purpose.CREDENTIAL, "env1", BINDING, envelope)

    ctx.clock.advance(CACHE_SECONDS)
    ctx.vault.open(Purpose.CREDENTIAL, "env1", BINDING, envelope)

    assert ctx.kms.unwrapped == 1


def test_unwrapped_data_keys_are_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keystow.vault.vault.CACHE_KEYS", 3)
    ctx = make_context()

    for number in range(10):
        ctx.vault.seal(Purpose.CREDENTIAL, f"env{number}", BINDING, b"x")

    assert len(ctx.vault._cache) == 3


def test_the_data_keys_used_last_stay_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keystow.vault.vault.CACHE_KEYS", 3)
    ctx: Any = make_context()
    for number in range(10):
        ctx.vault.seal(Purpose.CREDENTIAL, f"env{number}", BINDING, b"x")
    ctx.kms.failure = KmsError("ThrottlingException")

    for number in (7, 8, 9):
        ctx.vault.seal(Purpose.CREDENTIAL, f"env{number}", BINDING, b"x")


def test_opening_makes_no_data_key() -> None:
    ctx: Any = make_context()
    envelope = replace(sealed(ctx), data_key="credential-20200101")
    made = ctx.kms.generated

    with pytest.raises(VaultError):
        ctx.vault.open(Purpose.CREDENTIAL, "env1", BINDING, envelope)

    assert ctx.kms.generated == made
    rows = ctx.store.everything()["registry"]
    assert not any("20200101" in row["sk"] for row in rows)


def test_each_purpose_and_environment_is_warmed_for_itself() -> None:
    ctx: Any = make_context()
    for purpose in Purpose:
        ctx.vault.warm(purpose, "env1")
    ctx.vault.warm(Purpose.CREDENTIAL, "env2")
    assert ctx.kms.generated == len(Purpose) + 1
    ctx.vault.warm(Purpose.CREDENTIAL, "env1")
    assert (ctx.kms.generated, ctx.kms.unwrapped) == (len(Purpose) + 1, 0)
    ctx.kms.failure = KmsError("ThrottlingException")
    for purpose in Purpose:
        ctx.vault.seal(purpose, "env1", BINDING, b"x")
    with pytest.raises(VaultUnavailable):
        ctx.vault.warm(Purpose.SESSION, "env2")


def test_a_data_key_that_lives_long_enough_is_not_had_anew_by_warming() -> None:
    ctx: Any = make_context()
    ctx.vault.warm(Purpose.CREDENTIAL, "env1")
    ctx.clock.advance(CACHE_SECONDS - WARM_SECONDS - 1)
    ctx.vault.warm(Purpose.CREDENTIAL, "env1")
    assert ctx.kms.unwrapped == 0
    ctx.clock.advance(1)
    ctx.vault.warm(Purpose.CREDENTIAL, "env1")
    assert ctx.kms.unwrapped == 1
    ctx.kms.failure = KmsError("ThrottlingException")
    ctx.clock.advance(CACHE_SECONDS - 1)
    sealed(ctx)


@pytest.mark.parametrize("call", ["get", "transact"])
def test_the_table_of_data_keys_being_away_is_told_as_kms_being_away(
    monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    ctx: Any = make_context()

    def away(*_what: Any) -> Any:
        raise StoreUnavailable("throttled")

    monkeypatch.setattr(ctx.store, call, away)
    with pytest.raises(VaultUnavailable, match="throttled"):
        sealed(ctx)
    monkeypatch.undo()
    sealed(ctx)


def test_kms_is_given_environment_and_purpose() -> None:
    ctx: Any = make_context()
    seen: list[dict[str, str]] = []

    class Noting(FakeKms):
        def generate(self, context: Any) -> tuple[bytes, Wrapped]:
            seen.append(dict(context))
            return super().generate(context)

    vault = Vault(ctx.store, Noting(), ctx.clock, ctx.random)
    vault.seal(Purpose.SESSION, "env1", BINDING, b"x")

    assert seen == [{"keystow:environment": "env1", "keystow:purpose": "session"}]


@pytest.mark.parametrize(
    ("code", "altered", "expected"),
    [
        ("ThrottlingException", False, VaultUnavailable),
        ("AccessDeniedException", False, VaultUnavailable),
        ("DisabledException", False, VaultUnavailable),
        ("InvalidCiphertextException", True, VaultError),
    ],
)
def test_a_broken_data_key_is_told_from_kms_being_away_or_refusing(
    code: str, altered: bool, expected: type[Exception]
) -> None:
    ctx: Any = make_context()
    ctx.kms.failure = KmsError(code, altered=altered)

    with pytest.raises(expected):
        sealed(ctx)


def test_destroying_a_data_key_destroys_what_it_sealed() -> None:
    ctx: Any = make_context()
    envelope = sealed(ctx)

    ctx.store.update(Update(tables.data_key("env1", envelope.data_key), remove=("wrapped",)))
    ctx.clock.advance(CACHE_SECONDS)

    with pytest.raises(VaultError):
        ctx.vault.open(Purpose.CREDENTIAL, "env1", BINDING, envelope)


def test_it_works_with_kms_itself() -> None:
    with serving() as aws, closing(aws.client("kms")) as client:
        key_id = aws.botocore("kms").create_key()["KeyMetadata"]["KeyId"]
        ctx = make_context(kms=KmsKeyWrapper(client, key_id))
        envelope = sealed(ctx)
        fresh = Vault(ctx.store, KmsKeyWrapper(client, key_id), ctx.clock, ctx.random)

        assert fresh.open(Purpose.CREDENTIAL, "env1", BINDING, envelope) == b"secret"


def test_a_key_warmed_before_a_new_month_seals_in_it_without_kms() -> None:
    ctx: Any = make_context()
    ctx.clock.set(1_769_903_990)  # ten seconds to 1 February 2026, 0:00 UTC
    ctx.vault.warm(Purpose.CREDENTIAL, "env1")
    ctx.clock.advance(20)
    ctx.kms.failure = KmsError("ThrottlingException")

    envelope = ctx.vault.seal(Purpose.CREDENTIAL, "env1", BINDING, b"rotated")

    assert ctx.vault.open(Purpose.CREDENTIAL, "env1", BINDING, envelope) == b"rotated"
    ctx.kms.failure = None
    ctx.clock.advance(600)
    later = ctx.vault.seal(Purpose.CREDENTIAL, "env1", BINDING, b"x")
    assert later.data_key != envelope.data_key
