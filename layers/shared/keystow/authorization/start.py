"""Sending an end user to the provider: a state, and a cookie that binds it to a browser."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from keystow.activity import log as activity
from keystow.authorization.scope import connection_config, open_scope, refuse_connection_id
from keystow.catalog.loader import unfit_inputs
from keystow.connections.importing import environment_of
from keystow.events import traces
from keystow.modes import callbacks, leaves, mode_of
from keystow.modes.base import Beginning
from keystow.modes.failure import AuthorizationFailed
from keystow.oauth import authorization_params
from keystow.oauth import state as states
from keystow.oauth.redaction import plain
from keystow.records.attempt import Attempt, AttemptSecrets, seal
from keystow.registry import integrations, providers
from keystow.secret import Secret
from keystow.sessions import outcomes, quotas
from keystow.store import Put, gates
from keystow.store.operations import NEW
from keystow.text import trimmed

if TYPE_CHECKING:
    from keystow.authorization.scope import Scope
    from keystow.catalog.loader import Provider
    from keystow.context import Context
    from keystow.records.session import ConnectSession
    from keystow.store import Operation

# Longer than DynamoDB takes to remove an attempt that has expired.
TRACED_SECONDS: Final = 7 * 86_400
LIFE_SECONDS: Final = 30 * 60
_MOST_NAMES: Final = 10
_LONGEST_NAME: Final = 64
OVERRIDES: Final = (
    "oauth_client_id_override",
    "oauth_client_secret_override",
    "oauth_refresh_token_override",
)


@dataclass(frozen=True)
class Started:
    """Where the browser goes next, with its cookie."""

    location: str
    cookie: str


def start(
    ctx: Context,
    session: ConnectSession,
    unique_key: str,
    query: dict[str, Any],
    base_url: str,
) -> Started:
    """Begin an authorization.

    Args:
        ctx: the container's context.
        session: who connects.
        unique_key: which integration.
        query: parsed query string of ``GET /oauth/connect/{providerConfigKey}``.
        base_url: the canonical public URL.

    Raises:
        AuthorizationFailed: told to the popup and its opener.
        ApiError: 400 ``integration_not_allowed``, ``invalid_connection``, ``invalid_query_params``;
            429 and 409 of :func:`keystow.sessions.quotas.attempt`.
    """
    refuse_connection_id(session, query)
    integration = integrations.by_unique_key(ctx, session.environment, unique_key, fresh=True)
    if integration is None:
        raise AuthorizationFailed("provider_config_err", "There is no integration of this key")
    provider = providers.find(ctx, session.environment, integration.provider)
    if provider is None:
        raise AuthorizationFailed("unknown_config_key", "The provider's definition is missing")
    environment = partial(environment_of, ctx, session.environment)
    scope = open_scope(ctx, session, integration, provider, environment)
    mode = mode_of(provider.auth_mode)
    if mode is None or not leaves(provider):
        raise AuthorizationFailed(
            "auth_mode_err", f"{provider.auth_mode} is not authorized in a popup"
        )
    config = connection_config(ctx, query, scope)
    override = _client_override(query, provider)
    unfit = unfit_inputs(provider, config)
    if unfit:
        raise AuthorizationFailed(
            "url_param_err", f"Not of the form it should have: {', '.join(unfit)[:200]}"
        )
    state = states.new_state(ctx.random.bytes)
    callback = callbacks.redirect_uri(scope.environment, integration, provider, base_url)
    fixed = session.defaults.get(unique_key, {})
    scopes = _scopes(scope, fixed.get("connection_config") or {})
    params, ignored = _params(fixed, query, provider)
    beginning = Beginning(
        environment=scope.environment,
        integration=integration,
        provider=provider,
        config=config,
        client=override,
        scopes=scopes,
        params=params,
        user_scopes=fixed.get("user_scopes"),
        redirect_uri=callback,
        state=state.value,
        base_url=base_url,
    )
    if mode.asks_first:
        quotas.attempt(ctx, session)
    begun = mode.begin(ctx, beginning)
    if not mode.asks_first:
        quotas.attempt(ctx, session)
    now = ctx.clock.now()
    secrets = AttemptSecrets(Secret(begun.kept), Secret(config), Secret(override))
    socket = query.get("ws_client_id")
    attempt = Attempt(
        state_hash=state.hash,
        binding_hash=state.binding_hash,
        environment=session.environment,
        integration=integration.id,
        unique_key=unique_key,
        provider=provider.id,
        connection_id=scope.connection_id,
        redirect_uri=callback,
        operation_id=session.operation_id,
        created_at=int(now * 1000),
        expires_at=int((now + LIFE_SECONDS) * 1000),
        envelope=seal(ctx.vault, session.environment, state.hash, secrets),
        session=session,
        socket=socket if isinstance(socket, str) and socket else None,
        identity=scope.identity,
        scopes=tuple(scopes),
        callback=(
            callbacks.place_of(integration) if callbacks.is_own(integration, provider) else None
        ),
    )
    gates.transact(
        ctx.store,
        [Put(attempt.key, attempt.as_item(), NEW), *_traced(attempt, ctx.clock.now())],
        environment=session.environment,
        integration=integration.id,
        spread=state.hash,
    )
    outcomes.begun(ctx, session)
    activity.finish(
        ctx,
        session.environment,
        session.operation_id,
        "running",
        activity.Message(
            "info",
            "Redirecting to the provider",
            {**begun.details, **({"not_of_browsers": _named(ignored)} if ignored else {})},
        ),
        connection_id=scope.connection_id,
        integration_key=unique_key,
        provider=provider.id,
    )
    secure = base_url.startswith("https://")
    return Started(begun.location, states.set_cookie(state, secure=secure, max_age=LIFE_SECONDS))


def _scopes(scope: Scope, fixed: dict[str, Any]) -> list[str]:
    """Return the scopes to ask for: the session's own, else the integration's."""
    text = str(fixed.get("oauth_scopes_override") or scope.integration.scopes or "")
    return [each.strip() for each in text.split(",") if each.strip()]


def _params(
    fixed: dict[str, Any], query: dict[str, Any], provider: Provider
) -> tuple[dict[str, str | None], tuple[str, ...]]:
    """Return the authorization parameters, and the browser's that are not its to decide.

    The session's replace the browser's whole (contract 4.1).
    """
    if fixed.get("authorization_params") is not None:
        return dict(fixed["authorization_params"]), ()
    given = query.get("authorization_params")
    if not isinstance(given, dict):
        return {}, ()
    texts = {name: value for name, value in given.items() if isinstance(value, str)}
    kept, ignored = authorization_params.of_browser(texts, provider)
    return {**kept}, ignored


def _named(ignored: tuple[str, ...]) -> list[str]:
    """Return a stranger's names as the activity may show them: few, short and plain."""
    return [plain(name, _LONGEST_NAME) for name in ignored[:_MOST_NAMES]]


def _client_override(query: dict[str, Any], provider: Provider) -> dict[str, str]:
    """Return the connection's own OAuth client, when the browser brings one (contract 4.1).

    A refresh token counts with a client of its own only, and where the entry takes one: redeemed
    with the app's secret, a token of somebody else would make their account the browser's.
    """
    given = query.get("credentials")
    if not isinstance(given, dict):
        return {}
    found = {
        name.removeprefix("oauth_").removesuffix("_override"): text
        for name in OVERRIDES
        if isinstance(value := given.get(name), str) and (text := trimmed(value))
    }
    if ("client_id" in found) != ("client_secret" in found):
        raise AuthorizationFailed(
            "provider_config_err", "An OAuth client needs both its id and its secret"
        )
    if "client_id" not in found or not provider.definition.get("refresh_token_override"):
        found.pop("refresh_token", None)
    return found


def _traced(attempt: Attempt, now: float) -> list[Operation]:
    """Return what leads an erasure to an attempt: it holds its session's end user."""
    person = attempt.session.person
    if person is None:
        return []
    told, name = {"attempt": attempt.state_hash}, f"attempt#{attempt.state_hash}"
    return [traces.of_person(attempt.environment, person, name, told, now, TRACED_SECONDS)]
