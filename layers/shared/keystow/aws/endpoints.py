"""Where a service answers: the region's endpoint, or the one that the environment names.

    AWS_ENDPOINT_URL_<SERVICE> ─▶ AWS_ENDPOINT_URL ─▶ https://<service>[-fips].<region>.<suffix>

The variables are those of AWS's SDKs ("Service-specific endpoints", "Dual-stack and FIPS
endpoints"). A test holds the addresses against botocore's own rules, for every region it knows.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_COMMON: Final = ("amazonaws.com", "api.aws")
# What regions of other partitions begin with: their domain, and the one of dual-stack endpoints.
_DOMAINS: Final = {
    "cn-": ("amazonaws.com.cn", "api.amazonwebservices.com.cn"),
    "eusc-": ("amazonaws.eu", "api.amazonwebservices.eu"),
    "us-iso-": ("c2s.ic.gov", "api.aws.ic.gov"),
    "us-isob-": ("sc2s.sgov.gov", "api.aws.scloud"),
    "eu-isoe-": ("cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
    "us-isof-": ("csp.hci.ic.gov", "api.aws.hci.ic.gov"),
}
# Their common endpoints in GovCloud are validated by FIPS themselves.
_FIPS_ANYWAY: Final = {"dynamodb", "sqs"}
_GOVERNMENT: Final = "us-gov-"


def region_of(variables: Mapping[str, str] | None = None) -> str:
    """Return the region of this function.

    Raises:
        ValueError: no variable says it.
    """
    given = os.environ if variables is None else variables
    region = given.get("AWS_REGION") or given.get("AWS_DEFAULT_REGION") or ""
    if not region.replace("-", "").isalnum() or not region.isascii():
        raise ValueError("AWS_REGION does not name a region")
    return region


def endpoint_of(service: str, region: str, variables: Mapping[str, str] | None = None) -> str:
    """Return the URL of a service's endpoint.

    Args:
        service: as the endpoint spells it, such as ``dynamodb``.
        region: such as ``eu-central-1``.
        variables: environment variables.

    Raises:
        ValueError: a switch holds something other than true or false.
    """
    given = os.environ if variables is None else variables
    if not _is_on(given, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"):
        named = given.get(f"AWS_ENDPOINT_URL_{service.upper()}") or given.get("AWS_ENDPOINT_URL")
        if named:
            return named
    dual = _is_on(given, "AWS_USE_DUALSTACK_ENDPOINT")
    fips = _is_on(given, "AWS_USE_FIPS_ENDPOINT")
    if fips and not dual and region.startswith(_GOVERNMENT) and service in _FIPS_ANYWAY:
        fips = False
    domains = _COMMON
    for beginning, theirs in _DOMAINS.items():
        if region.startswith(beginning):
            domains = theirs
    return f"https://{service}{'-fips' if fips else ''}.{region}.{domains[dual]}"


def _is_on(variables: Mapping[str, str], name: str) -> bool:
    value = variables.get(name, "").strip().lower()
    if value not in {"", "true", "false"}:
        raise ValueError(f"{name} must be true or false")
    return value == "true"
