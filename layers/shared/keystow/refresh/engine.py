"""One refresh of one connection: claim, ask the provider, commit; and what to do when any fails.

However it ends, three things hold: at most one token request is in flight for a connection, a token
that the provider gave is never lost, and a token of a former authorization is never stored.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from keystow import ids, metrics
from keystow.activity import log as activity
from keystow.catalog.loader import unfit_inputs
from keystow.log import logger
from keystow.modes import mode_for, revocation
from keystow.oauth.errors import ConfigurationError, TokenError
from keystow.records.connection import LARGEST_SEALED, Sealed, StoredSecret
from keystow.refresh import commit, journal, lease, throttle
from keystow.refresh.due import next_due, read_margin
from keystow.refresh.failures import failure_of, told_of
from keystow.refresh.lease import Claimed
from keystow.registry import integrations, providers
from keystow.store import StoreUnavailable
from keystow.value import replace
from keystow.vault import Purpose, VaultError, VaultUnavailable

if TYPE_CHECKING:
    from keystow.catalog.loader import Provider
    from keystow.context import Context
    from keystow.modes.base import Mode, Renewed
    from keystow.records.integration import Integration

# A second exchange (20 s) must end well within the lease (60 s) and the function's time (50 s).
SECOND_WITHIN_MS: Final = 8_000

State = Literal["refreshed", "busy", "failed", "changed", "gone", "paused"]


@dataclass(frozen=True)
class Outcome:
    """How a refresh ended.

    ``refreshed``: by us, just now. ``changed``: somebody else wrote a newer credential. ``busy``:
    somebody else holds the lease. ``failed``: the provider gave none; ``secret.failure`` tells
    why. ``gone``: the connection was deleted (``secret`` is None). ``paused``: the provider's host
    has asked for patience, nothing was sent; ``until`` (milliseconds since the epoch) says when.
    """

    state: State
    secret: StoredSecret | None
    until: int | None = None


class TooLate(Exception):  # noqa: N818 - an outcome, not a fault
    """No time is left to begin an exchange and see it through; nothing was sent."""


def refresh(
    ctx: Context, secret: StoredSecret, *, forced: bool = False, until: float = float("inf")
) -> Outcome:
    """Renew a credential.

    Args:
        ctx: the container's context.
        secret: the credential as just read.
        forced: a caller refused the current token.
        until: epoch seconds after which nothing is sent any more.

    Raises:
        StoreUnavailable, VaultUnavailable, TooLate: before anything was sent; nothing has changed.
        VaultError: the credential does not open.
    """
    paused = throttle.paused_until(ctx, secret.environment, secret.host)
    if paused is not None:
        return Outcome("paused", secret, paused)
    # Whatever may be missing is missed before the lease is taken and anything is sent: the data key
    # for the answer above all, since a rotated token must not be lost because KMS does not answer.
    ctx.vault.warm(Purpose.CREDENTIAL, secret.environment)
    integration = integrations.by_id(ctx, secret.environment, secret.integration)
    provider = None
    if integration is not None:
        provider = providers.find(ctx, secret.environment, integration.provider)
        with suppress(VaultError):
            integration.secrets(ctx.vault)
    mode = mode_for(provider, secret.credential_type)
    sealed = secret.unseal(ctx.vault)
    if ctx.clock.now() >= until:
        raise TooLate
    # Others may have heard of a pause meanwhile; a look into memory.
    paused = throttle.paused_until(ctx, secret.environment, secret.host)
    if paused is not None:
        return Outcome("paused", secret, paused)

    claimed = lease.claim(ctx, secret, forced=forced)
    if not isinstance(claimed, Claimed):
        return _overtaken(secret, claimed.found)
    attempt = _Attempt(ctx, claimed.secret, integration, provider, mode)
    try:
        renewed = attempt.ask(sealed)
    except TokenError as error:
        return attempt.failed(error)
    return attempt.succeeded(renewed)


def revoke_late(ctx: Context, secret: StoredSecret) -> None:
    """Revoke a credential that arrived when its connection was gone already."""
    integration = integrations.by_id(ctx, secret.environment, secret.integration)
    if integration is None:
        return
    provider = providers.find(ctx, secret.environment, integration.provider)
    attempt = _Attempt(ctx, secret, integration, provider, None)
    attempt.revoke(secret.unseal(ctx.vault))


def _overtaken(seen: StoredSecret, found: StoredSecret | None) -> Outcome:
    if found is None:
        return Outcome("gone", None)
    if (found.generation, found.version) != (seen.generation, seen.version):
        return Outcome("changed", found)
    return Outcome("busy", found)


@dataclass
class _Attempt:
    """What one claimed refresh works with."""

    ctx: Context
    mine: StoredSecret
    integration: Integration | None
    provider: Provider | None
    mode: Mode | None

    def ask(self, sealed: Sealed) -> Renewed:
        """Ask the provider. Raises TokenError."""
        if self.integration is None or self.provider is None:
            raise TokenError("configuration", "integration_missing", "The integration is gone")
        if self.mode is None or not self.mode.refreshable(sealed.credentials.reveal()):
            raise TokenError("terminal", "no_refresh_token", "There is nothing to refresh with")
        unfit = unfit_inputs(self.provider, sealed.connection_config.reveal())
        if unfit:
            raise ConfigurationError("unfit_config", f"Not of its form: {', '.join(unfit)[:200]}")
        try:
            return self.mode.renew(self.ctx, self.provider, self.integration, sealed)
        except TokenError:
            raise
        except (VaultUnavailable, StoreUnavailable) as error:
            cause = type(error).__name__
            raise TokenError("transient", "unavailable", cause, sent=False) from error
        except VaultError as error:
            raise ConfigurationError(
                "integration_unreadable", "The integration's own credentials do not open"
            ) from error
        except Exception as error:
            # A fault of ours, perhaps after the request: nobody may try before the lease is over.
            metrics.count(metrics.FAULTS)
            logger.error("refresh fault", extra={"cause": type(error).__name__})
            raise TokenError("unknown_fate", "fault", type(error).__name__) from error

    def succeeded(self, renewed: Renewed) -> Outcome:
        """Store a renewed credential, or keep it from being lost."""
        metrics.count(metrics.REFRESHED, self.mine.host or "")
        now = int(self.ctx.clock.now() * 1000)
        buffer = self.provider.token_expiration_buffer if self.provider else 0
        due = next_due(now, renewed.expires_at, self._life_days(), self.ctx.random, buffer)
        if renewed.again_at is not None:
            due = min(due or renewed.again_at, renewed.again_at)
        after = replace(
            self.mine,
            version=self.mine.version + 1,
            issued_at=now,
            expires_at=renewed.expires_at,
            due_at=due,
            again_at=renewed.again_at,
            margin=read_margin(buffer),
            lease_until=None,
            failure=None,
            write_id=ids.short_id(self.ctx.random),
        ).resealed(self.ctx.vault, renewed.sealed.within(LARGEST_SEALED))
        outcome = self._settle(commit.store(self.ctx, self.mine, after), renewed)
        mine = self.mine
        throttle.worked(self.ctx, mine.environment, mine.host, mine.key.pk)
        return outcome

    def _life_days(self) -> int | None:
        return self.provider.refresh_token_life_days if self.provider else None

    def _settle(self, result: commit.Result, renewed: Renewed) -> Outcome:
        match result.state:
            case "stored" | "queued":
                if renewed.remark:
                    self._note("warn", renewed.remark)
                return Outcome("refreshed", result.secret)
            case "overtaken":
                return Outcome("changed", result.secret)  # a newer one is stored; ours is parked
            case "replaced":
                # Authorized anew meanwhile: the new grant must not be put at risk, since some
                # providers revoke everything of one user and one app together.
                self._note("warn", "A token of a former authorization arrived and was dropped")
                return Outcome("changed", result.secret)
            case "deleted":
                self.revoke(renewed.sealed)
                return Outcome("gone", None)

    def failed(self, error: TokenError) -> Outcome:
        """Record why there is no fresh credential; a dead grant is believed only after a check."""
        if error.kind == "terminal":
            second = self._second_opinion()
            if isinstance(second, Outcome):
                return second
            error = second or error
        if error.kind == "throttled":
            mine = self.mine
            throttle.note(self.ctx, mine.environment, mine.host, mine.key.pk, error.retry_after)
        metrics.count(metrics.REFRESH_FAILED, self.mine.host or "")
        now = int(self.ctx.clock.now() * 1000)
        log_id = activity.record(
            self.ctx,
            self.mine.environment,
            "auth",
            "refresh_token",
            "failed",
            activity.Message(
                "error",
                f"Refreshing failed ({error.code})",
                {
                    "kind": error.kind,
                    "code": error.code,
                    "description": told_of(error, self.mine.failure),
                    "status": error.status,
                },
            ),
            connection_id=self.mine.connection_id,
            integration_key=self.integration.unique_key if self.integration else None,
            provider=self.mine.provider,
        )
        failure = failure_of(
            error,
            previous=self.mine.failure,
            now=now,
            lease_until=self.mine.lease_until or now,
            log_id=log_id,
            random=self.ctx.random,
            revision=self.integration.revision if self.integration else 0,
        )
        keeps_lease = error.kind == "unknown_fate"
        due: int | None = failure.next_at
        if error.kind == "terminal":
            due = None
        elif error.kind == "throttled":  # spread, so that those of one host do not come together
            due = throttle.resume_at(failure.next_at, now, self.ctx.random)
        after = replace(
            self.mine,
            failure=failure,
            lease_until=self.mine.lease_until if keeps_lease else None,
            due_at=due,
            write_id=ids.short_id(self.ctx.random),
        )
        result = commit.store_failure(self.ctx, self.mine, after, self.provider, self.integration)
        if result.state == "deleted":
            return Outcome("gone", None)
        if result.state in {"overtaken", "replaced"}:
            return Outcome("changed", result.secret)
        return Outcome("failed", result.secret)

    def _second_opinion(self) -> Outcome | TokenError | None:
        """Look again before a grant is declared dead.

        A newer version means that somebody else succeeded; a journalled token of this generation is
        tried once, while there is time. Returns how that ended, or what stands in the way of
        knowing; None: the grant is dead.
        """
        try:
            item = self.ctx.store.get(self.mine.key)
            if item is None:
                return Outcome("gone", None)
            found = StoredSecret.from_item(item)
            if (found.generation, found.version) != (self.mine.generation, self.mine.version):
                return Outcome("changed", found)
            parked = journal.latest(self.ctx, self.mine)
        except (StoreUnavailable, VaultUnavailable) as error:
            return TokenError("transient", "unavailable", type(error).__name__, sent=False)
        if parked is None:
            return None
        spent = self.ctx.clock.now() * 1000 - (self.mine.sent_at or 0)
        if spent > SECOND_WITHIN_MS:
            return TokenError(
                "transient", "no_time_left", "Another token is tried soon", sent=False
            )
        try:
            renewed = self.ask(parked.sealed)
        except TokenError as error:
            if error.kind != "terminal":
                return error
            journal.mark_used(self.ctx, parked)
            return TokenError("transient", "invalid_grant", "Another token may be left", sent=False)
        outcome = self.succeeded(renewed)
        journal.mark_used(self.ctx, parked)
        self._note("info", "A token that had lost a race was used")
        return outcome

    def revoke(self, sealed: Sealed) -> None:
        if self.provider is None or self.integration is None:
            return
        result = revocation.revoke(self.ctx, self.provider, self.integration, sealed)
        self._note("info", f"A token arrived too late and was revoked: {result.outcome}")

    def _note(self, level: activity.Level, text: str) -> None:
        activity.record(
            self.ctx,
            self.mine.environment,
            "auth",
            "refresh_token",
            "success",
            activity.Message(level, text),
            connection_id=self.mine.connection_id,
            integration_key=self.integration.unique_key if self.integration else None,
            provider=self.mine.provider,
        )
