"""What a failed refresh means for the next one, and for whoever reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keystow.records.connection import Failure

if TYPE_CHECKING:
    from keystow.ids import Randomness
    from keystow.oauth.errors import TokenError

TRANSIENT_FIRST_MS: Final = 15_000
LONGEST_MS: Final = 6 * 3_600_000
# That a provider asks for more is not heard.
MOST_PATIENCE_MS: Final = 24 * 3_600_000
# A claim needs the lease to be over by 5 s of skew, and the queue may deliver 10 s early.
AFTER_LEASE_MS: Final = 20_000
CONFIGURATION_FIRST_MS: Final = 600_000

# Told where a provider refuses a token that it may have replaced in an answer we do not have.
IN_DOUBT: Final = (
    "(An earlier request was lost or failed at the provider; it may have used up the token.)"
)

# Kinds that the owner or the SaaS must mend; the others pass by themselves.
NEEDS_A_PERSON: Final = frozenset({"terminal", "configuration"})


def failure_of(
    error: TokenError,
    *,
    previous: Failure | None,
    now: int,
    lease_until: int,
    log_id: str,
    random: Randomness,
    revision: int = 0,
) -> Failure:
    """Return what to remember of a failed attempt.

    Transient failures back off exponentially with jitter up to six hours, forever; a provider that
    asks for patience gets it; a wrong configuration is tried slowly; a dead grant is not tried
    again. When the fate of a rotating token is unknown, nobody tries before the lease is over. A
    grant that is found dead after an answer that was lost or could not be read may have died of it,
    which is then said.
    """
    attempts = (previous.attempts if previous else 0) + 1
    match error.kind:
        case "terminal":
            wait = LONGEST_MS
        case "configuration" | "refused":
            wait = _backoff(CONFIGURATION_FIRST_MS, attempts, random)
        case "throttled":
            asked = int((error.retry_after or 0) * 1000)
            wait = max(asked, _backoff(TRANSIENT_FIRST_MS, attempts, random))
        case "unknown_fate":
            wait = max(
                lease_until + AFTER_LEASE_MS - now, _backoff(TRANSIENT_FIRST_MS, attempts, random)
            )
        case _:
            wait = _backoff(TRANSIENT_FIRST_MS, attempts, random)
    return Failure(
        kind="configuration" if error.kind == "refused" else error.kind,
        code=error.code[:100],
        description=told_of(error, previous),
        at=now,
        attempts=attempts,
        next_at=now + min(wait, MOST_PATIENCE_MS),
        log_id=log_id,
        revision=revision,
        doubt=error.may_have_rotated or (previous is not None and previous.doubt),
    )


def told_of(error: TokenError, previous: Failure | None) -> str:
    """Return what is told of a failed attempt, in at most 300 characters.

    Of a dead grant it is told, too, that an earlier attempt may have been what ended it.
    """
    if error.kind == "terminal" and previous is not None and previous.doubt:
        return f"{error.description[:180]} {IN_DOUBT}".strip()
    return error.description[:300]


def _backoff(first: int, attempts: int, random: Randomness) -> int:
    ceiling = min(LONGEST_MS, first * 2 ** min(attempts - 1, 20))
    share = int.from_bytes(random.bytes(2)) / 0xFFFF
    return int(ceiling * (0.5 + 0.5 * share))
