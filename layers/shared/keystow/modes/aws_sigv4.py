"""A role in an AWS account: assumed by STS with an external id, and requests signed (SigV4).

    role_arn, external id ─▶ STS AssumeRole ─▶ temporary keys, an hour ─▶ Authorization: AWS4-…
                             ▲ signed with the integration's own keys, or asked of its own service

The role trusts the operator's account under the condition of the external id. Keystow's functions
have no right to assume anything: what may be assumed is what the integration's keys may.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from keystow.errors import ApiError, Issue, invalid
from keystow.modes.base import Granted, Mode, Renewed, expiry_of
from keystow.modes.fields import Field
from keystow.records.connection import Sealed
from keystow.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystow.catalog.loader import Provider
    from keystow.catalog.proxy_request import OutgoingRequest
    from keystow.context import Context
    from keystow.modes.base import Offer
    from keystow.modes.sts import Temporary
    from keystow.records.integration import Integration

_ROLE: Final = re.compile(r"arn:aws[a-z-]{0,20}:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]{1,576}")
# A region and nothing else: it is a part of the host that temporary keys are sent to.
_REGION: Final = re.compile(r"[a-z]{2,5}(-[a-z]{1,20}){1,3}-[0-9]{1,2}")
_SERVICE: Final = re.compile(r"[a-z0-9-]{1,64}")
_UUID: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE
)


class AwsRole(Mode):
    """Temporary keys of a role."""

    credential_type = "AWS_SIGV4"
    label = "aws_sigv4"
    form = (Field("role_arn", "key"), Field("region", "text", required=False))
    imported = form

    def fields_of(self, provider: Provider) -> tuple[str, ...]:
        """Return the role alone, where the entry asks for the region among the inputs."""
        return ("role_arn",) if "region" in provider.connection_config else ("role_arn", "region")

    def typed(self, body: dict[str, Any]) -> Secret[dict[str, Any]]:
        """Return role and region. Raises 400 ``invalid_body`` with the issues."""
        found = super().typed(body)
        _check_form(found.reveal(), ())
        return found

    def accept(self, ctx: Context, offer: Offer) -> Granted:
        """Assume the role, and try the keys where the entry says how.

        Raises:
            ApiError: 400 ``connection_test_failed``, ``missing_aws_sigv4_region``,
                ``missing_aws_sigv4_service``, ``missing_aws_sigv4_builtin_credentials``,
                ``missing_aws_sigv4_sts_endpoint``, ``invalid_aws_sigv4_config``; 502
                ``aws_sigv4_sts_request_failed``.
        """
        from keystow.modes import sts

        try:
            sealed = _assumed(ctx, offer.integration, _settled(ctx, offer))
        except sts.Refused as error:
            raise ApiError("connection_test_failed", str(error)) from None
        except sts.Misconfigured as error:
            raise ApiError(error.code, str(error)) from None
        except sts.Unanswered as error:
            raise ApiError("aws_sigv4_sts_request_failed", str(error)) from None
        from keystow.value import replace

        return super().accept(ctx, replace(offer, sealed=sealed))

    def check_import(
        self, provider: Provider, credentials: Mapping[str, Any], config: Mapping[str, Any]
    ) -> None:
        """Require the form of role and region."""
        del provider, config
        _check_form(credentials, ("credentials",))

    def admit(self, ctx: Context, offer: Offer) -> Sealed:
        """Assume an imported role."""
        return self.accept(ctx, offer).sealed

    def refreshable(self, credentials: dict[str, Any]) -> bool:
        """Return whether there is a role to assume."""
        return bool(credentials.get("role_arn") and credentials.get("external_id"))

    def renew(
        self, ctx: Context, provider: Provider, integration: Integration, sealed: Sealed
    ) -> Renewed:
        """Assume the role once more."""
        from keystow.modes import sts
        from keystow.oauth.errors import ConfigurationError, TokenError

        del provider
        try:
            found = _assumed(ctx, integration, sealed)
        except sts.Refused as error:
            # Its owner may mend the role's trust without connecting again, so it is tried on.
            raise ConfigurationError("role_not_assumed", str(error)) from None
        except sts.Misconfigured as error:
            raise ConfigurationError(error.code, str(error)) from None
        except sts.Unanswered as error:
            # To assume a role twice does no harm.
            raise TokenError("transient", "sts_unanswered", str(error), sent=False) from None
        return Renewed(found, expiry_of(found.credentials.reveal()))

    def signed(
        self,
        ctx: Context,
        provider: Provider,
        integration: Integration,
        sealed: Sealed,
        request: OutgoingRequest,
    ) -> OutgoingRequest:
        """Return the request signed with the temporary keys."""
        from dataclasses import replace

        from keystow.aws.credentials import Keys
        from keystow.aws.signing import signed_headers

        del provider, integration
        found = sealed.credentials.reveal()
        keys = Keys(
            str(found.get("access_key_id") or ""),
            Secret(str(found.get("secret_access_key") or "")),
            Secret(str(found.get("session_token") or "")),
        )
        headers = signed_headers(
            keys,
            service=str(found.get("service") or ""),
            region=str(found.get("region") or ""),
            method=request.method,
            url=request.url,
            headers=request.headers,
            body=request.body or b"",
            now=ctx.clock.now(),
        )
        return replace(request, headers=headers)


def _check_form(given: Mapping[str, Any], place: tuple[str, ...]) -> None:
    issues = []
    if not _ROLE.fullmatch(str(given.get("role_arn") or "")):
        fault = "must be the ARN of an IAM role, arn:aws:iam::123456789012:role/name"
        issues.append(Issue("invalid_format", fault, (*place, "role_arn")))
    region = given.get("region")
    if region and not _REGION.fullmatch(str(region)):
        fault = "must be the name of a region, such as eu-central-1"
        issues.append(Issue("invalid_format", fault, (*place, "region")))
    if issues:
        raise ApiError("invalid_body", issues=issues)


def _settled(ctx: Context, offer: Offer) -> Sealed:
    """Return role and config with region, service and external id decided (contract 4.11).

    What a connection has, it keeps when it is authorized anew: the role trusts that external id.
    """
    from keystow.ids import uuid4

    given = offer.sealed.credentials.reveal()
    config = dict(offer.sealed.connection_config.reveal())
    held = offer.before() if offer.before else {}
    settings = offer.integration.secrets(ctx.vault).custom.reveal()
    options = (held.get("region"), given.get("region"), config.get("region"))
    region = next((each for each in (*options, settings.get("defaultRegion")) if each), "")
    if not region:
        raise ApiError(
            "missing_aws_sigv4_region", "Neither the connection nor the integration names a region"
        )
    service = str(settings.get("service") or "")
    if not service:
        raise ApiError("missing_aws_sigv4_service", "The integration names no AWS service")
    if not _SERVICE.fullmatch(service):
        raise ApiError("invalid_aws_sigv4_config", "The integration's service is no name of one")
    if not isinstance(region, str) or not _REGION.fullmatch(region):
        raise invalid("invalid_body", "invalid_format", "must be the name of a region", "region")
    external = held.get("external_id") or config.get("external_id")
    if not isinstance(external, str) or not _UUID.fullmatch(external):
        external = uuid4(ctx.random)
    chosen = {"role_arn": given["role_arn"], "region": region, "service": service}
    chosen["external_id"] = external
    return Sealed(Secret({**given, "type": "AWS_SIGV4", **chosen}), Secret({**config, **chosen}))


def _assumed(ctx: Context, integration: Integration, sealed: Sealed) -> Sealed:
    """Return a credential with temporary keys. Raises as :func:`keystow.modes.sts.assume`."""
    from keystow.modes import sts

    given = sealed.credentials.reveal()
    found: Temporary = sts.assume(
        ctx,
        integration.secrets(ctx.vault).custom,
        role_arn=str(given["role_arn"]),
        external_id=str(given["external_id"]),
        region=str(given["region"]),
        service=str(given["service"]),
    )
    keys = found.keys.reveal()
    return Sealed(Secret({**given, **keys, "raw": dict(keys)}), sealed.connection_config)


MODE: Mode = AwsRole()
