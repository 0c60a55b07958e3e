"""DELETE /end-users/{endUserId}."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystow.end_users import erasure
from keystow.http import auth, parameters
from keystow.http.handler import lambda_handler_for
from keystow.http.messages import Response
from keystow.needs import EGRESS, STORE, VAULT, open_now

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.http.messages import Request

# What the usual first request needs.
NEEDS = (
    STORE,
    VAULT,
    EGRESS,
    "keystow.modes.dual_tokens",
    "keystow.modes.oauth2",
    "keystow.oauth.authorization_params",
    "keystow.oauth.revocation",
    "keystow.oauth.token_endpoint",
)


def erase(ctx: Context, request: Request) -> Response:
    """Erase an end user, and tell what that did."""
    principal = auth.secret_key(ctx, request, "environment:end_users:delete")
    end_user = parameters.end_user_id(request)
    request.refuse_query()
    request.refuse_body()
    return Response(body={"data": erasure.erase(ctx, principal.environment, end_user)})


handler = lambda_handler_for({"DELETE /end-users/{endUserId+}": erase})

open_now(*NEEDS)
