"""What people paste becomes what a field wants, in the form and on the server alike."""

import json
from pathlib import Path

import pytest

from keystow.catalog import loader
from keystow.catalog.inputs import (
    cleaned,
    cleaned_config,
    cleaned_credentials,
    fields_as_used,
    fits,
)
from keystow.catalog.interpolate import metadata_from
from keystow.text import trimmed
from tests.node import run

TABLE = [
    (case["field"], value, wanted)
    for case in json.loads((Path(__file__).parent / "pasted.json").read_text())
    for wanted, pasted in case["wanted"].items()
    for value in pasted
]


@pytest.mark.parametrize(("field", "value", "wanted"), TABLE, ids=range(len(TABLE)))
def test_a_pasted_address_becomes_what_the_field_wants(field, value, wanted):
    assert cleaned(field, value) == wanted


@pytest.mark.parametrize(("field", "value", "wanted"), TABLE, ids=range(len(TABLE)))
def test_what_is_clean_stays_as_it_is(field, value, wanted):
    assert value is not None
    assert cleaned(field, wanted) == wanted


def test_the_form_cleans_as_the_server_does(tmp_path):
    script = (
        "import {clean, fieldsOf} from './form.js';\n"
        "let s = '';\n"
        "process.stdin.on('data', (d) => { s += d; }).on('end', () => {\n"
        "  const found = JSON.parse(s).map(([spec, value]) => {\n"
        "    const provider = {connect: {way: 'popup'}, connection_config: {x: spec}};\n"
        "    return clean(fieldsOf(provider, {unique_key: 'k'}, {})[0], value);\n"
        "  });\n"
        "  console.log(JSON.stringify(found));\n"
        "});\n"
    )
    cases = [[field, value] for field, value, _ in TABLE]
    found = run(tmp_path, ("form.js", "texts.js"), script, cases)
    wanted = [wanted for _, _, wanted in TABLE]
    assert list(zip(cases, found, strict=True)) == list(zip(cases, wanted, strict=True))


@pytest.mark.parametrize("id_", loader.built_in_ids())
def test_the_example_of_a_built_in_field_survives_its_cleaning(id_):
    for field in fields_as_used(loader.built_in(id_).definition).values():
        example = field.get("example")
        if example:
            assert cleaned(field, example) == example
            assert fits(example, field)


def test_a_field_that_says_nothing_wants_what_its_place_in_a_url_takes():
    definition = {
        "token_url": "https://${connectionConfig.sub}.example.com/token",
        "authorization_url": "https://${connectionConfig.host}:8443/authorize",
        "proxy": {
            "base_url": "${connectionConfig.url}/api || https://${connectionConfig.region}.x.io"
        },
        "connection_config": {
            "sub": {"pattern": "^[a-z]+$"},
            "host": {},
            "url": {"prefix": "https://"},
            "region": {"enum": ["eu"]},
            "free": {},
        },
    }
    config = {
        "sub": "https://Acme.example.com/x",
        "host": "Acme.example.com",
        "url": "https://Acme.example.com/x",
        "region": "EU",
        "free": " https://Acme.example.com/x",
        "undeclared": " x ",
        "number": 5,
    }
    assert cleaned_config(definition, config) == {
        "sub": "acme",
        "host": "Acme.example.com",
        "url": "acme.example.com/x",
        "region": "eu",
        "free": "https://Acme.example.com/x",
        "undeclared": " x ",
        "number": 5,
    }
    bare = {"token_url": "${connectionConfig.url}/token", "connection_config": {"url": {}}}
    assert cleaned_config(bare, {"url": "Acme.example.com/x"}) == {
        "url": "https://acme.example.com"
    }
    whole = {"token_url": "https://${connectionConfig.h}/t", "connection_config": {"h": {}}}
    assert cleaned_config(whole, {"h": "https://Acme.example.com/x"}) == {"h": "acme.example.com"}


def test_what_a_form_is_told_of_its_fields_is_what_the_server_cleans_by():
    field = loader.built_in("algolia").for_form("https://k.example")["connection_config"]["APP_ID"]
    assert field["suffix"] == ".algolia.net"
    shown = loader.built_in("zendesk").for_form("https://k.example")["connection_config"]
    assert shown == loader.built_in("zendesk").definition["connection_config"]


def test_what_a_provider_tells_is_cleaned_too():
    salesforce = loader.built_in("salesforce").definition
    told = {"instance_url": "https://Acme.my.salesforce.com/"}
    assert metadata_from(told, salesforce, "token_response_metadata") == {
        "instance_url": "https://acme.my.salesforce.com"
    }


def test_space_of_any_length_is_cut_at_once():
    assert trimmed(" \u200b" * 500_000 + "a" + "\u200b " * 500_000) == "a"
    assert cleaned({"format": "hostname"}, " \u200b" * 500_000 + "A.example") == "a.example"


@pytest.mark.parametrize(
    "pasted",
    ["acme", "https://acme.example.com/home?x=1", "ACME.example.com", "//acme.example.com"],
)
def test_a_bare_scheme_as_prefix_does_not_hide_the_domain_behind_the_field(pasted):
    definition = {
        "token_url": "https://${connectionConfig.sub}.example.com/token",
        "connection_config": {"sub": {"prefix": "https://", "pattern": "^[a-z]+$"}},
    }
    field = fields_as_used(definition)["sub"]
    assert field["suffix"] == ".example.com", "the form shows it too"
    assert cleaned(field, pasted) == "acme"


def test_typed_credentials_are_cleaned_but_for_secrets_and_passwords():
    definition = {
        "credentials": {
            "username": {"suffix": ".example.com"},
            "apiKey": {"secret": True, "prefix": "https://"},
            "password": {"suffix": ".example.com"},
        }
    }
    typed = {
        "type": "BASIC",
        "username": "https://Ada.example.com/me",
        "apiKey": "https://key",
        "password": " x.example.com ",
        "more": " y ",
    }
    assert cleaned_credentials(definition, typed) == {**typed, "username": "ada"}
