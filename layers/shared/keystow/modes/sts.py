"""Temporary keys of a role: from AWS's STS, or from a service of the operator's own.

``integration_config`` of an entry names the settings: ``stsMode`` ``builtin`` (``awsAccessKeyId``,
``awsSecretAccessKey``) or ``custom`` (``stsEndpointUrl``, ``stsAuthType`` and what that needs).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

from keystow.clock import iso, parse_iso
from keystow.modes import basic
from keystow.secret import Secret
from keystow.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystow.context import Context
    from keystow.egress.client import Answer

LIFE_SECONDS: Final = 3_600
ASKING_SECONDS: Final = 10.0
_SESSION: Final = "keystow"
_FORM: Final = "application/x-www-form-urlencoded; charset=utf-8"
_OK: Final = range(200, 300)
_SERVER: Final = 500
_TOO_MANY: Final = 429
# About the keys that signed, not about the role.
_KEYS_AT_FAULT: Final = frozenset(
    {"InvalidClientTokenId", "SignatureDoesNotMatch", "MissingAuthenticationToken"}
    | {"IncompleteSignature", "UnrecognizedClientException", "ExpiredToken", "OptInRequired"}
)
_BUSY: Final = frozenset({"Throttling", "ThrottlingException", "ServiceUnavailable"})
_NAMES: Final = {
    "access_key_id": ("AccessKeyId", "accessKeyId"),
    "secret_access_key": ("SecretAccessKey", "secretAccessKey"),
    "session_token": ("SessionToken", "sessionToken"),
    "expires_at": ("Expiration", "expiresAt"),
}


class Refused(Exception):  # noqa: N818 - an outcome, not a fault
    """The role cannot be assumed with this external id."""


class Misconfigured(Exception):  # noqa: N818 - an outcome, not a fault
    """The integration's settings do not do; ``code`` is an error code of the API."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Unanswered(Exception):  # noqa: N818 - an outcome, not a fault
    """No usable answer came."""


class Temporary(Value):
    """``access_key_id``, ``secret_access_key``, ``session_token``, ``expires_at`` (ISO 8601)."""

    keys: Secret[dict[str, str]]


def assume(
    ctx: Context,
    settings: Secret[dict[str, Any]],
    *,
    role_arn: str,
    external_id: str,
    region: str,
    service: str,
) -> Temporary:
    """Return temporary keys of a role.

    Args:
        ctx: the container's context.
        settings: the integration's ``integration_config``.
        role_arn: which role.
        external_id: the condition under which it trusts the operator.
        region: whose STS is asked, and what requests are made to.
        service: what the keys are for; told to a service of the operator's own.

    Raises:
        Refused, Misconfigured, Unanswered: there are none.
    """
    if settings.reveal().get("stsMode") == "custom":
        asked = {"roleArn": role_arn, "externalId": external_id, "region": region}
        return _of_own_service(ctx, settings, {**asked, "service": service})
    return _of_aws(ctx, settings, role_arn, external_id, region)


def _of_aws(
    ctx: Context, settings: Secret[dict[str, Any]], role_arn: str, external_id: str, region: str
) -> Temporary:
    from keystow.aws.credentials import Keys
    from keystow.aws.endpoints import endpoint_of
    from keystow.aws.signing import signed_headers

    own = settings.reveal()
    key_id, key = own.get("awsAccessKeyId"), own.get("awsSecretAccessKey")
    if not key_id or not key:
        raise Misconfigured(
            "missing_aws_sigv4_builtin_credentials",
            "The integration has no AWS access key to assume roles with",
        )
    url = f"{endpoint_of('sts', region, {})}/"
    asked = {"Action": "AssumeRole", "Version": "2011-06-15", "RoleArn": role_arn}
    asked |= {"RoleSessionName": _SESSION, "ExternalId": external_id}
    asked["DurationSeconds"] = str(LIFE_SECONDS)
    body = urlencode(asked).encode()
    headers = signed_headers(
        Keys(str(key_id), Secret(str(key))),
        service="sts",
        region=region,
        method="POST",
        url=url,
        headers={"content-type": _FORM},
        body=body,
        now=ctx.clock.now(),
    )
    answer = _send(ctx, url, headers, body)
    found = _xml(answer.body)
    if answer.status in _OK:
        return _temporary(ctx, found)
    code = found.get("Code", "")
    if answer.status >= _SERVER or answer.status == _TOO_MANY or code in _BUSY:
        raise Unanswered(f"STS answered with status {answer.status}")
    if code in _KEYS_AT_FAULT:
        raise Misconfigured(
            "invalid_aws_sigv4_config", f"STS does not take the integration's AWS keys ({code})"
        )
    raise Refused(
        f"The role cannot be assumed ({code or answer.status}). Its trust policy must name the "
        "operator's account and this external id"
    )


def _of_own_service(
    ctx: Context, settings: Secret[dict[str, Any]], asked: Mapping[str, str]
) -> Temporary:
    own = settings.reveal()
    url = str(own.get("stsEndpointUrl") or "")
    if not url:
        raise Misconfigured(
            "missing_aws_sigv4_sts_endpoint", "The integration names no endpoint to ask for keys"
        )
    if not _is_https(url):
        raise Misconfigured("invalid_aws_sigv4_config", "The endpoint for keys must be https")
    headers = {"content-type": "application/json", "accept": "application/json"}
    match own.get("stsAuthType") or "none":
        case "api_key":
            name = str(own.get("stsAuthHeader") or "x-api-key").lower()
            headers[name] = str(own.get("stsApiKey") or "")
        case "basic":
            login = own.get("stsAuthUsername"), own.get("stsAuthPassword")
            headers["authorization"] = basic.header(*login)
    answer = _send(ctx, url, headers, json.dumps(asked).encode())
    if answer.status >= _SERVER or answer.status == _TOO_MANY:
        raise Unanswered(f"The service for keys answered with status {answer.status}")
    if answer.status not in _OK:
        raise Refused(f"The service for keys gave none for this role (status {answer.status})")
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Unanswered("The answer of the service for keys cannot be read")
    return _temporary(ctx, found)


def _is_https(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" and bool(parts.hostname)


def _send(ctx: Context, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
    from keystow.egress.errors import EgressError, EgressRefused

    try:
        return ctx.egress.send("POST", url, headers=headers, body=body, deadline=ASKING_SECONDS)
    except EgressRefused as error:
        raise Misconfigured(
            "invalid_aws_sigv4_config", f"Keys cannot be asked for: {error}"
        ) from None
    except EgressError as error:
        raise Unanswered(f"Keys could not be asked for: {error}") from None


def _xml(body: bytes) -> dict[str, str]:
    """Return the texts of an answer by the names of their elements; nothing of what is no XML."""
    from keystow.modes import xml

    try:
        root = xml.parsed(body)
    except xml.NoXml:
        return {}
    return {each.tag.rpartition("}")[2]: (each.text or "").strip() for each in root.iter()}


def _temporary(ctx: Context, found: Mapping[str, Any]) -> Temporary:
    """Return the keys of an answer. Raises Unanswered."""
    keys = {
        ours: next((found[each] for each in theirs if found.get(each)), None)
        for ours, theirs in _NAMES.items()
    }
    ends = keys["expires_at"]
    seconds = parse_iso(ends) if isinstance(ends, str) else None
    texts = all(isinstance(value, str) for value in keys.values())
    if not texts or seconds is None or seconds <= ctx.clock.now():
        raise Unanswered("The answer holds no temporary keys that are still good")
    return Temporary(
        Secret({**{name: str(text) for name, text in keys.items()}, "expires_at": iso(seconds)})
    )
