"""Reading the catalogue: cheap, safe with any key, and in the shape clients know."""

import subprocess
import sys
from pathlib import Path

import pytest

from keystow.catalog import loader
from keystow.catalog.loader import Provider, built_in, matches, unfit_inputs

# The keys that a recorded server answered for these, apart from its inbound-webhook script.
RECORDED = {
    "github": {
        "display_name",
        "categories",
        "auth_mode",
        "authorization_url",
        "token_url",
        "proxy",
    },
    "algolia": {
        "display_name",
        "categories",
        "auth_mode",
        "proxy",
        "connection_config",
        "credentials",
    },
    "airtable": {
        "display_name",
        "categories",
        "auth_mode",
        "authorization_url",
        "token_url",
        "authorization_method",
        "auth",
        "proxy",
    },
    "airtable-pat": {"display_name", "categories", "auth_mode", "proxy", "credentials"},
}


@pytest.mark.parametrize(("id_", "keys"), RECORDED.items())
def test_the_public_shape_has_every_recorded_key(id_, keys):
    public = built_in(id_).public("https://keystow.example")
    assert keys <= set(public)
    assert public["name"] == id_
    assert public["logo_url"] == f"https://keystow.example/ui/logos/{id_}.svg"


@pytest.mark.parametrize(
    "id_", ["", "..", "../loader", "github/../github", "GITHUB", "no-such", "a" * 10_000, "git\x00"]
)
def test_an_unknown_or_hostile_key_is_nobody(id_):
    assert built_in(id_) is None


# What users were promised by name.
PROMISED = [
    "airtable",
    "asana",
    "atlassian",
    "jira",
    "confluence",
    "box",
    "discord",
    "dropbox",
    "figma",
    "github",
    "gitlab",
    "google",
    "google-calendar",
    "google-mail",
    "google-drive",
    "hubspot",
    "intercom",
    "linear",
    "linkedin",
    "mailchimp",
    "microsoft",
    "notion",
    "quickbooks",
    "salesforce",
    "shopify",
    "slack",
    "stripe-api-key",
    "twilio",
    "xero",
    "zendesk",
    "zoom",
    "zoho",
    "stripe",
    "unauthenticated",
]


@pytest.mark.parametrize("id_", PROMISED)
def test_the_catalogue_has_the_entries_it_promises(id_):
    assert built_in(id_).public("https://keystow.example")["name"] == id_


def test_the_documents_count_the_entries():
    count = len(loader.built_in_ids())
    root = Path(__file__).resolve().parents[3]
    for page, words in (
        ("README.md", f"| {count} built in,"),
        ("docs/architecture.md", f"providers as data: {count} entries"),
        ("CHANGELOG.md", f"- {count} built-in providers"),
    ):
        assert words in (root / page).read_text(encoding="utf-8"), page


def test_an_alias_is_a_shallow_merge():
    google, mail = built_in("google"), built_in("google-mail")
    assert mail.token_url == google.token_url
    assert mail.proxy == {"base_url": "https://gmail.googleapis.com"}
    assert "alias" not in mail.definition


@pytest.mark.parametrize(
    ("search", "found"),
    [
        (None, True),
        ("", True),
        ("AIRT", True),
        ("^air", True),
        ("table$", True),
        ("^airtable$", True),
        ("^table", False),
        ("github|airtable", True),
        ("github|jira", False),
        (".*", False),
        ("(a+)+$", False),
        ("[", False),
        ("^", True),
        ("$", True),
        ("^Base of TABLES$", True),
        ("of tables", True),
        ("^tables", False),
        ("github|^base of", True),
    ],
)
def test_a_search_of_key_and_name_is_text_with_anchors_and_alternatives(search, found):
    provider = loader.Provider("airtable", {"display_name": "Base of Tables"})
    assert matches(search, provider) is found


def test_a_search_finds_all_of_a_family():
    assert [p.id for p in loader.all_built_in("airtable")] == ["airtable", "airtable-pat"]


def test_the_token_host_follows_the_connections_config():
    zendesk, github = built_in("zendesk"), built_in("github")
    assert zendesk.token_host({"subdomain": "acme"}) == "acme.zendesk.com"
    assert zendesk.token_host({}) is None
    assert github.token_host({}) == "github.com"
    assert built_in("algolia").token_host({}) is None
    assert built_in("figma").token_host({}) == "api.figma.com"


def test_a_salesforce_host_of_somebody_else_is_unfit():
    provider = built_in("salesforce")
    assert unfit_inputs(provider, {"hostname": "acme.my.salesforce.com"}) == []
    for host in ("evil.example", "salesforce.com.evil.example", "a.salesforce.com/x", "a b"):
        assert unfit_inputs(provider, {"hostname": host}) == ["hostname"]


def test_values_outside_an_enum_are_unfit_and_unknown_names_are_free():
    provider = built_in("zoho")
    assert unfit_inputs(provider, {"extension": "eu", "mine": "x"}) == []
    assert unfit_inputs(provider, {"extension": "evil.example"}) == ["extension"]
    assert unfit_inputs(provider, {"extension": ""}) == []


def test_defaults_are_those_of_the_standards():
    provider = Provider("x", {"display_name": "X", "auth_mode": "OAUTH2"})
    assert provider.scope_separator == " "
    assert provider.authorization_code_param_in_callback == "code"
    assert provider.authorization_method == "body"
    assert provider.refresh_params is None
    assert not provider.disable_pkce
    assert provider.token_url == ""


def test_a_token_url_per_mode_is_understood():
    urls = {"OAUTH2": "https://a.com/o", "APP": "https://a.com/a"}
    provider = Provider("x", {"auth_mode": "CUSTOM", "token_url": urls})
    assert provider.token_url == urls["OAUTH2"]
    assert provider.token_url_for("APP") == urls["APP"]


def test_reading_an_entry_imports_nothing_heavy():
    code = (
        "import sys; from keystow.catalog import loader; loader.built_in('github');"
        "print([m for m in ('pydantic', 'httpx', 'cryptography', 'botocore') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": "layers/shared"},
        cwd=loader._ENTRIES.parents[4],
    )
    assert done.stdout.strip() == "[]"
