"""RFC 7662: asks the provider when a token ends, where its answers do not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from keystow.catalog.interpolate import metadata_from
from keystow.catalog.loader import unfit_inputs
from keystow.egress.errors import EgressError
from keystow.oauth import client_authentication, token_answer, token_request
from keystow.oauth.errors import TokenError, from_answer, from_egress
from keystow.oauth.token_life import expiry

if TYPE_CHECKING:
    from keystow.catalog.loader import Provider
    from keystow.egress.client import Egress
    from keystow.oauth.client_authentication import OAuthClient
    from keystow.oauth.token_answer import TokenSet

# The request has what its grant has left of the time that one exchange may take.
MOST_SECONDS: Final = 5.0
_LEAST_SECONDS: Final = 1.0
_FORM: Final = "application/x-www-form-urlencoded"


def with_end(
    egress: Egress,
    provider: Provider,
    client: OAuthClient,
    tokens: TokenSet,
    *,
    connection_config: Mapping[str, Any],
    now: float,
    left: float,
) -> tuple[TokenSet, str]:
    """Return tokens with their end, asked for where nobody told it and the entry says how.

    Never raises for what the provider or the network does: the tokens were issued, and must be
    stored whatever this brings.

    Args:
        egress: the way out.
        provider: its entry; ``introspection`` says where to ask.
        client: the app that got the tokens.
        tokens: as just read.
        connection_config: fills templates, together with what the token answer told.
        now: epoch seconds.
        left: seconds that are left for it.

    Returns:
        The tokens, and a sentence for the activity log when the end of tokens that could be renewed
        is still not known; else an empty text.
    """
    if tokens.expires_at is not None or (tokens.endless and not provider.introspection):
        return tokens, ""
    problem = "the provider does not say"
    if provider.introspection:
        try:
            ends = _asked(egress, provider, client, tokens, connection_config, now, left)
        except TokenError as error:
            problem = f"the provider was asked, and did not say ({error.code})"
        else:
            if ends is not None:
                return replace(tokens, expires_at=ends), ""
            problem = "the provider was asked, and did not say"
    if tokens.refresh_token is None:
        return tokens, ""
    return (
        tokens,
        f"Nobody knows when the token ends: {problem}. It is renewed when you force it",
    )


def _asked(
    egress: Egress,
    provider: Provider,
    client: OAuthClient,
    tokens: TokenSet,
    connection_config: Mapping[str, Any],
    now: float,
    left: float,
) -> float | None:
    """Make the request of RFC 7662 section 2.1 and read its answer (2.2)."""
    if left < _LEAST_SECONDS:
        raise TokenError("transient", "no_time_left", sent=False)
    entry = provider.introspection
    told = metadata_from(tokens.raw.reveal(), provider.definition, "token_response_metadata")
    config = {**connection_config, **told}  # the provider knows better than who connected
    if unfit_inputs(provider, config):  # they may stand in the host that the secret is sent to
        raise TokenError("configuration", "unfit_config", sent=False)
    url = token_request.url_of(str(entry["url"]), provider, config)
    values = {**token_request.template_values(config, now), **token_request.client_values(client)}
    params, _ = token_request.filled(entry.get("params") or {}, values)
    proof = client_authentication.for_code_grant(provider.definition, client)
    form = {"token": tokens.access_token.reveal(), **params, **proof.body}
    headers = {"Accept": "application/json", "Content-Type": _FORM, **proof.headers}
    secrets = (tokens.access_token.reveal(), *client.secrets())
    try:
        answer = egress.send(
            "POST",
            url,
            headers=headers,
            body=token_request.form_encoded(form).encode(),
            deadline=min(left, MOST_SECONDS),
        )
    except EgressError as error:
        raise from_egress(error) from None
    payload = token_answer.decoded(answer)
    if payload is None or not 200 <= answer.status < 300:  # noqa: PLR2004 - RFC 9110 section 15.3
        raise from_answer(answer, payload, secrets=secrets, now=now)
    if token_answer.at(payload, str(entry.get("active_path") or "active")) in (False, "false"):
        raise TokenError("unusable", "inactive", status=answer.status)
    return expiry(
        token_answer.at(payload, str(entry.get("exp_path") or "exp")),
        payload.get("expires_in"),
        now,
    )
