"""What of a definition may change while it is in use, without the right to read secrets."""

import pytest

from keystow.catalog import cosmetic, loader
from keystow.catalog.cosmetic import guarded_changes
from keystow.catalog.model import InputField, ProviderDefinition

# Every field of the schema is decided about, here or in `cosmetic`. Is what a new field says ever
# sent, does it choose a place, or who sees something? Then it belongs here; if in doubt, too.
GUARDED = frozenset(
    {
        "account",
        "additional_steps",
        "alternate_access_token_response_path",
        "assertion",
        "assertion_option",
        "auth",
        "auth_mode",
        "auth_type",
        "authorization_code_param_in_callback",
        "authorization_code_param_in_webhook",
        "authorization_method",
        "authorization_params",
        "authorization_url",
        "authorization_url_fragment",
        "authorization_url_replacements",
        "authorization_url_skip_empty",
        "authorization_url_skip_encode",
        "body_format",
        "client_per_connection",
        "client_registration",
        "connection_config",
        "connection_configuration",
        "credentials",
        "credentials_verification_script",
        "decode_url",
        "default_expires_in",
        "default_scopes",
        "device_authorization_url",
        "disable_pkce",
        "dual_tokens",
        "expires_in_unit",
        "host_replacements",
        "installation",
        "integration_config",
        "introspection",
        "issuer",
        "issuer_required",
        "no_refresh_token",
        "refresh_token_override",
        "on_disconnect",
        "post_connection",
        "post_connection_script",
        "pre_connection_deletion_script",
        "proxy",
        "redirect_uri_metadata",
        "refresh_params",
        "refresh_token_headers",
        "refresh_token_life_days",
        "refresh_token_params",
        "refresh_token_response_metadata",
        "refresh_url",
        "registration_params",
        "registration_url",
        "request_http_method",
        "request_params",
        "request_url",
        "require_client_certificate",
        "revocation_auth",
        "revocation_url",
        "scope_separator",
        "signature",
        "signature_method",
        "token",
        "token_error_path",
        "token_exchange",
        "token_expiration_buffer",
        "token_expires_in_ms",
        "token_headers",
        "token_http_method",
        "token_params",
        "token_refresh",
        "token_request_auth_method",
        "token_request_method",
        "token_response",
        "token_response_headers",
        "token_response_metadata",
        "token_success",
        "token_url",
        "token_url_skip_encode",
        "use_refresh_url",
        "webhook_allowed_query_params",
        "webhook_response_metadata",
        "webhook_routing_script",
        "webhook_user_defined_secret",
    }
)
GUARDED_INPUT = frozenset(
    {
        "automated",
        "default_value",
        "enum",
        "format",
        "hidden",
        "optional",
        "pattern",
        "prefix",
        "secret",
        "suffix",
        "type",
        "visible_when",
    }
)


def test_every_field_of_the_schema_is_either_looks_or_guarded():
    assert set(ProviderDefinition.model_fields) <= cosmetic.DEFINITION | GUARDED
    assert set(InputField.model_fields) == cosmetic.INPUT | GUARDED_INPUT
    assert not cosmetic.DEFINITION & GUARDED
    assert not cosmetic.INPUT & GUARDED_INPUT


@pytest.mark.parametrize("name", sorted(GUARDED))
def test_whatever_is_not_named_as_looks_is_a_guarded_change(name):
    before = loader.built_in("zendesk").definition
    assert guarded_changes(before, {**before, name: "another"}) == [name]
    assert guarded_changes({**before, name: "another"}, before) == [name]


@pytest.mark.parametrize("name", sorted(GUARDED_INPUT - {"type"}))
def test_what_an_input_takes_and_who_sees_it_is_guarded(name):
    before = loader.built_in("zendesk").definition
    field = {**before["connection_config"]["subdomain"], name: "another"}
    after = {**before, "connection_config": {"subdomain": field}}
    assert guarded_changes(before, after) == ["connection_config"]


def test_looks_may_change():
    before = loader.built_in("zendesk").definition
    fields = before["connection_config"]
    looks = dict.fromkeys(cosmetic.INPUT, "another")
    after = {
        **before,
        **dict.fromkeys(cosmetic.DEFINITION, "another"),
        "connection_config": {"subdomain": {**fields["subdomain"], **looks}},
    }
    assert guarded_changes(before, after) == []


def test_values_that_only_python_takes_for_equal_differ():
    assert guarded_changes({"token_params": {"a": 1}}, {"token_params": {"a": True}})
    assert guarded_changes({"token_params": {"a": 1}}, {"token_params": {"a": 1.0}})
    assert not guarded_changes({"proxy": {"a": 1, "b": 2}}, {"proxy": {"b": 2, "a": 1}})
