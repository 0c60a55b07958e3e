"""Who decides where a secret of the app goes: the definition, never a value of a connection."""

import pytest
from pydantic import ValidationError

from keystow.catalog import hosts, loader
from keystow.catalog.authority import url_templates
from keystow.catalog.errors import InterpolationError
from keystow.catalog.interpolate import make_url
from keystow.catalog.model import validate_definition

FREE = "https://${connectionConfig.host}/x"
WITHIN = r"^([a-z0-9-]+\.)+example\.com$"


def oauth2(pattern=None, **changes):
    field = {"type": "string", "title": "Host"}
    if pattern is not None:
        field["pattern"] = pattern
    definition = {
        "display_name": "Example",
        "auth_mode": "OAUTH2",
        "authorization_url": "https://example.com/authorize",
        "token_url": "https://example.com/token",
        "connection_config": {"host": field},
        **changes,
    }
    return {key: value for key, value in definition.items() if value is not None}


def check(body):
    return validate_definition("example", body, builtin=False)


URLS = {
    "token_url": FREE,
    "refresh_url": FREE,
    "revocation_url": FREE,
    "registration_url": FREE,
    "request_url": FREE,
    "device_authorization_url": FREE,
    "introspection": {"url": FREE},
    "on_disconnect": {"url": FREE},
    "post_connection": {"calls": [{"url": "/me"}, {"url": FREE}]},
    "proxy": {"base_url": FREE},
}


@pytest.mark.parametrize("name", sorted(URLS))
def test_every_url_that_gets_a_secret_keeps_it_within_the_providers_domain(name):
    changes = {name: URLS[name]}
    if name == "request_url":
        changes |= {"auth_mode": "OAUTH1", "signature_method": "PLAINTEXT"}
    for pattern in (None, ".+", "^.+$", r"example\.com$", r"^[a-z.]+$"):
        with pytest.raises(ValidationError, match="gets a secret"):
            check(oauth2(pattern, **changes))
    check(oauth2(WITHIN, **changes))


def test_the_place_of_a_verification_and_of_each_mode_count_too():
    proxy = {
        "base_url": "https://example.com",
        "verification": {"endpoints": ["/me"], "base_url_override": FREE},
    }
    for changes in ({"proxy": proxy}, {"token_url": {"OAUTH2": FREE}}):
        with pytest.raises(ValidationError, match="gets a secret"):
            check(oauth2("^[a-z.]+$", **changes))
        check(oauth2(WITHIN, **changes))


def test_further_steps_with_the_owners_values_count_too():
    body = {
        "display_name": "Steps",
        "auth_mode": "TWO_STEP",
        "token_url": "https://example.com/token",
        "token_response": {"token": "t"},
        "additional_steps": [{"token_url": FREE}],
        "connection_config": {"host": {"title": "Host"}},
    }
    check(body)
    with pytest.raises(ValidationError, match="gets a secret"):
        check({**body, "integration_config": {"partnerKey": {"title": "Key"}}})


@pytest.mark.parametrize(
    ("template", "pattern"),
    [
        ("https://${connectionConfig.host}.example.com/t", r"^[a-z0-9-]+$"),
        ("https://${connectionConfig.host}.example.com/t", r"^.+$"),
        ("https://${connectionConfig.host}.api.example.com:8443", r"^[a-z]+\d*$"),
        ("https://${connectionConfig.host}/t", r"^[a-z]+\.example\.com$"),
        ("https://${connectionConfig.host}/t", r"^[a-z]+\.example\.com(:\d{1,5})?$"),
        ("https://${connectionConfig.host}/t", r"^[a-z]+\.example\.com(:8443)?$"),
        ("https://${connectionConfig.host}/t", r"^(eu|us)\.example\.com$|^example\.org$"),
        ("https://${connectionConfig.host}/t", r"^.*\.example\.co\.uk$"),
        ("https://${connectionConfig.host}/t", r"^([a-zA-Z0-9-]+\.)*Example\.com$"),
        ("https://${connectionConfig.host}/t", r"^10\.0\.0\.1$"),
        ("https://accounts.example.${connectionConfig.host}/t", r"^(com|eu|com\.au)$"),
        ("${connectionConfig.host}/t", r"^https://[a-z]+\.example\.com$"),
        ("${connectionConfig.host}/t", r"^https://(eu|us)$"),
        ("${host}/t", r"^https:\/\/accounts\.(example\.(com|eu)|example-cloud\.ca)$"),
        ("https://${connectionConfig.host}.herokuapp.com", r"^(my-app|my-other-app)$"),
        ("https://${connectionConfig.host}.app.fly.dev", r"^[a-z]+$"),
        ("https://${connectionConfig.host}.execute-api.eu-west-1.amazonaws.com", r"^(a1b2|c3d4)$"),
    ],
)
def test_a_value_within_a_domain_that_is_written_out_is_fine(template, pattern):
    body = oauth2(pattern, token_url=template)
    check(body)
    assert hosts.is_fixed(body, template)


@pytest.mark.parametrize(
    ("template", "pattern"),
    [
        ("https://${connectionConfig.host}/t", r"^[a-z.]+$"),
        ("https://${connectionConfig.host}/t", r"^.+$"),
        ("https://${connectionConfig.host}/t", r"\.example\.com$"),
        ("https://${connectionConfig.host}/t", r"^[a-z]+\.example\.com"),
        ("https://${connectionConfig.host}/t", r"^[a-z]+\.example\.com$|evil"),
        ("https://${connectionConfig.host}/t", r"^[a-z]+\.example\.com|^x$"),
        ("https://${connectionConfig.host}/t", r"^[a-z]*example\.com$"),
        ("https://${connectionConfig.host}/t", r"^[a-z]+-example\.com$"),
        ("https://${connectionConfig.host}/t", r"^[a-z]+.example.com$"),
        ("https://${connectionConfig.host}/t", r"^[a-z]+\.(example\.com|[a-z]+)$"),
        ("https://${connectionConfig.host}/t", r"^[a-z]+\.example\.com(\.[a-z]+)?$"),
        ("https://${connectionConfig.host}/t", r"^[a-z]+\.example\.com/?$"),
        ("https://${connectionConfig.host}/t", r"^[a-z]+\.example\.com(/.*)?$"),
        ("https://${connectionConfig.host}/t", r"^\d+\.\d+\.\d+\.\d+$"),
        ("https://${connectionConfig.host}/t", r"^[a-z]+:\d+$"),
        ("https://${connectionConfig.host}/t", r"^[a-z]+\.com$"),
        ("https://${connectionConfig.host}.com/t", r"^[a-z]+$"),
        ("https://${connectionConfig.host}.co.uk/t", r"^[a-z]+$"),
        ("https://${connectionConfig.host}.herokuapp.com/t", r"^[a-z-]+$"),
        ("https://${connectionConfig.host}.deno.dev/t", r"^[a-z-]+$"),
        ("https://${connectionConfig.host}.s3.amazonaws.com/t", r"^[a-z-]+$"),
        (
            "https://${connectionConfig.host}/t",
            r"^[a-z0-9]+\.execute-api\.eu-west-1\.amazonaws\.com$",
        ),
        ("https://${connectionConfig.host}.lambda-url.us-east-1.on.aws/t", r"^[a-z0-9]+$"),
        (
            "https://${connectionConfig.host}.execute-api.cn-north-1.amazonaws.com.cn/t",
            r"^[a-z0-9]+$",
        ),
        ("https://${connectionConfig.host}.execute-api.eusc-de-east-1.amazonaws.eu", r"^[a-z]+$"),
        ("https://${connectionConfig.host}.fra1.digitaloceanspaces.com/t", r"^[a-z0-9-]+$"),
        ("https://${connectionConfig.host}.ondigitalocean.app/t", r"^[a-z0-9-]+$"),
        ("https://${connectionConfig.host}.blob.core.windows.net/t", r"^[a-z0-9]+$"),
        ("https://${connectionConfig.host}.westeurope.cloudapp.azure.com/t", r"^[a-z0-9]+$"),
        ("https://${connectionConfig.host}.a.run.app/t", r"^[a-z0-9-]+$"),
        ("https://${connectionConfig.host}.0.113.9.nip.io/t", r"^[0-9]+$"),
        ("https://accounts.example.${connectionConfig.host}/t", r"^[a-z]+$"),
        ("https://example.com.${connectionConfig.host}/t", r"^[a-z]+$"),
        ("https://example.com${connectionConfig.host}/t", r"^\.[a-z]+$"),
        ("${connectionConfig.host}/t", r"^https://[^\s/]+$"),
        ("${connectionConfig.host}/t", r"^https?://.*$"),
        ("${connectionConfig.host}/t", r"^https://example\.com/[a-z]+$"),
        ("${connectionConfig.host}", r"^https://[a-z]+@example\.com$"),
        ("https://example.com/t || https://${connectionConfig.host}/t", r"^[a-z.]+$"),
        ("https://${connectionConfig.host}.example.com/t", None),
        ("https://${connectionConfig.other}.example.com/t", WITHIN),
        ("https://${base64(${connectionConfig.host})}/t", WITHIN),
        ("https://${credentials.username}/t", WITHIN),
        ("https://${now}.example.com/t", WITHIN),
    ],
)
def test_a_value_that_could_name_another_domain_is_refused_when_written(template, pattern):
    body = oauth2(pattern, token_url=template, token_response_metadata=["other"])
    assert not hosts.is_fixed(body, template)
    with pytest.raises(ValidationError, match="token_url gets a secret"):
        check(body)


def test_a_list_keeps_a_host_where_a_pattern_would():
    fields = {"host": {"type": "string", "title": "Host", "enum": ["com", "com.au"]}}
    check(oauth2(token_url="https://a.example.${connectionConfig.host}", connection_config=fields))


def test_values_in_paths_are_nobodys_concern_here():
    check(oauth2(token_url="https://example.com/${connectionConfig.host}/token"))


def test_learnt_values_need_a_form_as_typed_ones_do():
    learnt = {
        "token_response_metadata": ["instance"],
        "proxy": {"base_url": "${connectionConfig.instance}"},
    }
    with pytest.raises(ValidationError, match="no field of connection_config"):
        check(oauth2(**learnt))


@pytest.mark.parametrize("mode", ["API_KEY", "BASIC"])
def test_an_end_users_own_key_may_go_where_the_end_user_says(mode):
    body = {
        "display_name": "Self-hosted",
        "auth_mode": mode,
        "proxy": {"base_url": "https://${connectionConfig.domain}"},
        "connection_config": {"domain": {"title": "Your domain"}},
    }
    check(body)
    # Values of the integration's owner would go along.
    owned = {**body, "integration_config": {"partnerKey": {"title": "Key", "secret": True}}}
    with pytest.raises(ValidationError, match="gets a secret"):
        check(owned)


def test_a_connection_that_brings_its_own_client_may_name_its_host():
    asked = {
        "oauth_client_id_override": {"title": "Client id"},
        "oauth_client_secret_override": {"title": "Client secret", "secret": True},
    }
    body = oauth2(token_url=FREE, client_per_connection=True, credentials=asked)
    check(body)
    with pytest.raises(ValidationError, match=r"needs credentials\.oauth_client_secret_override"):
        check({**body, "credentials": {"oauth_client_id_override": {"title": "T"}}})
    with pytest.raises(ValidationError, match="gets a secret"):
        check({**body, "client_per_connection": False})


# Products that customers run themselves, or under domains of their own.
RUN_BY_CUSTOMERS = ("docuware", "ghost-admin", "sap-business-one", "tableau")


@pytest.mark.parametrize("id_", RUN_BY_CUSTOMERS)
def test_what_customers_run_gets_no_secret_of_the_app(id_):
    assert not hosts.sends_app_secrets(loader.built_in(id_).definition)


@pytest.mark.parametrize("id_", sorted(set(loader.built_in_ids()) - set(RUN_BY_CUSTOMERS)))
def test_no_built_in_entry_lets_a_value_lead_its_secrets_elsewhere(id_):
    definition = loader.built_in(id_).definition
    if definition["auth_mode"] == "MCP_OAUTH2_GENERIC":
        return  # the server is its user's, and no app's secret is sent there (test_mcp)
    for name, template in url_templates(definition, secret=True):
        if definition["auth_mode"] == "AWS_SIGV4":  # all of it is AWS, and no secret is sent
            assert (
                template
                == "https://${connectionConfig.service}.${connectionConfig.region}.amazonaws.com"
            )
            continue
        assert hosts.is_fixed(definition, template), name


def test_a_hook_asks_below_the_base_url_only():
    post = {"hook": "choose_site", "options": {"sites_path": "https://${connectionConfig.host}/s"}}
    with pytest.raises(ValidationError, match="sites_path"):
        check(oauth2(WITHIN, post_connection=post))


@pytest.mark.parametrize(
    "value",
    [
        "evil.com/steal?x=",
        "evil.com:8443/a?b=",
        "evil.com#",
        "evil.com?",
        "evil.com/..%2f",
        "evil.com/.example.com",
        "evil.com\\.example.com",
        "me@evil.com",
        "me:pw@evil.com",
        "evil.com:",
        "evil.com:port",
        "evil.com:123456",
        "https://evil.com",
        "evil..com",
        "evil.com%2f",
        " evil.com",
        "evil.com\n",
        "",
    ],
)
def test_a_value_for_a_host_brings_host_and_port_and_nothing_else(value):
    for skip in ((), ("base_url",)):
        with pytest.raises(InterpolationError):
            make_url(FREE, {"host": value}, skip)
        origin = value if "://" in value else f"https://{value}"
        if value != "https://evil.com":
            with pytest.raises(InterpolationError):
                make_url("${connectionConfig.host}/x", {"host": origin}, skip)


@pytest.mark.parametrize("value", ["acme.com", "acme.com:8443", "[::1]:80", "localhost:3000"])
def test_a_host_and_its_port_are_a_hosts_value(value):
    assert make_url(FREE, {"host": value}) == f"https://{value}/x"
    origin = f"http://{value}"
    assert make_url("${connectionConfig.host}/x", {"host": origin}) == f"{origin}/x"


def test_values_in_the_path_stay_encoded_beside_a_whole_origin():
    template = "${connectionConfig.url}/${connectionConfig.tenant}/token"
    url = make_url(template, {"url": "https://a.com", "tenant": "t/../x?y"})
    assert url == "https://a.com/t%2F..%2Fx%3Fy/token"


@pytest.mark.parametrize("value", ["b?x=", "b#", "../b", "b/..", "b/./c", "b\\c", "a@b", "b%2f"])
def test_an_unencoded_value_does_not_leave_its_place_in_the_path(value):
    template = "https://a.com/${connectionConfig.x}/t"
    with pytest.raises(InterpolationError):
        make_url(template, {"x": value}, ("base_url",))


ZENDESK = "https://${connectionConfig.sub}.example.com/t"


@pytest.mark.parametrize(
    "config",
    [
        {"sub": "UPPER"},
        {"sub": 5},
        {"connectionConfig.sub": "UPPER"},
        {"connectionConfig.sub": "x.y", "sub": "fits-not"},
        {"credentials.sub": "x"},
    ],
)
def test_a_value_in_a_host_is_held_against_its_field_again_when_it_is_used(config):
    with pytest.raises(InterpolationError):
        make_url(ZENDESK, config, fields={"sub": {"pattern": "^[a-z]+$"}})


def test_a_nested_value_is_held_against_the_field_it_stands_for():
    template = "https://${connectionConfig.team.domain}.example.com"
    fields = {"team.domain": {"pattern": "^[a-z]+$"}}
    assert make_url(template, {"team": {"domain": "a"}}, fields=fields) == "https://a.example.com"
    for config in ({"team": {"domain": "A"}}, {"team.domain": "A"}):
        with pytest.raises(InterpolationError):
            make_url(template, config, fields=fields)
