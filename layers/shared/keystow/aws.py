"""Clients of AWS services, made once for a container and shared.

botocore is used directly: boto3 adds start-up time and nothing that is needed here
(``make bench`` prints the difference).
"""

from __future__ import annotations

import threading
from typing import Any

import botocore.session
from botocore.config import Config

from keystow import log  # noqa: F401 - keeps what botocore would log to itself
from keystow.settings import TRACED, load

_lock = threading.Lock()
_session: Any = None
_clients: dict[tuple[str, str], Any] = {}

# A conditional write may be retried here after its answer was lost; commits carry a write id so
# that a repeat that fails its own condition is recognized as one's own success.
_CONFIG = Config(
    connect_timeout=1,
    read_timeout=4,
    max_pool_connections=110,
    retries={"mode": "standard", "max_attempts": 3},
    parameter_validation=False,
)


def client(service: str, endpoint_url: str = "") -> Any:
    """Return the container's client of a service.

    Args:
        service: botocore's name of it, such as ``dynamodb``.
        endpoint_url: where it is, when not where botocore would look.
    """
    global _session  # noqa: PLW0603 - one session for the life of the container
    with _lock:
        key = (service, endpoint_url)
        if key not in _clients:
            if _session is None:
                _session = botocore.session.get_session()
            made = _session.create_client(
                service, endpoint_url=endpoint_url or None, config=_CONFIG
            )
            if load().tracing == TRACED:
                from keystow.tracing import follow

                follow(made)
            _clients[key] = made
        return _clients[key]
