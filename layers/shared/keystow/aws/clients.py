"""Clients of AWS services, made once for a container and shared."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Final

from keystow.aws.client import Client, Service
from keystow.aws.credentials import Credentials
from keystow.aws.endpoints import endpoint_of, region_of
from keystow.aws.errors import AwsUnanswered
from keystow.settings import TRACED, load

SERVICES: Final = {
    each.name: each
    for each in (
        Service(
            "dynamodb",
            "DynamoDB",
            "DynamoDB_20120810",
            "application/x-amz-json-1.0",
            checked=True,
        ),
        Service("kms", "KMS", "TrentService", "application/x-amz-json-1.1"),
        Service("sqs", "SQS", "AmazonSQS", "application/x-amz-json-1.0"),
        Service("execute-api", "ApiGatewayManagementApi"),
        Service("lambda", "Lambda"),
    )
}

_lock = threading.Lock()
_credentials: Credentials | None = None
_clients: dict[tuple[str, str], Client] = {}


def client(service: str, endpoint: str = "") -> Client:
    """Return the container's client of a service, made when it is first asked for.

    Args:
        service: one of :data:`SERVICES`.
        endpoint: its URL, when not the one of the region.

    Raises:
        ValueError: the environment names no region, or no such endpoint.
    """
    global _credentials  # noqa: PLW0603 - the same for the life of the container
    with _lock:
        found = _clients.get((service, endpoint))
        if found is None:
            if _credentials is None:
                _credentials = Credentials()
            told = None
            if load().tracing == TRACED:
                from keystow.tracing import tell_of_call

                told = tell_of_call
            region = region_of()
            url = endpoint or endpoint_of(service, region)
            found = Client(SERVICES[service], region, url, _credentials, told=told)
            _clients[service, endpoint] = found
        return found


def open_connections() -> None:
    """Open a connection for each client that was made, which its first call finds.

    That one cannot be opened is for the first call to tell, if it lasts.
    """
    with _lock:
        made = list(_clients.values())
    for each in made:
        with suppress(AwsUnanswered):
            each.open()
