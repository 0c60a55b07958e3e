"""Sends a backend's request to a provider's API, and hands back what it answers.

    credential ── renewed first? ── request ── signed ──┬─ send ─┬─ answer ── passed on
                                       ▲                │        │
                                       │                │        ├─ 401: renewed once
                                       └────────────────┴────────┴─ passes by itself: again

All of it ends before API Gateway stops waiting.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from keystow import metrics
from keystow.catalog.errors import InterpolationError
from keystow.catalog.proxy_request import needs, passed_on
from keystow.connections.holding import hold, hold_another
from keystow.egress.errors import EgressFailed, EgressRefused
from keystow.errors import ApiError
from keystow.log import logger
from keystow.modes import mode_for
from keystow.modes.base import Mode
from keystow.modes.calling import caller_of
from keystow.proxy import answers, destinations, retrying
from keystow.registry import integrations, providers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from keystow.catalog.loader import Provider
    from keystow.catalog.proxy_request import Caller, OutgoingRequest
    from keystow.connections.holding import Held
    from keystow.context import Context
    from keystow.egress.client import Answer
    from keystow.proxy.answers import PassedOn
    from keystow.proxy.call import Call, Sees
    from keystow.records.integration import Integration

# API Gateway waits for 30 s; what is left is for the way back.
ANSWERS_WITHIN_SECONDS: Final = 28.0
# With less left no request is sent: an answer could hardly come.
LEAST_SECONDS: Final = 1.0
REDIRECTS: Final = 10
# What an entry may leave to the integration's owner (`integration_config`, contract 7).
OWNERS_SETTINGS: Final = ("baseUrl", "keyName", "keyPlacement", "valueTemplate")
# Each request is signed, or it is of no use.
_SIGNED: Final = frozenset({"OAUTH1", "TBA", "AWS_SIGV4"})


def forward(ctx: Context, environment: str, sees: Sees, call: Call) -> PassedOn:
    """Send a request and return the provider's answer.

    Args:
        ctx: the container's context.
        environment: the caller's.
        sees: what the caller may read anyway, and send anywhere therefore.
        call: what is asked.

    Raises:
        ApiError: 404 ``unknown_provider_config``; 400 ``server_error`` for no such connection or
            no credential, ``base_url_override_not_allowed``, ``missing_api_url``,
            ``unsupported_auth``, ``unknown_provider``, ``invalid_uri_params``; 424
            ``connection_refresh_backoff``; 502 and 504 ``provider_unavailable``; 502
            ``response_too_large``; 503 ``refresh_in_progress``.
    """
    began = ctx.clock.now()
    held = _held(ctx, environment, call)
    provider = providers.find(
        ctx, environment, held.connection.provider, max_age=integrations.CACHE_SECONDS
    )
    if provider is None:
        raise ApiError("unknown_provider", "The provider of this connection is not known any more")
    integration = _integration(ctx, call, held)
    settings = _settings(ctx, provider, integration)
    if not (call.base_url_override or settings.get("baseUrl") or provider.proxy.get("base_url")):
        raise ApiError("missing_api_url", "The provider's entry has no proxy.base_url")
    return _Forwarding(ctx, sees, call, provider, integration, settings, held, began).run()


def _held(ctx: Context, environment: str, call: Call) -> Held:
    """Return the connection, with the errors that callers of the proxy know (contract 7)."""
    try:
        return hold(ctx, environment, call.provider_config_key, call.connection_id)
    except ApiError as error:
        raise _known(error) from error


def _known(error: ApiError) -> ApiError:
    match error.code, error.status:
        case "unknown_provider_config", _:
            return ApiError(error.code, error.message, status=404)
        case "not_found", _:
            return ApiError("server_error", "Failed to get connection: there is none of this id")
        case "invalid_credentials", status if status == 424 and error.payload:  # noqa: PLR2004
            text = f"The credential rests after a failure. {error.message}"
            return ApiError("connection_refresh_backoff", text, headers=error.headers)
        case "invalid_credentials", status:
            text = f"Failed to get connection credentials: '{error.message}'"
            return ApiError("server_error", text, status=status)
        case _:
            return error


def _integration(ctx: Context, call: Call, held: Held) -> Integration:
    """Return the connection's integration. Raises 404 ``unknown_provider_config``."""
    connection = held.connection
    found = integrations.by_unique_key(ctx, connection.environment, call.provider_config_key)
    if found is None or found.id != connection.integration:
        found = integrations.by_id(ctx, connection.environment, connection.integration)
    if found is None:
        raise ApiError("unknown_provider_config", "The integration was deleted", status=404)
    return found


def _settings(ctx: Context, provider: Provider, integration: Integration) -> dict[str, str]:
    """Return what the integration's owner says of the API, where the entry leaves it to them."""
    names = [name for name in OWNERS_SETTINGS if name in provider.integration_config]
    if not names:
        return {}
    custom = integration.secrets(ctx.vault).custom.reveal()
    return {name: str(custom[name]) for name in names if custom.get(name)}


def _caller(
    ctx: Context,
    provider: Provider,
    integration: Integration,
    settings: Mapping[str, str],
    held: Held,
) -> Caller:
    """Return on whose behalf the request is built, which its mode signs.

    Raises:
        ApiError: 400 ``unsupported_auth``.
    """
    kind = held.secret.credential_type
    mode = mode_for(provider, kind)
    if mode is None or (kind in _SIGNED and type(mode).signed is Mode.signed):
        raise ApiError("unsupported_auth", f"Requests with credentials of {kind} are not passed on")
    caller = replace(caller_of(ctx, integration, provider, held.sealed), settings=settings)
    if not needs(provider, "clientSecret"):
        return caller
    secret = integration.secrets(ctx.vault).client_secret.reveal()
    return replace(caller, client={**caller.client, "client_secret": secret})


class _Forwarding:
    """One call, until its answer is passed on."""

    def __init__(
        self,
        ctx: Context,
        sees: Sees,
        call: Call,
        provider: Provider,
        integration: Integration,
        settings: Mapping[str, str],
        held: Held,
        began: float,
    ) -> None:
        self._ctx = ctx
        self._sees = sees
        self._call = call
        self._provider = provider
        self._integration = integration
        self._settings = settings
        self._held = held
        self._began = began
        self._sent = 0
        self._renewed = False

    def run(self) -> PassedOn:
        """Send until there is an answer to pass on. Raises ApiError."""
        entry = self._provider.proxy.get("retry") or {}
        attempt = 0
        while True:
            attempt += 1
            outcome = self._once()
            if attempt > self._call.retries or not self._may_pass(outcome, entry):
                break
            answer = None if isinstance(outcome, EgressFailed) else outcome
            wait = retrying.pause(answer, entry, attempt, self._ctx.clock.now(), self._ctx.random)
            if wait + LEAST_SECONDS > self._left():
                break
            self._ctx.clock.sleep(wait)
        return self._told(outcome)

    def _may_pass(self, outcome: Answer | EgressFailed, entry: dict[str, Any]) -> bool:
        if isinstance(outcome, EgressFailed):
            return not outcome.answered
        return retrying.is_passing(outcome, entry, self._call.retry_on)

    def _once(self) -> Answer | EgressFailed:
        """Make one attempt, and another with a renewed credential if this one was refused."""
        outcome = self._exchange()
        refused = isinstance(outcome, EgressFailed) or outcome.status != 401  # noqa: PLR2004
        # The caller's own header was refused, or a host that got no credential asks for one.
        not_ours = "authorization" in self._call.headers or getattr(outcome, "elsewhere", False)
        if refused or not_ours or self._renewed:
            return outcome
        self._renewed = True
        other = hold_another(self._ctx, self._call.provider_config_key, self._held, self._began)
        if other is None or self._left() < LEAST_SECONDS:
            return outcome
        self._held = other
        return self._exchange()

    def _exchange(self) -> Answer | EgressFailed:
        """Send the request once. Raises ApiError for a destination that is not allowed."""
        request = self._request()
        left = self._left()
        if left < LEAST_SECONDS:
            return EgressFailed("timeout", sent=False)
        call = self._call
        follows = call.forward_headers_on_redirect
        if follows is None:
            follows = self._provider.proxy.get("forward_headers_on_redirect") is True
        config = self._held.sealed.connection_config.reveal()
        self._sent += 1
        try:
            return self._ctx.egress.send(
                request.method,
                request.url,
                headers=request.headers,
                body=request.body,
                deadline=left,
                max_bytes=answers.MOST_BYTES,
                redirects=REDIRECTS,
                trusted=self._named(config) if follows else (),
                unpack=False,
            )
        except EgressFailed as failed:
            return failed
        except EgressRefused as refused:
            raise _not_allowed(refused) from None

    def _request(self) -> OutgoingRequest:
        """Return the request with the credential as it is now. Raises ApiError."""
        call = self._call
        caller = _caller(self._ctx, self._provider, self._integration, self._settings, self._held)
        try:
            request = passed_on(
                caller,
                call.method,
                call.path,
                query=call.query,
                headers=call.headers,
                body=call.body or None,
                base_url_override=call.base_url_override,
            )
        except InterpolationError as error:
            if call.base_url_override and error.template == call.base_url_override:
                text = f"No base URL can be made of it for this connection: {error}"
                raise ApiError("base_url_override_not_allowed", text) from error
            raise ApiError(
                "unsupported_auth",
                f"The connection lacks what a request needs ({error.reason}): {error}",
            ) from error
        self._check_destination(request)
        return request

    def _check_destination(self, request: OutgoingRequest) -> None:
        """Require that the credential goes where its entry says, or that the caller sees it anyway.

        What is sent is looked at, each time: an override is a template, and a renewed credential
        may bring another config.

        Raises:
            ApiError: 400 ``base_url_override_not_allowed``.
        """
        if not self._call.base_url_override or self._sees_all():
            return
        config = self._held.sealed.connection_config.reveal()
        if not destinations.is_named(request.url, self._named(config)):
            raise ApiError(
                "base_url_override_not_allowed",
                "The provider's entry does not name this host, and the key may not read what "
                "would be sent there",
            )

    def _sees_all(self) -> bool:
        """Return whether the caller may read all that a request holds."""
        # RFC 5849 section 3.4.4: as PLAINTEXT the secrets are the signature.
        plain = self._provider.definition.get("signature_method") == "PLAINTEXT"
        shows_app = plain or needs(self._provider, "clientSecret")
        return self._sees.credentials and (self._sees.app_secrets or not shows_app)

    def _named(self, config: Mapping[str, Any]) -> Iterator[str]:
        return destinations.named(self._provider, config, self._settings.get("baseUrl", ""))

    def _left(self) -> float:
        return self._began + ANSWERS_WITHIN_SECONDS - self._ctx.clock.now()

    def _told(self, outcome: Answer | EgressFailed) -> PassedOn:
        """Return the answer, and write one line about the call. Raises ApiError."""
        status = None if isinstance(outcome, EgressFailed) else outcome.status
        logger.info(
            "proxied",
            extra={
                "method": self._call.method,
                "provider": self._provider.id,
                "integration": self._call.provider_config_key,
                "connection": self._call.connection_id,
                "status": status,
                "failure": outcome.kind if isinstance(outcome, EgressFailed) else None,
                "requests": self._sent,
                "renewed": self._renewed,
                "ms": round((self._ctx.clock.now() - self._began) * 1000),
            },
        )
        if not isinstance(outcome, EgressFailed):
            if outcome.status >= 500:  # noqa: PLR2004 - theirs, and not to be taken for ours
                metrics.count(metrics.PROVIDER_ERRORS)
            return answers.passed_on(outcome, self._call.method, decompress=self._decompresses())
        metrics.count(metrics.PROVIDER_ERRORS)
        if outcome.kind == "too_large":
            raise answers.too_large()
        status = 504 if outcome.kind == "timeout" else 502
        raise ApiError("provider_unavailable", f"The provider: {outcome}", status=status)

    def _decompresses(self) -> bool:
        return self._call.decompress or self._provider.proxy.get("decompress") is True


def _not_allowed(refused: EgressRefused) -> ApiError:
    if refused.reason == "malformed_header":
        return ApiError("invalid_headers", "A header holds what no header can carry")
    if refused.reason == "malformed_url":
        return ApiError("invalid_uri_params", "No URL can be made of this path and base URL")
    return ApiError("base_url_override_not_allowed", f"Nothing is sent there: {refused}")
