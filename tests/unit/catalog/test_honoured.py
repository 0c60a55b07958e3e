"""Accepted means used: what no flow would do is refused when it is written."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import BaseModel, ValidationError

from keystow.catalog import model
from keystow.catalog.model import ProviderDefinition, validate_definition

LAYER = Path(model.__file__).parents[1]
STATIC = LAYER.parents[2] / "functions/connect_ui/static"
# What checks a definition says nothing about its use.
CHECKS = {"catalog/model.py", "catalog/rules.py", "catalog/honoured.py", "catalog/field_types.py"}

# Fields that nothing in the engine reads, and why they are taken all the same.
FOR_PEOPLE_AND_CLIENTS: Final[dict[str, str]] = {
    **dict.fromkeys(
        ["paginate", "decompress", "remaining", "in_body", "strategy"],
        "for a client's own calls of the API; nothing is proxied here",
    ),
    "forward_headers_on_redirect": "for a client's own calls of the API",
    **dict.fromkeys(
        ["webhook_user_defined_secret", "webhook_allowed_query_params"],
        "webhooks of providers go to the receiver of whoever uses the provider",
    ),
    "webhook_response_metadata": "as those; nothing arrives here that it could be read from",
    "authorization_code_param_in_webhook": "of installations that begin at the provider",
    **dict.fromkeys(
        ["post_connection_script", "pre_connection_deletion_script"],
        "names that official clients show; docs/catalogue.md says that they have no effect",
    ),
    **dict.fromkeys(
        ["credentials_verification_script", "connection_configuration", "decode_url"],
        "names that official clients show; docs/catalogue.md says that they have no effect",
    ),
    **dict.fromkeys(
        [
            *("auth_type", "client_registration", "registration_url", "registration_params"),
            *("request_url", "request_params", "request_http_method", "token_http_method"),
            "signature_method",
        ],
        "of modes that cannot be connected yet, which is refused where an integration is made",
    ),
    **dict.fromkeys(
        ["attributes", "sessionIndex", "nameIdentifier", "recipient"],
        "of SAML assertions, which are refused when a definition is written",
    ),
    "device_authorization_url": "a device's own client reads it (RFC 8628)",
}
ENTRY: dict[str, Any] = {
    "display_name": "x",
    "auth_mode": "OAUTH2",
    "authorization_url": "https://a.example/a",
    "token_url": "https://a.example/t",
}


def fields() -> set[str]:
    """Return the name of every field of every part of a definition."""
    models = [
        each
        for _name, each in inspect.getmembers(model, inspect.isclass)
        if issubclass(each, BaseModel) and each.__module__ == model.__name__
    ]
    assert ProviderDefinition in models
    return {
        name for each in models if not each.__name__.startswith("_") for name in each.model_fields
    }


def readers() -> set[str]:
    """Return every name that the engine looks up: keys of mappings, and properties in use."""
    found: set[str] = set()
    properties: set[str] = set()
    attributes: set[str] = set()
    for path in LAYER.rglob("*.py"):
        where = path.relative_to(LAYER).as_posix()
        if where in CHECKS:
            continue
        tree = ast.parse(path.read_text())
        texts = {
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        # A property of the loader is a reader only if somebody uses the property.
        (properties if where == "catalog/loader.py" else found).update(texts)
        attributes |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    scripts = " ".join(path.read_text() for path in STATIC.rglob("*.js"))
    return found | (properties & attributes) | set(re.findall(r"[A-Za-z_]+", scripts))


def test_every_field_of_the_schema_has_a_reader_or_a_reason() -> None:
    unread = fields() - readers() - set(FOR_PEOPLE_AND_CLIENTS)
    assert unread == set(), "accepted and never used: implement it, or take it out"


def test_no_reason_is_given_for_a_field_that_is_gone() -> None:
    assert set(FOR_PEOPLE_AND_CLIENTS) <= fields()


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"token_headers": {"Host": "x"}}, "token_headers may not set host"),
        ({"token_headers": {"accept-encoding": "br"}}, "accept-encoding"),
        ({"refresh_token_headers": {"content-length": "1"}}, "refresh_token_headers"),
        ({"token_exchange": {"headers": {"expect": "100-continue"}}}, "token_exchange.headers"),
        ({"token_refresh": {"headers": {"te": "trailers"}}}, "token_refresh.headers"),
        ({"proxy": {"base_url": "https://a.example", "headers": {"Host": "x"}}}, "proxy.headers"),
        ({"proxy": {"base_url": "https://a.example", "verification": {
            "endpoints": ["/me"], "headers": {"connection": "close"}}}}, "proxy.verification"),
        ({"on_disconnect": {"url": "/x", "headers": {"upgrade": "h2"}}}, "on_disconnect.headers"),
        ({"post_connection": {"calls": [{"url": "/x", "headers": {"host": "y"}}]}},
         "post_connection.calls.headers"),
        ({"token_headers": {"Content-Type": "application/json"}}, "content-type does not fit"),
        ({"token_headers": {"content-type": "application/x-www-form-urlencoded"},
          "body_format": "json"}, "content-type does not fit"),
        ({"token_refresh": {"params_in": "query", "headers": {"content-type": "text/plain"}}},
         "token_refresh.headers"),
        ({"token_request_auth_method": "private_key_jwt"}, "private_key_jwt"),
        ({"token_refresh": {"client_auth": "private_key_jwt"}}, "token_refresh.client_auth"),
        ({"require_client_certificate": True}, "require_client_certificate"),
        ({"body_format": "xml"}, "body_format: xml"),
        ({"token_exchange": {"body_format": "xml"}}, "token_exchange.body_format: xml"),
        ({"token_response": {"token": "a"}}, "token_response has no effect in OAUTH2"),
        ({"auth_mode": "OAUTH2_CC", "token_refresh": {"params": {"a": "b"}}},
         "token_refresh has no effect in OAUTH2_CC"),
        ({"auth_mode": "OAUTH2_CC", "refresh_url": "https://a.example/r", "use_refresh_url": True},
         "refresh_url has no effect in OAUTH2_CC"),
        ({"additional_steps": [{"token_url": "https://a.example"}]}, "additional_steps"),
        ({"token_url": "https://a.example/t#x"}, "token_url may not have a fragment"),
        ({"token_url": {"OAUTH2": "https://a.example/t#x"}}, "token_url may not have a fragment"),
        ({"introspection": {"url": "https://a.example/t#x"}}, "introspection.url"),
        ({"proxy": {"base_url": "https://a.example/?x=1"}}, "proxy.base_url may not have a query"),
        ({"token_second_step": {}}, "token_second_step"),
        ({"token_exchange": {"success_status": [201]}}, "success_status"),
        ({"par_url": "https://a.example/par"}, "par_url"),
    ],
)  # fmt: skip
def test_what_could_not_be_honoured_is_refused_when_it_is_written(changes, name) -> None:
    with pytest.raises(ValidationError, match=re.escape(name)):
        validate_definition("x", {**ENTRY, **changes}, builtin=False)


@pytest.mark.parametrize(
    "changes",
    [
        {"token_headers": {"User-Agent": "my-app/1.0", "Accept": "application/vnd.x+json"}},
        {"token_headers": {"content-type": "application/x-www-form-urlencoded; charset=UTF-8"}},
        {"token_headers": {"content-type": "Application/JSON"}, "body_format": "json"},
        {"token_url": "https://a.example/t?p=policy"},
    ],
)  # fmt: skip
def test_what_is_honoured_is_taken(changes) -> None:
    assert validate_definition("x", {**ENTRY, **changes}, builtin=False)
