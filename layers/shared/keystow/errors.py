"""Every error the API can answer.

The tree of codes, with the statuses each may have (the first is the default). The codes are
those that the official clients know; texts are our own. ``docs/errors.md`` explains each one,
and a test fails when one is missing there.

401  who is calling
     missing_auth_header · invalid_secret_key_format · unknown_account
     invalid_connect_session_token_format · unknown_connect_session_token
     missing_public_key · invalid_public_key · deprecated_authentication
403  what the caller may do
     forbidden
400  what was asked
     invalid_json · invalid_body · invalid_query_params · invalid_uri_params
     unknown_provider_config · invalid_auth_mode · integration_not_allowed · invalid_connection
     connection_test_failed · invalid_credentials (also 424) · unknown_connection (also 404)
     missing_client_id · missing_client_secret · client_credentials_fetch_error
     missing_aws_sigv4_region · missing_aws_sigv4_service · missing_aws_sigv4_sts_endpoint
     missing_aws_sigv4_builtin_credentials · invalid_aws_sigv4_config
     two_step_credentials_fetch_error · invalid_two_step_credentials
     invalid_two_step_credentials_second_request · failed_to_sign
     bill_tokens_fetch_error · invalid_bill_credentials
     missing_provider_config · missing_access_token · missing_expires_at · invalid_expires_at
     missing_basic_username · missing_api_key · missing_oauth_token · missing_oauth_token_secret
     missing_hmac · invalid_hmac
     missing_account_id · unsupported_auth_mode · resource_capped · cannot_delete_prod_environment
     invalid_is_prod_flag
     invalid_headers · server_error (also 424) · base_url_override_not_allowed · missing_api_url
     unsupported_auth · unknown_provider
404  what does not exist
     not_found · unknown_provider_template · unknown_environment
405  method_not_allowed is not used: an unknown method of a known path is ``not_found``
409  what collides
     conflict · provider_in_use · multiple_webhook_signing_keys · webhook_endpoint_off
     connect_session_used · connection_pending
413  request_too_large
415  invalid_content_type
424  connection_refresh_backoff
429  too_many_request (a quota of a session or an end user; Retry-After says when there is more)
500  rotation_failed (KMS or the table did not answer; the key is the one before)
     generic_error_support (a fault of ours; its payload is the id under which it was logged)
502  provider_unavailable (also 504) · response_too_large
503  what passes by itself
     refresh_in_progress · temporarily_unavailable
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from keystow.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CODES: Final[dict[str, tuple[int, ...]]] = {
    # who is calling
    "missing_auth_header": (401,),
    "invalid_secret_key_format": (401,),
    "unknown_account": (401,),
    "invalid_connect_session_token_format": (401,),
    "unknown_connect_session_token": (401,),
    "missing_public_key": (401,),
    "invalid_public_key": (401,),
    "deprecated_authentication": (401,),
    # what the caller may do
    "forbidden": (403,),
    # what was asked
    "invalid_json": (400,),
    "invalid_body": (400,),
    "invalid_query_params": (400,),
    "invalid_uri_params": (400,),
    "unknown_provider_config": (400, 404),
    "invalid_auth_mode": (400,),
    "integration_not_allowed": (400,),
    "invalid_connection": (400,),
    "connection_test_failed": (400,),
    "invalid_credentials": (400, 424),
    "unknown_connection": (400, 404),
    "missing_client_id": (400,),
    "missing_client_secret": (400,),
    "client_credentials_fetch_error": (400,),
    "missing_aws_sigv4_region": (400,),
    "missing_aws_sigv4_service": (400,),
    "missing_aws_sigv4_sts_endpoint": (400,),
    "missing_aws_sigv4_builtin_credentials": (400,),
    "invalid_aws_sigv4_config": (400,),
    "aws_sigv4_sts_request_failed": (502,),
    "two_step_credentials_fetch_error": (400,),
    "invalid_two_step_credentials": (400,),
    "invalid_two_step_credentials_second_request": (400,),
    "failed_to_sign": (400,),
    "bill_tokens_fetch_error": (400,),
    "invalid_bill_credentials": (400,),
    "missing_provider_config": (400,),
    "missing_access_token": (400,),
    "missing_expires_at": (400,),
    "invalid_expires_at": (400,),
    "missing_basic_username": (400,),
    "missing_api_key": (400,),
    "missing_oauth_token": (400,),
    "missing_oauth_token_secret": (400,),
    "missing_account_id": (400,),
    "missing_hmac": (400,),
    "invalid_hmac": (400,),
    "unsupported_auth_mode": (400,),
    "resource_capped": (400,),
    "cannot_delete_prod_environment": (400,),
    "invalid_is_prod_flag": (400,),
    # what was asked of the proxy
    "invalid_headers": (400,),
    "server_error": (400, 424),
    "base_url_override_not_allowed": (400,),
    "missing_api_url": (400,),
    "unsupported_auth": (400,),
    "unknown_provider": (400,),
    "connection_refresh_backoff": (424,),
    "provider_unavailable": (502, 504),
    "response_too_large": (502,),
    # what does not exist
    "not_found": (404,),
    "unknown_provider_template": (404,),
    "unknown_environment": (404,),
    # what collides
    "conflict": (409,),
    "provider_in_use": (409,),
    "multiple_webhook_signing_keys": (409,),
    "rotation_failed": (500,),
    "webhook_endpoint_off": (409,),
    "connect_session_used": (409,),
    "connection_pending": (409,),
    # what is too large or of the wrong kind
    "request_too_large": (413,),
    "invalid_content_type": (415,),
    # what is too much
    "too_many_request": (429,),
    # what is our own fault, or passes by itself
    "generic_error_support": (500,),
    "refresh_in_progress": (503,),
    "temporarily_unavailable": (503,),
}

# Errors of authentication carry an empty payload beside code and message, as clients have seen
# them do since the first version of the contract (contract 1.3, "NangoError style").
_WITH_EMPTY_PAYLOAD: Final = frozenset(
    {
        "missing_auth_header",
        "invalid_secret_key_format",
        "unknown_account",
        "invalid_connect_session_token_format",
        "unknown_connect_session_token",
        "missing_public_key",
        "invalid_public_key",
        "missing_hmac",
        "invalid_hmac",
        "missing_client_id",
        "missing_client_secret",
        "missing_provider_config",
        "missing_access_token",
        "missing_expires_at",
        "invalid_expires_at",
        "missing_basic_username",
        "missing_api_key",
        "missing_oauth_token",
        "missing_oauth_token_secret",
    }
)


class Issue(Value):
    """One fault of a request: a validation code, a sentence, and where it stands."""

    code: str
    message: str
    path: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the shape of the contract (1.3): ``{code, message, path}``."""
        return {"code": self.code, "message": self.message, "path": list(self.path)}


class ApiError(Exception):
    """An answer other than the one asked for; raised where it is known, translated at the edge.

    Args:
        code: one of :data:`CODES`.
        message: a sentence for a human; never holds a secret. Omitted when None.
        status: one of the statuses of the code; the code's first one when None.
        issues: the single faults, for the ``invalid_*`` codes.
        payload: more for a machine; omitted when None.
        headers: further response headers (``Retry-After``).
    """

    def __init__(
        self,
        code: str,
        message: str | None = None,
        *,
        status: int | None = None,
        issues: Sequence[Issue] = (),
        payload: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        allowed = CODES[code]
        if status is not None and status not in allowed:
            raise ValueError(f"{code} never answers {status}")
        super().__init__(message or code)
        self.code = code
        self.message = message
        self.status = allowed[0] if status is None else status
        self.issues = tuple(issues)
        self.payload = payload
        self.headers = dict(headers or {})

    def as_json(self) -> dict[str, Any]:
        """Return the one error shape: ``{"error": {code, message?, errors?, payload?}}``."""
        error: dict[str, Any] = {"code": self.code}
        if self.message is not None:
            error["message"] = self.message
        if self.issues:
            error["errors"] = [issue.as_json() for issue in self.issues]
        if self.payload is not None:
            error["payload"] = self.payload
        elif self.code in _WITH_EMPTY_PAYLOAD:
            error["payload"] = {}
        return {"error": error}


def invalid(code: str, issue_code: str, message: str, *path: str) -> ApiError:
    """Return an ``invalid_*`` error with one issue."""
    return ApiError(code, issues=[Issue(issue_code, message, path)])
