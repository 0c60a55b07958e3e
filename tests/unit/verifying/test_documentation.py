"""docs/aws.md and `make verify-aws` name the same checks, claims and permissions."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from verify_aws import doors, findings, rights, storage, watching, workings
from verify_aws.checks import CHECKS

from keystow.environments import keys
from keystow.http.handler import EXPOSED_HEADERS
from keystow.sessions import tokens
from keystow.store import tables
from local.template import functions
from tests.unit.docs.reading import BLOCK, TEMPLATE, constant, names, rows, sections, text
from tests.unit.verifying.beforehand import use_provisioned, use_snapshots
from tests.unit.verifying.world import World, looked

if TYPE_CHECKING:
    from tests.unit.verifying.web import Web

PAGE = sections(text("docs/aws.md"), 2)
LOOKING = PAGE["Looking at a deployed stack"]
CLAIMS = [row for row in rows(PAGE["What was not shown on AWS"]) if len(row) == 4]
CHECK_NAMES = [one.name for one in CHECKS]


def test_every_check_is_explained_in_the_order_of_the_table() -> None:
    explained = [names(row[0])[0] for row in rows(LOOKING)]
    assert explained == [*findings_in_order(), *CHECK_NAMES]


def findings_in_order() -> list[str]:
    """Outcomes as the page lists them."""
    listed = [names(row[0])[0] for row in rows(LOOKING)][: len(findings.OUTCOMES)]
    assert sorted(listed) == sorted(findings.OUTCOMES)
    return listed


def test_there_are_claims_to_hold() -> None:
    assert len(CLAIMS) >= 22


@pytest.mark.parametrize("row", CLAIMS, ids=[row[0][:40] for row in CLAIMS])
def test_every_claim_names_its_checks_or_says_why_no_command_can_show_it(row: list[str]) -> None:
    named = [name for name in names(row[3]) if name in CHECK_NAMES]
    if named:
        assert names(row[3]) == named, "a name of no check"
    else:
        assert re.fullmatch(r"nothing: \w.{15,}", row[3])


@pytest.mark.parametrize("name", CHECK_NAMES)
def test_every_check_stands_by_a_claim(name: str) -> None:
    assert any(name in names(row[3]) for row in CLAIMS)


def asked_of_aws(web: Web) -> set[tuple[str, str]]:
    """Every call that the command makes, whatever the stack was deployed with."""
    found: set[tuple[str, str]] = set()
    changes = (World.use_door, World.use_subnets, World.use_own_key, heard)
    for change in (*changes, use_snapshots, use_provisioned):
        world = World()
        change(world)
        web.world = world
        for name in CHECK_NAMES:
            looked(world, name)
        found.update(world.asked)
    return found


def heard(world: World) -> None:
    world.chosen["AlarmTopicArn"] = "arn:aws:sns:us-east-1:111122223333:alarms"


def test_it_needs_the_documented_permissions_and_no_others(web: Web) -> None:
    needed = {
        "apigateway:GET" if service == "apigatewayv2" else f"{service}:{operation}"
        for service, operation in asked_of_aws(web)
    }
    (policy,) = [json.loads(block) for kind, block in BLOCK.findall(LOOKING) if kind == "json"]
    assert policy["Statement"][0]["Action"] == sorted(needed)


def test_it_only_reads(web: Web) -> None:
    reading = ("Describe", "Get", "List", "Filter", "Simulate")
    asked = asked_of_aws(web)
    assert asked
    assert [call for call in asked if not call[1].startswith(reading)] == []


def test_what_it_expects_of_the_api_is_what_the_functions_say() -> None:
    default = "functions/answer_default/app.py"
    preflight = constant("keystow.http.preflight:HEADERS")
    assert preflight["access-control-allow-methods"] == doors.METHODS
    assert preflight["access-control-max-age"] == doors.MAX_AGE
    assert constant(f"{default}:TELEMETRY") == doors.TELEMETRY
    assert "X-Nango-Signature" in EXPOSED_HEADERS


def test_it_knows_the_tables_and_which_of_them_ends_no_row() -> None:
    assert {name.lower() for name in workings.TABLES} == set(tables.TABLES)
    for name in workings.TABLES:
        assert tables.TABLES[name.lower()].expires is (name not in storage.ENDLESS)


def test_it_knows_what_talks_to_providers() -> None:
    inside = {name for name, one in functions(TEMPLATE).items() if "VpcConfig" in one}
    assert set(workings.OUTGOING) == inside


def test_it_knows_the_purposes_of_the_key() -> None:
    text_of = json.dumps(TEMPLATE["Resources"])
    found = re.findall(r'keystow:purpose": \[([^\]]*)\]', text_of)
    assert {name for each in found for name in re.findall(r"\w+", each)} == set(rights.PURPOSES)


def test_the_log_is_searched_for_what_keys_and_tokens_begin_with() -> None:
    patterns = watching.SECRETS.strip("%").split("|")
    for prefix, pattern in zip((keys.PREFIX, tokens.PREFIX), patterns, strict=True):
        assert re.search(pattern, f'{{"text": "{prefix}{"0123456789abcdef" * 3}"}}')
        assert not re.search(pattern, f"{prefix}moved")


@pytest.mark.parametrize("pattern", [watching.SECRETS, watching.REFUSALS, watching.LAMBDA])
def test_patterns_of_the_log_have_only_signs_that_cloudwatch_knows(pattern: str) -> None:
    """CloudWatch Logs, "Supported regular expressions syntax": no parentheses among them."""
    assert re.fullmatch(r"%[A-Za-z0-9:_#=@/;,^$?\[\]{}|\\*+.-]+%", pattern)


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        (watching.REFUSALS, "An error occurred (AccessDeniedException) when calling Decrypt"),
        (watching.REFUSALS, "User: arn is not authorized to perform: kms:Decrypt"),
        (watching.LAMBDA, "START RequestId: 1 Version: $LATEST"),
        (watching.LAMBDA, "REPORT RequestId: 1"),
        (watching.LAMBDA, '{"type":"platform.start"}'),
        (watching.LAMBDA, '{"type":"platform.report"}'),
    ],
)
def test_patterns_of_the_log_find_what_they_are_for(pattern: str, line: str) -> None:
    assert re.search(pattern.strip("%"), line)
    assert not re.search(pattern.strip("%"), '{"level":"INFO","message":"request","status":200}')
