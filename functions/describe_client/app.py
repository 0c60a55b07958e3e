"""GET /oauth/client-metadata/{environmentUuid}/{providerConfigKey}: a client describes itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystow.authorization import client_document
from keystow.environments.keys import is_uuid
from keystow.errors import ApiError
from keystow.http import parameters
from keystow.http.handler import lambda_handler_for
from keystow.http.messages import Response
from keystow.needs import STORE, open_now

if TYPE_CHECKING:
    from keystow.context import Context
    from keystow.http.messages import Request

# What the usual first request needs.
NEEDS = (STORE,)


def describe(ctx: Context, request: Request) -> Response:
    """Answer the metadata document of an integration's client."""
    uuid = request.path_params.get("environmentUuid", "").lower()
    if not is_uuid(uuid):
        raise ApiError("unknown_environment")
    unique_key = parameters.unique_key(request, "providerConfigKey")
    document = client_document.describe(ctx, uuid, unique_key, request.base_url)
    age = {"cache-control": f"public, max-age={client_document.MAX_AGE_SECONDS}"}
    return Response(200, document, age)


handler = lambda_handler_for(
    {"GET /oauth/client-metadata/{environmentUuid}/{providerConfigKey}": describe}
)

open_now(*NEEDS)
