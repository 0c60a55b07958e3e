"""What a function opens while Lambda starts it, before its first request.

At init a function has a whole processor, whatever its memory; its first request has what the memory
buys, a seventh of one with 256 MB. So each function names what its usual first request needs, and
that is made or imported here; what only another branch needs is not named, and loads when it is
asked for. A test holds each list against what the function's first request really uses.

Nothing is asked and nothing secret is read. Connections to AWS are opened, unless the container was
made beforehand: it may be kept ready for hours, or restored from a snapshot, before its first
request comes.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Final

from keystow import context
from keystow.aws import clients

# Parts of a context. Anything else that a function names is a module.
STORE: Final = "store"
VAULT: Final = "vault"
QUEUES: Final = "queues"
SOCKETS: Final = "sockets"
EGRESS: Final = "egress"
INVOKER: Final = "invoker"
PARTS: Final = frozenset({STORE, VAULT, QUEUES, SOCKETS, EGRESS, INVOKER})

# Lambda sets it in every container; tests and tools import functions without opening anything.
_IN_LAMBDA: Final = "AWS_LAMBDA_FUNCTION_NAME"
# Why a container was made: "on-demand" for a request that waits, or beforehand.
_WHY: Final = "AWS_LAMBDA_INITIALIZATION_TYPE"
_ON_DEMAND: Final = "on-demand"


def open_now(*needs: str) -> None:
    """Make the parts and import the modules that are named, when this is a container of Lambda.

    Args:
        needs: of :data:`PARTS`, or names of modules.
    """
    if _IN_LAMBDA not in os.environ:
        return
    ctx = context.current()
    for need in needs:
        if need not in PARTS:
            import_module(need)
        elif need == INVOKER:
            from keystow.sockets import get_ready_to_invoke

            get_ready_to_invoke()
        elif need == EGRESS:
            ctx.egress.get_ready()
        else:
            getattr(ctx, need)
    if os.environ.get(_WHY, _ON_DEMAND) == _ON_DEMAND:
        clients.open_connections()
