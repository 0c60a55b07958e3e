"""Two workers that make a data key at once, and an environment that closes meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from keystow.store import Update, gates, tables
from keystow.vault import Purpose, Vault, VaultError, VaultUnavailable
from tests.support import make_context

BINDING = ("integration", "c1", "connection#secret", "g1", "1")


@pytest.fixture
def ctx() -> Any:
    return make_context()


def vault(ctx: Any) -> Vault:
    """A worker of its own: nothing in memory."""
    return Vault(ctx.store, ctx.kms, ctx.clock, ctx.random)


def meanwhile(ctx: Any, then: Any) -> None:
    """Let something happen while KMS makes the next data key."""
    real = ctx.kms.generate

    def generate(context: Any) -> Any:
        ctx.kms.generate = real
        made = real(context)
        then()
        return made

    ctx.kms.generate = generate


def test_a_worker_that_comes_second_seals_with_the_data_key_of_the_first(ctx: Any) -> None:
    first, second = vault(ctx), vault(ctx)
    meanwhile(ctx, lambda: first.seal(Purpose.CREDENTIAL, "env1", BINDING, b"first"))
    envelope = second.seal(Purpose.CREDENTIAL, "env1", BINDING, b"second")
    assert ctx.kms.generated == 2
    assert vault(ctx).open(Purpose.CREDENTIAL, "env1", BINDING, envelope) == b"second"


def test_a_data_key_destroyed_at_the_moment_it_was_made_seals_nothing(ctx: Any) -> None:
    place = {}

    def destroyed() -> None:
        made = vault(ctx).seal(Purpose.CREDENTIAL, "env1", BINDING, b"first")
        place["key"] = tables.data_key("env1", made.data_key)
        ctx.store.update(Update(place["key"], remove=("wrapped",)))

    meanwhile(ctx, destroyed)
    with pytest.raises(VaultError):
        vault(ctx).seal(Purpose.CREDENTIAL, "env1", BINDING, b"second")
    assert "wrapped" not in ctx.store.get(place["key"])


def test_no_data_key_is_made_for_an_environment_that_is_being_deleted(ctx: Any) -> None:
    meanwhile(ctx, lambda: ctx.store.transact(gates.shutting_environment("env1", 0)))
    with pytest.raises(VaultError):
        vault(ctx).seal(Purpose.CREDENTIAL, "env1", BINDING, b"x")
    assert not [row for row in ctx.store.everything()["registry"] if "wrapped" in row]
    assert vault(ctx).seal(Purpose.CREDENTIAL, "env2", BINDING, b"x")


def test_a_table_in_flux_is_no_broken_credential(ctx: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from keystow.store import TransactionConflict

    def conflict(*_writes: Any, **_options: Any) -> None:
        raise TransactionConflict("contended")

    monkeypatch.setattr(gates, "transact", conflict)
    with pytest.raises(VaultUnavailable):
        vault(ctx).seal(Purpose.CREDENTIAL, "env1", BINDING, b"x")
