"""Where a service answers: held against botocore's own rules."""

from __future__ import annotations

import botocore.session
import pytest
from botocore.endpoint_provider import EndpointProvider

from keystow.aws.clients import SERVICES
from keystow.aws.endpoints import endpoint_of, region_of
from keystow.aws.wire import Origin

# What has an endpoint of the region's; that of WebSockets stands in a setting.
REGIONAL = sorted(set(SERVICES) - {"execute-api"})


@pytest.mark.parametrize("service", REGIONAL)
def test_every_region_that_botocore_knows_has_the_endpoint_that_botocore_takes(
    service: str,
) -> None:
    loader = botocore.session.get_session().get_component("data_loader")
    partitions = loader.load_data("partitions")
    rules = EndpointProvider(loader.load_service_model(service, "endpoint-rule-set-1"), partitions)
    regions = [
        region
        for each in partitions["partitions"]
        for region in each["regions"]
        if "global" not in region
    ]
    assert len(regions) > 40
    for region in regions:
        for fips in (False, True):
            for dual in (False, True):
                theirs = rules.resolve_endpoint(Region=region, UseFIPS=fips, UseDualStack=dual)
                variables = {
                    "AWS_USE_FIPS_ENDPOINT": str(fips).lower(),
                    "AWS_USE_DUALSTACK_ENDPOINT": str(dual),
                }
                assert endpoint_of(service, region, variables) == theirs.url


def test_an_endpoint_that_the_environment_names_comes_first_and_a_services_own_before_it() -> None:
    given = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_KMS": "http://127.0.0.1:2"}
    assert endpoint_of("kms", "us-east-1", given) == "http://127.0.0.1:2"
    assert endpoint_of("dynamodb", "us-east-1", given) == "http://127.0.0.1:1"
    ignored = {**given, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}
    assert endpoint_of("kms", "us-east-1", ignored) == "https://kms.us-east-1.amazonaws.com"


@pytest.mark.parametrize("name", ["AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"])
def test_a_switch_that_says_neither_yes_nor_no_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        endpoint_of("kms", "us-east-1", {name: "maybe"})


def test_the_region_is_lambdas_own() -> None:
    assert region_of({"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "x"}) == "eu-west-1"
    assert region_of({"AWS_DEFAULT_REGION": "us-gov-west-1"}) == "us-gov-west-1"


@pytest.mark.parametrize("region", ["", "evil.example/", "a b", "eu-central-1\r\nx:"])
def test_a_region_that_is_none_is_refused(region: str) -> None:
    with pytest.raises(ValueError, match="AWS_REGION"):
        region_of({"AWS_REGION": region})


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("https://kms.us-east-1.amazonaws.com", "kms.us-east-1.amazonaws.com"),
        ("https://KMS.example:443/x", "kms.example"),
        ("http://127.0.0.1:4566", "127.0.0.1:4566"),
        ("http://[::1]:80", "[::1]"),
    ],
)
def test_the_host_is_named_without_a_port_that_goes_without_saying(
    url: str, authority: str
) -> None:
    assert Origin(url, 1, 1).authority == authority


@pytest.mark.parametrize(
    "url", ["ftp://a.example", "https://", "https://u:p@a.example", "a", "http://ä.example"]
)
def test_an_endpoint_that_is_no_address_of_a_host_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="endpoint"):
        Origin(url, 1, 1)
