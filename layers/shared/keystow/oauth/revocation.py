"""RFC 7009: tells the provider that tokens are no longer needed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from keystow.egress.errors import EgressError
from keystow.oauth import client_authentication, token_answer, token_request
from keystow.oauth.client_authentication import ClientProof
from keystow.oauth.errors import TokenError, from_egress

if TYPE_CHECKING:
    from keystow.catalog.loader import Provider
    from keystow.egress.client import Answer, Egress
    from keystow.oauth.client_authentication import OAuthClient
    from keystow.oauth.token_answer import TokenSet

_FORM: Final = "application/x-www-form-urlencoded"
_ACCEPT: Final = {"Accept": "application/json"}
# Some answer 400 where §2.2 wants 200 for a token that is no longer valid: the goal is reached.
_ALREADY_INVALID: Final = frozenset(
    {"invalid_token", "invalid_grant", "token_revoked", "token_expired"}
)


@dataclass(frozen=True)
class RevocationResult:
    """What became of a revocation; it is recorded and told, and never stops a deletion.

    Attributes:
        outcome: ``done``, ``unsupported`` (the entry knows no way) or ``failed``.
        detail: a sentence, safe to show.
    """

    outcome: Literal["done", "unsupported", "failed"]
    detail: str = ""


@dataclass(frozen=True, repr=False)
class _Job:
    """What both ways to revoke need."""

    egress: Egress
    provider: Provider
    client: OAuthClient
    tokens: TokenSet
    connection_config: Mapping[str, Any]
    now: float

    def secrets(self) -> tuple[str, ...]:
        refresh = self.tokens.refresh_token
        return (
            self.tokens.access_token.reveal(),
            refresh.reveal() if refresh is not None else "",
            *self.client.secrets(),
        )


def revoke(
    egress: Egress,
    provider: Provider,
    client: OAuthClient,
    tokens: TokenSet,
    *,
    connection_config: Mapping[str, Any],
    now: float,
) -> RevocationResult:
    """Revoke the tokens of a connection at the provider.

    The refresh token is revoked where there is one, since that ends the whole grant (§2.1); a
    server that does not know the kind (``unsupported_token_type``) is asked for the access token.

    Args:
        egress: the way out.
        provider: its entry: ``revocation_url`` with ``revocation_auth``, else ``on_disconnect``.
        client: the app that got the tokens.
        tokens: of the connection.
        connection_config: fills templates.
        now: epoch seconds.

    Returns:
        The result; nothing is raised for what the provider or the network did.
    """
    definition = provider.definition
    job = _Job(egress, provider, client, tokens, connection_config, now)
    try:
        if definition.get("revocation_url"):
            return _rfc_7009(job, str(definition["revocation_url"]))
        if isinstance(definition.get("on_disconnect"), Mapping):
            return _own_call(job, definition["on_disconnect"])
    except TokenError as error:
        return RevocationResult("failed", str(error))
    return RevocationResult("unsupported", "this provider offers no way to revoke tokens")


def _rfc_7009(job: _Job, template: str) -> RevocationResult:
    """Make the request of RFC 7009 §2.1."""
    url = token_request.url_of(template, job.provider, job.connection_config)
    proof = _proof(job.provider.definition, job.client)
    attempts = [("access_token", job.tokens.access_token)]
    if job.tokens.refresh_token is not None:
        attempts.insert(0, ("refresh_token", job.tokens.refresh_token))
    headers = {**_ACCEPT, "Content-Type": _FORM, **proof.headers}
    result = RevocationResult("failed")
    for hint, token in attempts:
        form = {"token": token.reveal(), "token_type_hint": hint, **proof.body}
        of_grant = token is attempts[0][1]
        result, code = _posted(job, url, headers, form, of_grant=of_grant)
        if code == "invalid_request" and job.client.is_public:
            # Servers of the MCP SDK want the parameter of an empty secret (RFC 6749 §2.3.1: a
            # client may leave it out).
            form["client_secret"] = ""
            result, code = _posted(job, url, headers, form, of_grant=of_grant)
        if code != "unsupported_token_type":
            break
    return result


def _posted(
    job: _Job, url: str, headers: Mapping[str, str], form: Mapping[str, str], *, of_grant: bool
) -> tuple[RevocationResult, str]:
    body = token_request.form_encoded(form).encode()
    return _read(_send(job, "POST", url, headers, body), job, of_grant=of_grant)


def _own_call(job: _Job, call: Mapping[str, Any]) -> RevocationResult:
    """Make the call that the entry's ``on_disconnect`` describes."""
    refresh = job.tokens.refresh_token
    template = str(call["url"])
    if template.startswith("/"):
        proxy = job.provider.definition.get("proxy") or {}
        template = str(proxy.get("base_url", "")).rstrip("/") + template
    if "${refresh_token}" in template and refresh is None:
        return RevocationResult("unsupported", "there is no refresh token to revoke")
    values = {
        **token_request.template_values(job.connection_config, job.now),
        **token_request.client_values(job.client),
        "access_token": job.tokens.access_token.reveal(),
        "accessToken": job.tokens.access_token.reveal(),
        "refresh_token": refresh.reveal() if refresh is not None else "",
    }
    url = token_request.url_of(template, job.provider, values)
    own, _ = token_request.filled(call.get("headers") or {}, values)
    headers = {**_ACCEPT, **_auth_header(call, job.client, job.tokens), **own}
    body: bytes | None = None
    if call.get("body") is not None:
        content = token_request.filled({"body": call["body"]}, values)[0]["body"]
        as_form = call.get("body_format") == "form" and isinstance(content, Mapping)
        body = (token_request.form_encoded(content) if as_form else json.dumps(content)).encode()
        headers = {"Content-Type": _FORM if as_form else "application/json", **headers}
    answer = _send(job, str(call.get("method") or "GET"), url, headers, body)
    shown = json.dumps([template, call.get("body")])
    return _read(answer, job, of_grant=refresh is None or "${refresh_token}" in shown)[0]


def _auth_header(call: Mapping[str, Any], client: OAuthClient, tokens: TokenSet) -> dict[str, str]:
    kind = call.get("auth", "connection")
    if kind == "connection":
        return {"Authorization": f"Bearer {tokens.access_token.reveal()}"}
    if kind == "client_basic":
        secret = client.client_secret.reveal()
        return {"Authorization": client_authentication.basic(client.client_id, secret)}
    return {}


def _denied(provider: Provider, payload: Mapping[str, Any] | None) -> bool:
    """Tell whether an answer of status 200 says that it failed, where the entry knows how."""
    test = provider.definition.get("token_success")
    if payload is None or not isinstance(test, Mapping):
        return False
    told = token_answer.at(payload, str(test.get("path")))
    return told is not None and told != test.get("equals")


def _proof(definition: Mapping[str, Any], client: OAuthClient) -> ClientProof:
    kind = definition.get("revocation_auth") or "body"
    if kind == "none":
        return ClientProof({}, {})
    if kind == "basic" and not client.is_public:
        secret = client.client_secret.reveal()
        return ClientProof(
            {"Authorization": client_authentication.basic(client.client_id, secret)}, {}
        )
    return client_authentication.for_code_grant({}, client)


def _send(
    job: _Job, method: str, url: str, headers: Mapping[str, str], body: bytes | None
) -> Answer:
    try:
        return job.egress.send(method, url, headers=headers, body=body)
    except EgressError as error:
        raise from_egress(error) from None


def _read(answer: Answer, job: _Job, *, of_grant: bool) -> tuple[RevocationResult, str]:
    """Read what became of a revocation, and its error's code.

    Args:
        answer: of the provider; RFC 7009 §2.2 wants 200, whatever its body.
        job: what was asked for.
        of_grant: the token that was shown carries the grant. An access token that is over says
            nothing about the refresh token beside it.
    """
    payload = token_answer.decoded(answer)
    if 200 <= answer.status < 300 and not _denied(job.provider, payload):  # noqa: PLR2004
        return RevocationResult("done", "the provider has revoked the tokens"), ""
    error = token_request.refused(job.provider, answer, payload, job.secrets(), job.now)
    if error.code in _ALREADY_INVALID and answer.status < 500 and of_grant:  # noqa: PLR2004
        return RevocationResult("done", "the tokens were no longer valid"), error.code
    return RevocationResult("failed", str(error)), error.code
