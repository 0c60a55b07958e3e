"""A token that one or more requests bring, as the provider's entry describes them (9.10)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from keystow.clock import iso
from keystow.errors import ApiError
from keystow.modes import declared
from keystow.modes.base import Granted, Mode, Renewed, bearer, with_learnt
from keystow.records.connection import Sealed
from keystow.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystow.catalog.loader import Provider
    from keystow.context import Context
    from keystow.modes.base import Offer
    from keystow.modes.steps import Answered, StepFailed
    from keystow.records.integration import Integration

SECONDS: Final = 20.0
# A token that is a JWT is renewed so long before its own end (contract 9.10).
_BEFORE_EXP: Final = 15 * 60.0
_LONGEST_TOKEN: Final = 65_536
_OURS: Final = frozenset({"token", "refresh_token", "expires_at", "raw", "_cookies"})
_OPTION: Final = "assertionOption"
_INDEX: Final = re.compile(r"\[(\d+)\]")
# With these, a placeholder in the entry's own headers already carries what the requests brought.
_PLACED: Final = frozenset({"accessToken", "credentials._cookies"})
_REFRESH: Final = ("refresh_url", "refresh_token_params", "refresh_token_headers")


class TwoStep(Mode):
    """A token that a refresh token renews where there is one, and else the whole login."""

    credential_type = "TWO_STEP"
    label = "two_step"
    by_entry = True

    def typed(self, body: dict[str, Any]) -> Secret[dict[str, Any]]:
        """Return the fields of a body, whatever the entry calls them."""
        return Secret({"type": "TWO_STEP", **_typed(body, _OURS)})

    def accept(self, ctx: Context, offer: Offer) -> Granted:
        """Log in.

        Raises:
            ApiError: 400 ``invalid_body``, ``two_step_credentials_fetch_error``,
                ``invalid_two_step_credentials``,
                ``invalid_two_step_credentials_second_request``.
        """
        return Granted(_logged_in(ctx, offer, ()))

    def fields_of(self, provider: Provider) -> tuple[str, ...]:
        """Return what the entry declares."""
        return declared.names(provider)

    def from_import(
        self, given: dict[str, Any], now: float, raw: dict[str, Any] | None, *, endless: bool
    ) -> dict[str, Any]:
        """Return the fields, with the token if one came along."""
        del now, raw, endless
        fields = _typed(given, (), ("credentials",))
        return {"type": "TWO_STEP", **fields}

    def check_import(
        self, provider: Provider, credentials: Mapping[str, Any], config: Mapping[str, Any]
    ) -> None:
        """Require that a date which came along is one."""
        from keystow.clock import parse_iso

        del provider, config
        ends = credentials.get("expires_at")
        if ends is not None and (not isinstance(ends, str) or parse_iso(ends) is None):
            raise ApiError("invalid_body", "credentials.expires_at must be an ISO 8601 date")

    def admit(self, ctx: Context, offer: Offer) -> Sealed:
        """Log in where no token came along."""
        credentials = offer.sealed.credentials.reveal()
        if not credentials.get("token"):
            return _logged_in(ctx, offer, ("credentials",))
        settled = _settled(ctx, offer.provider, offer.integration)
        place = ("credentials",)
        given = {k: v for k, v in credentials.items() if k not in {"type", _OPTION}}
        fields = declared.checked(offer.provider, given, settled, place)
        found = {"type": "TWO_STEP", **fields, "raw": {}}
        return Sealed(Secret(found), offer.sealed.connection_config)

    def refreshable(self, credentials: dict[str, Any]) -> bool:
        """Return that it is: the login is there."""
        del credentials
        return True

    def renew(
        self, ctx: Context, provider: Provider, integration: Integration, sealed: Sealed
    ) -> Renewed:
        """Use the refresh token where there is one; else, or when it is refused, log in again."""
        from keystow.modes.steps import StepFailed

        credentials = sealed.credentials.reveal()
        began = ctx.clock.now()
        try:
            if credentials.get("refresh_token") and _refreshes(provider):
                try:
                    return _refreshed(ctx, provider, integration, sealed)
                except StepFailed as failed:
                    if failed.error.kind not in {"terminal", "configuration"}:
                        raise
            left = SECONDS - (ctx.clock.now() - began)
            return _log_in(ctx, provider, integration, sealed, {}, left)
        except StepFailed as failed:
            raise failed.error from None

    def authorization(self, provider: Provider, credentials: Mapping[str, Any]) -> str:
        """Return the token as bearer; nothing where the entry's headers carry it themselves."""
        from keystow.catalog.interpolate import placeholders

        headers = provider.proxy.get("headers", {}).values()
        placed = {name for value in headers for name in placeholders(str(value))}
        return "" if placed & _PLACED else bearer(credentials.get("token"))


def _typed(
    body: dict[str, Any], taken: frozenset[str] | tuple[str, ...], place: tuple[str, ...] = ()
) -> dict[str, Any]:
    option = body.get(_OPTION)
    if option is not None and not isinstance(option, dict):
        from keystow.errors import Issue

        issue = Issue("invalid_type", "expected an object", (*place, _OPTION))
        raise ApiError("invalid_body", issues=[issue])
    return declared.typed(body, "TWO_STEP", taken, place)


def _logged_in(ctx: Context, offer: Offer, place: tuple[str, ...]) -> Sealed:
    """Return the credential of what was given. Raises ApiError."""
    from keystow.modes.steps import StepFailed

    given = dict(offer.sealed.credentials.reveal())
    option = given.pop(_OPTION, {})
    provider = offer.provider
    settled = _settled(ctx, provider, offer.integration)
    fields = {k: v for k, v in given.items() if k not in _OURS and k != "type"}
    fields = declared.checked(provider, fields, settled, place)
    sealed = Sealed(Secret({"type": "TWO_STEP", **fields}), offer.sealed.connection_config)
    try:
        return _log_in(ctx, provider, offer.integration, sealed, option, SECONDS).sealed
    except StepFailed as failed:
        raise _told(failed) from None


def _told(failed: StepFailed) -> ApiError:
    error = failed.error
    code = "two_step_credentials_fetch_error"
    if failed.number > 1:
        code = "invalid_two_step_credentials_second_request"
    elif error.kind == "unusable":
        code = "invalid_two_step_credentials"
    text = f"The provider gave no token ({error.code}): {error.description}"
    return ApiError(code, text, payload={})


def _settled(ctx: Context, provider: Provider, integration: Integration) -> dict[str, Any]:
    """Return what the integration sets for every connection; it is not stored with any."""
    fields = provider.integration_config
    if not set(fields) & set(integration.custom_names):
        return {}
    custom = integration.secrets(ctx.vault).custom.reveal()
    return {name: value for name, value in custom.items() if name in fields}


def _values(
    ctx: Context,
    provider: Provider,
    integration: Integration,
    sealed: Sealed,
    option: Mapping[str, Any],
) -> dict[str, Any]:
    from keystow.oauth.token_request import template_values

    credentials = sealed.credentials.reveal()
    held = {**credentials, **_settled(ctx, provider, integration)}
    held.pop("type", None)
    return {
        **held,
        **template_values({}, ctx.clock.now()),
        "accessToken": credentials.get("token"),
        "credentials": held,
        "connectionConfig": sealed.connection_config.reveal(),
        _OPTION: option,
    }


def _log_in(
    ctx: Context,
    provider: Provider,
    integration: Integration,
    sealed: Sealed,
    option: Mapping[str, Any],
    seconds: float,
) -> Renewed:
    """Go through all steps. Raises StepFailed."""
    from keystow.modes.self_signed import assertion_of, can_be_filled, token_of
    from keystow.modes.steps import Login, StepFailed
    from keystow.oauth.errors import ConfigurationError

    values = _values(ctx, provider, integration, sealed, option)
    now = ctx.clock.now()
    told = provider.definition
    signed: dict[str, str] = {}
    assertion = told.get("assertion")
    try:
        if told.get("token") and told.get("signature"):
            values["token"], _ = token_of(provider, values, now)
        if assertion and can_be_filled(str(assertion["key"]), values):
            made = assertion_of(assertion, values, now)
            values["credentials"] = {**values["credentials"], "assertion": made}
            signed = {} if assertion.get("singleUse") else {"assertion": made}
    except ConfigurationError as error:
        raise StepFailed(1, error) from None
    login = Login(ctx, provider, values, seconds)
    answers = [login.first()]
    answers += [login.send(step) for step in told.get("additional_steps") or ()]
    return _renewed(ctx, provider, sealed, answers, signed)


def _refreshes(provider: Provider) -> bool:
    return any(provider.definition.get(name) for name in _REFRESH)


def _refreshed(
    ctx: Context, provider: Provider, integration: Integration, sealed: Sealed
) -> Renewed:
    """Use the refresh token. Raises StepFailed."""
    from keystow.modes.steps import Login

    told = provider.definition
    login = Login(ctx, provider, _values(ctx, provider, integration, sealed, {}), SECONDS)
    answer = login.send(
        {
            "token_url": told.get("refresh_url") or told["token_url"],
            "token_params": told.get("refresh_token_params"),
            "token_headers": told.get("refresh_token_headers") or told.get("token_headers"),
        }
    )
    return _renewed(ctx, provider, sealed, [answer], {})


def _renewed(
    ctx: Context,
    provider: Provider,
    sealed: Sealed,
    answers: list[Answered],
    signed: Mapping[str, str],
) -> Renewed:
    """Return the credential of the last answer. Raises StepFailed."""
    from keystow.catalog.interpolate import metadata_from
    from keystow.modes.steps import StepFailed
    from keystow.oauth.token_request import refused

    credentials = sealed.credentials.reveal()
    config = sealed.connection_config.reveal()
    now = ctx.clock.now()
    last = answers[-1]
    content = last.content
    paths = provider.definition["token_response"]
    token = _text(_at(content, paths.get("token")))
    if token is None:
        payload = content if isinstance(content, dict) else None
        error = refused(provider, last.answer, payload, last.secrets, now)
        raise StepFailed(len(answers), error)
    found = {k: v for k, v in credentials.items() if k not in {"expires_at", "raw"}}
    for each in answers:
        found |= each.kept
    found |= signed
    found["token"] = token
    refresh_token = None
    if paths.get("refresh_token"):
        refresh_token = _text(_at(content, paths["refresh_token"]))
        if refresh_token is not None:
            found["refresh_token"] = refresh_token
    ends = _end(provider, content, token, now)
    if ends is not None:
        found["expires_at"] = iso(ends)
    found["raw"] = _raw(content, paths.get("refresh_token"), refresh_token, token)
    learnt: dict[str, Any] = {}
    for each in answers:
        if isinstance(each.content, dict):
            learnt |= metadata_from(each.content, provider.definition, "token_response_metadata")
    renewed = Sealed(Secret(found), Secret(with_learnt(config, learnt)))
    return Renewed(renewed, None if ends is None else int(ends * 1000))


def _end(provider: Provider, content: Any, token: str, now: float) -> float | None:
    """Return when a token ends: by the entry, by its answer, and by the token itself."""
    from keystow.oauth.token_life import end_in_jwt, expiry, seconds_of

    fixed = provider.definition.get("token_expires_in_ms")
    if fixed == 0:
        return None
    paths = provider.definition["token_response"]
    ends = None
    if fixed:
        ends = now + fixed / 1000
    elif paths.get("token_expiration"):
        told = _at(content, paths["token_expiration"])
        if paths.get("token_expiration_strategy") == "expireAt":
            ends = expiry(told, told, now)
        else:
            seconds = seconds_of(told)
            if seconds is not None and provider.definition.get("expires_in_unit"):
                told = seconds / 1000
            ends = expiry(None, told, now)
    own = end_in_jwt(token, now)
    if own is not None and own - _BEFORE_EXP > now:
        own -= _BEFORE_EXP
    return min((each for each in (ends, own) if each is not None), default=None)


def _at(content: Any, path: str | None) -> Any:
    """Return the value at a path such as ``data.items[0].token``; without one, all of it."""
    from keystow.oauth.token_answer import at

    return content if path is None else at(content, _INDEX.sub(r".\1", path).lstrip("."))


def _text(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return None
    value = value.strip()
    return value if value and len(value) <= _LONGEST_TOKEN else None


def _raw(content: Any, path: str | None, refresh_token: str | None, token: str) -> Any:
    """Return the answer as it is kept.

    A refresh token under a name of its own is left out: only its own field is kept back from who
    may not see it.
    """
    if not isinstance(content, dict):
        return content if isinstance(content, str) else {"answer": content}
    if path is None or refresh_token is None or refresh_token == token:
        return content
    return _without(content, [each for each in _INDEX.sub(r".\1", path).split(".") if each])


def _without(value: Any, path: list[str]) -> Any:
    name, *rest = path
    if not isinstance(value, dict) or name not in value:
        return value
    if not rest:
        spelled = "".join(filter(str.isalpha, name)).lower() == "refreshtoken"
        return value if spelled else {k: v for k, v in value.items() if k != name}
    return {**value, name: _without(value[name], rest)}


MODE: Mode = TwoStep()
