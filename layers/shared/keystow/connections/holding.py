"""A connection with a credential that works now: what reading and the proxy begin with.

One strongly consistent query brings the description and the sealed credential; the data key is in
memory; nothing is written but once a day, and then what an older month's data key sealed is sealed
anew, so that readers need few data keys. A credential with under a minute of life left is renewed
first, by exactly one of however many readers there are.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from keystow import metrics
from keystow.connections import views
from keystow.errors import ApiError
from keystow.log import logger
from keystow.records.connection import AuthError, Connection, Sealed, StoredSecret
from keystow.refresh.due import is_valid, needs_refresh_before_read
from keystow.refresh.lease import CLOCK_SKEW_MS, is_held
from keystow.registry import integrations
from keystow.store import (
    All,
    Any_,
    Below,
    ConditionFailed,
    Equals,
    Missing,
    StoreUnavailable,
    Update,
    tables,
)
from keystow.value import Value, replace
from keystow.vault import Purpose, VaultError, VaultUnavailable

if TYPE_CHECKING:
    from keystow.context import Context

DAY_MS: Final = 86_400_000
# Longer than a whole exchange (20 s) with the claim before it and the commit behind it, so that who
# waits for one that succeeds gets its token; API Gateway gives up after 30 s.
WAIT_SECONDS: Final = 25.0
# Later than this a reader begins no exchange of its own (20 s): the function would be stopped in
# the middle of it, and a rotated token lost.
BEGIN_WITHIN_SECONDS: Final = 6.0
FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 1.0
FORCED_ONCE_IN_MS: Final = 10_000
ROUNDS: Final = 4


def find(
    ctx: Context, environment: str, provider_config_key: str, connection_id: str
) -> tuple[Connection, StoredSecret]:
    """Return a connection's description and sealed credential.

    Raises:
        ApiError: 400 ``unknown_provider_config``, 404 ``not_found``, ``connection_pending``.
    """
    integration = integrations.id_of(ctx, environment, provider_config_key)
    found = integration and _load(ctx, environment, integration, connection_id)
    if not found:
        # The remembered integration may have been deleted and made anew under the same key.
        integration = integrations.id_of(ctx, environment, provider_config_key, fresh=True)
        if integration is None:
            raise ApiError("unknown_provider_config", "There is no integration of this key")
        found = _load(ctx, environment, integration, connection_id)
    if not found:
        raise ApiError("not_found", "There is no such connection")
    return found


def _load(
    ctx: Context, environment: str, integration: str, connection_id: str
) -> tuple[Connection, StoredSecret] | None:
    pk = tables.connection_pk(environment, integration, connection_id)
    page = ctx.store.query(tables.CONNECTIONS, pk, prefix=tables.CONNECTION)
    items = {item["sk"]: item for item in page.items}
    if tables.CONNECTION not in items or tables.CONNECTION_SECRET not in items:
        waiting = items.get(tables.CONNECTION_PENDING)
        if waiting is not None and waiting["until"] > ctx.clock.now() * 1000:
            raise ApiError(
                "connection_pending",
                "The connection waits for confirmation: POST /connections/{connection_id}/confirm",
            )
        return None
    return (
        Connection.from_item(items[tables.CONNECTION]),
        StoredSecret.from_item(items[tables.CONNECTION_SECRET]),
    )


class Held(Value):
    """A connection with its credential opened; ``fetched_at``: when it was last read."""

    connection: Connection
    secret: StoredSecret
    sealed: Sealed
    fetched_at: int | None


def hold(
    ctx: Context,
    environment: str,
    provider_config_key: str,
    connection_id: str,
    *,
    forced: bool = False,
    fit_for_use: bool = True,
) -> Held:
    """Return a connection with its credential, which is renewed first when it is nearly over.

    Args:
        ctx: the container's context.
        environment: the caller's environment.
        provider_config_key: the integration's unique key.
        connection_id: which connection.
        forced: the caller has seen the current token refused.
        fit_for_use: False takes the credential as it is.

    Raises:
        ApiError: as :func:`keystow.connections.read.read`.
    """
    try:
        with ctx.vault.fetching_ahead(Purpose.CREDENTIAL, environment):
            connection, secret = find(ctx, environment, provider_config_key, connection_id)
            if fit_for_use:
                reading = _Reading(ctx, provider_config_key, connection, secret, forced=forced)
                reading.settle()
                connection, secret = reading.connection, reading.secret
            sealed = secret.unseal(ctx.vault)
    except VaultError as error:
        raise _unreadable(connection_id) from error
    return Held(connection, secret, sealed, _note_fetch(ctx, secret, sealed))


def hold_another(ctx: Context, provider_config_key: str, held: Held, began: float) -> Held | None:
    """Return a connection with another credential than the one that its provider just refused.

    The lease, the pauses and the limit of one forced renewal in 10 s are those of a read that
    refuses its credential.

    Args:
        ctx: the container's context.
        provider_config_key: the integration's unique key.
        held: with the credential that was refused.
        began: epoch seconds of the beginning of the request, from which its time counts.

    Returns:
        None when there is no other credential, and none could be got.
    """
    if not held.secret.refreshable:
        return None
    reading = _Reading(
        ctx, provider_config_key, held.connection, held.secret, forced=True, began=began
    )
    try:
        reading.settle()
        if _is_same(reading.secret, held.secret):
            return None
        sealed = reading.secret.unseal(ctx.vault)
    except (ApiError, StoreUnavailable, VaultUnavailable):
        return None  # the provider's refusal is what the caller hears
    except VaultError as error:
        raise _unreadable(held.connection.connection_id) from error
    return Held(reading.connection, reading.secret, sealed, held.fetched_at)


def _unreadable(connection_id: str) -> ApiError:
    metrics.count(metrics.SECRETS_UNOPENED)
    logger.error("a credential does not open", extra={"connection": connection_id})
    return ApiError(
        "invalid_credentials",
        "The stored credential cannot be opened; the account must be connected again",
        status=424,
    )


def _note_fetch(ctx: Context, secret: StoredSecret, sealed: Sealed) -> int | None:
    """Write when the connection was last read, at most once a day; return when that was.

    What an older month's data key sealed is sealed anew with it: keys and passwords are never
    renewed, and without this, readers of many would ask KMS for the data key of every month in
    which one was stored. Whatever stands in the way, a later day does it.
    """
    now = int(ctx.clock.now() * 1000)
    last = secret.fetched_at
    if last is not None and now - last < DAY_MS:
        return last
    changes: dict[str, Any] = {"fetched_at": now}
    if not secret.is_current(ctx.vault):
        with contextlib.suppress(VaultError, VaultUnavailable):
            changes["sealed"] = secret.resealed(ctx.vault, sealed).envelope.as_item()
    same = (
        Equals("generation", secret.generation),
        Equals("version", secret.version),
        Any_((Missing("fetched_at"), Below("fetched_at", now - DAY_MS + 1))),
    )
    try:
        ctx.store.update(Update(secret.key, set=changes, condition=All(same)))
    except (ConditionFailed, StoreUnavailable):
        return last
    return now


class _Reading:
    """One reader's way to a credential that may be handed out.

    Attributes:
        connection, secret: as last seen; after :meth:`settle` fit to be handed out.
    """

    def __init__(
        self,
        ctx: Context,
        provider_config_key: str,
        connection: Connection,
        secret: StoredSecret,
        *,
        forced: bool,
        began: float | None = None,
    ) -> None:
        self.connection = connection
        self.secret = secret
        self._ctx = ctx
        self._provider_config_key = provider_config_key
        self._forced = forced
        # The version that the caller has seen refused; a newer one is as good as a refresh.
        self._refused = secret.version if forced else None
        self._began = ctx.clock.now() if began is None else began

    def settle(self) -> None:
        """Serve the credential at hand, wait for whoever renews it, or renew it.

        Raises:
            ApiError: as :func:`keystow.connections.read.read`.
        """
        for _round in range(ROUNDS):
            if self._is_good():
                return
            if is_held(self.secret, self._now()):
                if self._is_valid() and self._refused is None:
                    return
                self._wait()
                continue
            if self._is_resting():
                self._serve_or_refuse(424)
                return
            if self._renew():
                return
        if not self._is_valid() or self._refused == self.secret.version:
            raise self._in_progress()

    def _now(self) -> int:
        return int(self._ctx.clock.now() * 1000)

    def _is_valid(self) -> bool:
        return is_valid(self.secret.expires_at, self._now())

    def _wants_another(self) -> bool:
        """Return whether the caller refused this very credential, and may ask for another yet."""
        forced_at = self.secret.forced_at
        lately = forced_at is not None and self._now() - forced_at < FORCED_ONCE_IN_MS
        return self._refused == self.secret.version and not lately

    def _is_good(self) -> bool:
        """Return whether the credential at hand is to be handed out as it is.

        Raises:
            ApiError: the caller refused it, and the attempt of seconds ago failed too.
        """
        if not self.secret.refreshable:
            return True
        if self._wants_another():
            return False
        secret = self.secret
        renewed = secret.version > 1
        if needs_refresh_before_read(
            secret.issued_at,
            secret.expires_at,
            self._now(),
            renewed=renewed,
            margin=secret.margin,
        ):
            return False
        if self._refused == self.secret.version and self.secret.failure is not None:
            self._serve_or_refuse(424)
        return True

    def _is_resting(self) -> bool:
        """Return whether nothing should be tried now: a dead grant, or a failure of a moment ago.

        A wrong configuration is tried again as soon as the integration has been changed, and what
        became of a lost answer is found out as soon as the lease is over. Who refused the
        credential has another tried whatever the failure, unless the provider asked for patience.
        """
        failure = self.secret.failure
        if failure is None:
            return False
        if failure.kind == "throttled" and failure.next_at > self._now():
            return True
        if self._wants_another():
            return False
        if failure.kind == "configuration" and failure.revision != self._revision():
            return False
        next_at = failure.next_at
        if failure.kind == "unknown_fate":
            from keystow.refresh.failures import AFTER_LEASE_MS

            next_at -= AFTER_LEASE_MS  # for the queue's sake; whether the lease is held is known
        return failure.kind == "terminal" or next_at > self._now()

    def _revision(self) -> int | None:
        """Return the revision of the integration's configuration; None when it is gone."""
        found = integrations.by_unique_key(
            self._ctx, self.connection.environment, self._provider_config_key
        )
        return None if found is None else found.revision

    def _renew(self) -> bool:
        """Take part in renewing the credential; return whether that settled it."""
        from keystow.refresh import engine

        until = self._began + BEGIN_WITHIN_SECONDS
        forced = self._wants_another()
        try:
            outcome = engine.refresh(self._ctx, self.secret, forced=forced, until=until)
        except engine.TooLate:
            raise self._in_progress() from None
        except (StoreUnavailable, VaultUnavailable):
            if self._is_valid() and not self._forced:
                return True  # nothing was sent; the token is good
            raise
        if outcome.state == "refreshed":
            assert outcome.secret is not None
            self.secret = outcome.secret
            self.connection = replace(self.connection, auth_error=None)
            return True
        if outcome.state == "paused":
            self._serve_or_refuse(424, outcome.until)
            return True
        self._reload()
        if outcome.state != "failed":
            return False
        self._serve_or_refuse(400)
        return True

    def _reload(self) -> None:
        before = self.connection
        found = _load(self._ctx, before.environment, before.integration, before.connection_id)
        if found is None:
            raise ApiError("not_found", "There is no such connection")
        self.connection, self.secret = found

    def _wait(self) -> None:
        """Wait for the refresher who holds the lease; polls the credential alone.

        Raises:
            ApiError: 503 ``refresh_in_progress`` when it takes too long.
        """
        pause = FIRST_PAUSE_SECONDS
        waited_for = self.secret
        while is_held(self.secret, self._now()) and _is_same(self.secret, waited_for):
            failure = self.secret.failure
            lost = failure is not None and failure.at >= (self.secret.sent_at or 0)
            if lost or self._ctx.clock.now() + pause > self._began + WAIT_SECONDS:
                raise self._in_progress()
            self._ctx.clock.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)
            item = self._ctx.store.get(self.secret.key)
            if item is None:
                raise ApiError("not_found", "There is no such connection")
            self.secret = StoredSecret.from_item(item)
        self._reload()

    def _in_progress(self) -> ApiError:
        now = self._now()
        left = (self.secret.lease_until or now) + CLOCK_SKEW_MS - now
        return ApiError(
            "refresh_in_progress",
            "The credential is being renewed and the answer of the provider is still out",
            headers={"retry-after": str(min(65, max(1, (left + 999) // 1000)))},
        )

    def _serve_or_refuse(self, status: int, paused_until: int | None = None) -> None:
        """Let a valid token pass for whoever did not refuse it; else tell what failed.

        Args:
            status: of the answer.
            paused_until: the provider's host is left alone until then; nothing was tried.

        Raises:
            ApiError: 400 or 424 ``invalid_credentials``, or 503 while the fate of a request is
                unknown.
        """
        if not self._forced and self._is_valid():
            return
        failure = self.secret.failure
        if (
            failure is not None
            and failure.kind == "unknown_fate"
            and is_held(self.secret, self._now())
        ):
            raise self._in_progress()
        connection = self.connection
        if failure is not None and connection.auth_error is None:
            connection = replace(connection, auth_error=AuthError(failure.log_id))
        told = f" ({failure.code}): {failure.description}".rstrip(": ") if failure else "."
        headers = {}
        if paused_until is not None:
            told = ". It has asked for fewer requests."
        elif failure is not None and failure.kind == "throttled":
            paused_until = failure.next_at
        if paused_until is not None:
            seconds = (paused_until - self._now() + 999) // 1000
            headers["retry-after"] = str(max(1, seconds))
        shown = views.full(
            connection,
            self._provider_config_key,
            None,
            with_credentials=False,
            with_refresh_token=False,
            fetched_at=self.secret.fetched_at,
        )
        raise ApiError(
            "invalid_credentials",
            f"The provider did not renew the credential{told}",
            status=status,
            payload={"connection": shown},
            headers=headers,
        )


def _is_same(one: StoredSecret, other: StoredSecret) -> bool:
    return (one.generation, one.version) == (other.generation, other.version)
