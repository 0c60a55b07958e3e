"""Refuses what a definition of a login in steps, or of a token signed here, says and nobody does.

For the modes TWO_STEP, JWT and BILL; plain data in, ValueError out.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from keystow.catalog.authority import authority_of, sides
from keystow.catalog.rules import strings
from keystow.catalog.signing import ALGORITHMS, EVERY

MODES: Final = frozenset({"TWO_STEP", "JWT", "BILL"})
MEDIA_TYPES: Final[Mapping[str, tuple[str, ...]]] = {
    "form": ("application/x-www-form-urlencoded",),
    "json": ("application/json",),
    "xml": ("application/xml", "text/xml"),
    "query": (),
}
# Of the grants of OAuth 2.0 and 1.0a.
_OF_OAUTH: Final = (
    *("token_exchange", "token_refresh", "refresh_params", "use_refresh_url", "dual_tokens"),
    *("token_request_auth_method", "authorization_method", "introspection", "revocation_url"),
    *("require_client_certificate", "alternate_access_token_response_path", "default_expires_in"),
    *("authorization_url", "authorization_params", "redirect_uri_metadata", "request_url"),
)
_OF_REQUESTS: Final = (
    *("token_params", "token_headers", "token_request_method", "body_format"),
    *("refresh_url", "refresh_token_params", "refresh_token_headers"),
    *("token_response", "token_response_headers", "token_response_metadata", "additional_steps"),
    *("assertion", "assertion_option", "token_expires_in_ms", "integration_config"),
)
_WITHOUT: Final[Mapping[str, tuple[str, ...]]] = {
    "TWO_STEP": _OF_OAUTH,
    "JWT": (*_OF_OAUTH, *_OF_REQUESTS, "token_url"),
    "BILL": (*_OF_OAUTH, *_OF_REQUESTS, "token", "signature"),
}
# Names under which a mode keeps what the provider gave.
_TAKEN: Final = frozenset(
    {"type", "token", "refresh_token", "expires_at", "raw", "_cookies", "assertionOption"}
)
_OF_SAML: Final = ("attributes", "sessionIndex", "nameIdentifier", "recipient")
_PRIVATE: Final = ("credentials.", "assertionOption.")
_ELEMENT: Final = re.compile(r"\$?[A-Za-z_][A-Za-z0-9_.-]*")
_STEP: Final = re.compile(r"\$\{step(\d+)\.")


def check(definition: Mapping[str, Any]) -> None:
    """Refuse a definition of these modes that could not be carried out as it says.

    Raises:
        ValueError: with the name of the field.
    """
    mode = definition["auth_mode"]
    if mode not in MODES:
        return
    for name in _WITHOUT[mode]:
        if name in definition:
            raise ValueError(f"{name} has no effect in {mode}")
    _check_names(definition)
    if mode in {"TWO_STEP", "JWT"}:
        _check_signature(definition)
    if mode == "TWO_STEP":
        _check_assertion(definition)
        for number, (name, step) in enumerate(_requests(definition)):
            _check_request(name, step, number)


def _check_names(definition: Mapping[str, Any]) -> None:
    for group in ("credentials", "integration_config"):
        taken = _TAKEN & set(definition.get(group) or {})
        if taken:
            raise ValueError(f"{group} may not have a field {', '.join(sorted(taken))}")


def _check_signature(definition: Mapping[str, Any]) -> None:
    token, signature = definition.get("token"), definition.get("signature")
    if token is None and signature is None:
        return
    if token is None or signature is None:
        raise ValueError("token and signature belong together")
    allowed = ALGORITHMS.get(signature["protocol"])
    if allowed is None:
        raise ValueError(f"signature.protocol: {signature['protocol']} signs no JWT")
    algorithm = (token.get("header") or {}).get("alg")
    if algorithm not in allowed:
        raise ValueError(f"token.header.alg must be one of {', '.join(sorted(allowed))}")
    if not token.get("signing_key") or not token.get("expires_in_ms"):
        raise ValueError("token needs signing_key and expires_in_ms")
    if signature.get("hmac_secret_encoding") and signature["protocol"] != "HMAC":
        raise ValueError("signature.hmac_secret_encoding belongs to HMAC")


def _check_assertion(definition: Mapping[str, Any]) -> None:
    assertion = definition.get("assertion")
    if assertion is None:
        if "assertion_option" in definition:
            raise ValueError("assertion_option needs assertion")
        return
    if assertion["type"] != "jwt":
        raise ValueError("assertion.type: SAML assertions are not supported")
    for name in _OF_SAML:
        if name in assertion:
            raise ValueError(f"assertion.{name} has no effect in a JWT")
    if (assertion.get("header") or {}).get("alg") not in EVERY:
        raise ValueError(f"assertion.header.alg must be one of {', '.join(sorted(EVERY))}")
    field = (definition.get("credentials") or {}).get("assertion")
    if field is not None and not field.get("automated"):
        raise ValueError("credentials.assertion is made here: it must be automated")


def _requests(definition: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the requests of a login in their order, and the one that refreshes."""
    general = definition.get("body_format") or "json"
    yield (
        "token",
        {
            "token_url": definition.get("token_url"),
            "token_request_method": definition.get("token_request_method"),
            "token_params": definition.get("token_params"),
            "token_headers": definition.get("token_headers"),
            "body_format": general,
        },
    )
    for step in definition.get("additional_steps") or ():
        yield "additional_steps.token", {"body_format": general, **step}
    refresh = {
        "token_url": definition.get("refresh_url") or definition.get("token_url"),
        "token_params": definition.get("refresh_token_params"),
        "token_headers": definition.get("refresh_token_headers"),
        "body_format": general,
    }
    if refresh["token_params"] or refresh["token_headers"] or definition.get("refresh_url"):
        if not (definition.get("token_response") or {}).get("refresh_token"):
            raise ValueError("a refresh needs token_response.refresh_token")
        yield "refresh_token", refresh


def _check_request(name: str, step: Mapping[str, Any], earlier: int) -> None:
    url = step["token_url"]
    if isinstance(url, Mapping):
        raise ValueError(f"{name}_url must be one address")  # noqa: TRY004 - pydantic wants these
    parts = [part for side in sides(url) for part in authority_of(side).parts]
    if any(part.is_placeholder and part.text.startswith(_PRIVATE) for part in parts):
        raise ValueError(f"{name}_url: no credential may stand in a host")
    params = step.get("token_params") or {}
    for text in strings([url, params, step.get("token_headers") or {}]):
        for number in _STEP.findall(text):
            if not 1 <= int(number) <= (0 if name == "refresh_token" else earlier):
                raise ValueError(f"{name}: step{number} has not answered by then")
    _check_body(name, step, params)


def _check_body(name: str, step: Mapping[str, Any], params: Mapping[str, Any]) -> None:
    body_format = str(step["body_format"])
    if body_format == "xml" and params:
        _check_xml(name, params)
    headers = {key.lower(): value for key, value in (step.get("token_headers") or {}).items()}
    given = headers.get("content-type")
    if given is not None and params and step.get("token_request_method") != "GET":
        media_type = given.partition(";")[0].strip().lower()
        if media_type not in MEDIA_TYPES[body_format]:
            raise ValueError(f"{name}_headers: content-type does not fit the body; see body_format")


def _check_xml(name: str, params: Mapping[str, Any]) -> None:
    if len(params) != 1 or next(iter(params)).startswith("$"):
        raise ValueError(f"{name}_params: a document of XML has one root")
    stack: list[Any] = [params]
    while stack:
        found = stack.pop()
        if isinstance(found, Mapping):
            for key, value in found.items():
                if not _ELEMENT.fullmatch(key):
                    raise ValueError(f"{name}_params: {key[:80]} is no name of an element")
                if key.startswith("$") and isinstance(value, Mapping | list):
                    raise ValueError(f"{name}_params: {key[:80]} is an attribute, and takes a text")
                stack.append(value)
        elif isinstance(found, list):
            if any(isinstance(each, list) for each in found):
                raise ValueError(f"{name}_params: a list in a list is no XML")
            stack += found
