"""Roles of AWS accounts: moto's STS behind a trust policy, every signature checked by botocore."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, AWSRequest
from botocore.credentials import Credentials
from moto import mock_aws
from moto.core.models import botocore_stubber

from keystow.catalog.proxy_request import build_request
from keystow.egress.client import Answer
from keystow.egress.errors import EgressFailed
from keystow.modes.calling import caller_of
from keystow.records.connection import Sealed
from keystow.registry import integrations, providers
from keystow.secret import Secret
from keystow.store import tables
from tests.app import App
from tests.integration.authorization.popup import END_USER
from tests.integration.modes.background import pass_time, refresh_events
from tests.support import Outside, Sent, json_answer, make_context, seed_environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.app import Result

ROLE = "arn:aws:iam::123456789012:role/reader"
EXTERNAL = "5b6f9f0e-6f3c-4a57-9d5e-1f1d5b1a7c11"
KEYS = {"awsAccessKeyId": "AKIAOWN", "awsSecretAccessKey": "own secret/+"}
SETTINGS = {"service": "sqs", "defaultRegion": "eu-central-1", **KEYS}


@dataclass
class Aws(Outside):
    """STS and the service; ``trusted`` maps roles to the external id that they ask for."""

    trusted: dict[str, str] = field(default_factory=lambda: {ROLE: EXTERNAL})
    known: dict[str, str] = field(default_factory=lambda: {"AKIAOWN": "own secret/+"})
    sent: list[Sent] = field(default_factory=list)
    fault: Callable[[Sent], Answer] | None = None
    now: Any = None

    def answer_to(self, sent: Sent) -> Answer:
        self.sent.append(sent)
        if self.fault:
            return self.fault(sent)
        code = self.refusal(sent)
        if code:
            return Answer(403, {}, _error(code))
        if not urlsplit(sent.url).hostname.startswith("sts."):
            return Answer(200, {}, b"{}")
        form = sent.form()
        if self.trusted.get(form["RoleArn"]) != form["ExternalId"]:
            return Answer(403, {}, _error("AccessDenied"))
        return self.issued(sent)

    def issued(self, sent: Sent) -> Answer:
        """Let moto make the keys; its clock is another, so the end is written anew."""
        request = AWSPreparedRequest("POST", sent.url, dict(sent.headers), sent.body, False)
        with mock_aws():
            status, _headers, body = botocore_stubber.process_request(request)
        text = body if isinstance(body, str) else body.decode()
        before, _, rest = text.partition("<Expiration>")
        ends = _iso(self.now() + int(sent.form()["DurationSeconds"]))
        answer = f"{before}<Expiration>{ends}{rest[rest.index('</Expiration>') :]}"
        key, secret = (_text(answer, name) for name in ("AccessKeyId", "SecretAccessKey"))
        self.known[key] = secret
        return Answer(status, {"content-type": "text/xml"}, answer.encode())

    def refusal(self, sent: Sent) -> str:
        """Return what is wrong with a signature, by botocore's own signing."""
        given = sent.headers["authorization"]
        key = given.partition("Credential=")[2].partition("/")[0]
        if key not in self.known:
            return "InvalidClientTokenId"
        _id, _day, region, service, _end = (
            given.partition("Credential=")[2].partition(",")[0].split("/")
        )
        names = given.partition("SignedHeaders=")[2].partition(",")[0].split(";")
        assert {"host", "x-amz-date", "x-amz-content-sha256"} <= set(names)
        signs = S3SigV4Auth if service == "s3" else SigV4Auth
        credentials = Credentials(key, self.known[key], sent.headers.get("x-amz-security-token"))
        headers = {name: sent.headers[name] for name in names if name in sent.headers}
        request = AWSRequest(sent.method, sent.url, headers=headers, data=sent.body)
        request.context["timestamp"] = sent.headers["x-amz-date"]
        signer = signs(credentials, service, region)
        signed = signer.headers_to_sign(request)
        canonical = signer.canonical_request(request)
        wanted = signer.signature(signer.string_to_sign(request, canonical), request)
        assert signer.signed_headers(signed) == ";".join(names)
        return "" if given.endswith(f"Signature={wanted}") else "SignatureDoesNotMatch"


def _error(code: str) -> bytes:
    return (
        '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
        f"<Code>{code}</Code><Message>no</Message></Error></ErrorResponse>"
    ).encode()


def _text(xml: str, name: str) -> str:
    return xml.partition(f"<{name}>")[2].partition(f"</{name}>")[0]


def _iso(epoch: float) -> str:
    from keystow.clock import iso

    return iso(epoch).replace(".000Z", "Z")


class World:
    def __init__(self, settings: dict[str, str] | None = None) -> None:
        self.aws = Aws()
        self.ctx: Any = make_context(egress=self.aws)
        self.aws.now = self.ctx.clock.now
        seeded = seed_environment(self.ctx)
        self.environment = seeded.environment.id
        self.app = App(self.ctx, seeded.secret_key)
        body = {"provider": "aws-sigv4", "unique_key": "aws"}
        made = self.app.post("/integrations", {**body, "integration_config": settings or SETTINGS})
        assert made.status == 200, made.body

    def submit(self, body: Any = None, token: str = "", **params: str) -> Result:
        if not token:
            made = self.app.post("/connect/sessions", {"end_user": END_USER})
            token = made.json()["data"]["token"]
        query = {"connect_session_token": token}
        query |= {f"params[{name}]": text for name, text in params.items()}
        given = {"role_arn": ROLE} if body is None else body
        return self.app.post(f"/auth/aws-sigv4/aws?{urlencode(query)}", given, key=None)

    def connected(self) -> str:
        made = self.submit(external_id=EXTERNAL)
        assert made.status == 200, made.body
        return str(made.json()["connectionId"])

    def path(self, connection_id: str) -> str:
        return f"/connections/{connection_id}?provider_config_key=aws"

    def read(self, connection_id: str) -> dict[str, Any]:
        found = self.app.get(self.path(connection_id))
        assert found.status == 200, found.body
        return dict(found.json())

    def stored(self) -> list[Any]:
        items = self.ctx.store.everything().get(tables.CONNECTIONS, [])
        return [item for item in items if item["sk"] == tables.CONNECTION]


def test_a_role_is_assumed_and_read_in_the_contracts_shape() -> None:
    world = World()
    found = world.read(world.connected())
    credentials = found["credentials"]
    (sent,) = world.aws.sent
    assert sent.url == "https://sts.eu-central-1.amazonaws.com/"
    form = {name: values[0] for name, values in parse_qs(sent.body.decode()).items()}
    assert form == {
        "Action": "AssumeRole",
        "Version": "2011-06-15",
        "RoleArn": ROLE,
        "RoleSessionName": "keystow",
        "ExternalId": EXTERNAL,
        "DurationSeconds": "3600",
    }
    names = ("access_key_id", "secret_access_key", "session_token", "expires_at")
    assert credentials == {
        "type": "AWS_SIGV4",
        "role_arn": ROLE,
        "region": "eu-central-1",
        "service": "sqs",
        "external_id": EXTERNAL,
        **{name: credentials[name] for name in names},
        "raw": {name: credentials[name] for name in names},
    }
    assert credentials["expires_at"] == "2026-01-01T01:00:00.000Z"
    assert world.aws.known[credentials["access_key_id"]] == credentials["secret_access_key"]
    assert found["connection_config"] == {
        "external_id": EXTERNAL,
        "role_arn": ROLE,
        "region": "eu-central-1",
        "service": "sqs",
    }


@pytest.mark.parametrize(
    ("service", "path", "body"),
    [
        ("sqs", "/?Action=ListQueues&b=%2F%20x&a", None),
        ("sqs", "/a%20b/c", {"x": "é"}),
        ("s3", "/key%20with/sp%C3%A4ce%2Bplus?list-type=2&prefix=a%2Fb", None),
    ],
)
def test_requests_carry_a_signature_that_botocore_makes_too(
    service: str, path: str, body: Any
) -> None:
    world = World({**SETTINGS, "service": service})
    found = world.read(world.connected())
    integration = integrations.by_unique_key(world.ctx, world.environment, "aws")
    provider = providers.find(world.ctx, world.environment, "aws-sigv4")
    assert integration is not None
    assert provider is not None
    sealed = Sealed(Secret(found["credentials"]), Secret(found["connection_config"]))
    caller = caller_of(world.ctx, integration, provider, sealed)
    request = build_request(
        caller,
        "POST" if body else "GET",
        path,
        data=body,
        headers={"x-amz-target": "A.B  c", "authorization": "Basic x"},
    )
    assert request.url.startswith(f"https://{service}.eu-central-1.amazonaws.com/")
    answer = world.aws.send(request.method, request.url, headers=request.headers, body=request.body)
    assert answer.status == 200, answer.body
    assert "x-amz-target" in request.headers["authorization"]


@pytest.mark.parametrize("external", ["", "11111111-2222-4333-8444-555555555555", "no uuid"])
def test_a_role_that_asks_for_another_external_id_is_a_400_and_stores_nothing(
    external: str,
) -> None:
    world = World()
    refused = world.submit(external_id=external)
    assert refused.status == 400
    assert refused.code in {"connection_test_failed", "invalid_query_params"}
    assert world.stored() == []


def test_the_region_comes_from_body_params_or_integration_in_this_order() -> None:
    world = World()
    for body, params, wanted in (
        ({"role_arn": ROLE, "region": "us-west-2"}, {"region": "us-east-1"}, "us-west-2"),
        ({"role_arn": ROLE}, {"region": "us-east-1"}, "us-east-1"),
        ({"role_arn": ROLE}, {}, "eu-central-1"),
    ):
        made = world.submit(body, external_id=EXTERNAL, **params)
        assert made.status == 200, made.body
        found = world.read(made.json()["connectionId"])
        assert found["connection_config"]["region"] == wanted
        assert urlsplit(world.aws.sent[-1].url).hostname == f"sts.{wanted}.amazonaws.com"


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"service": "sqs", **KEYS}, "missing_aws_sigv4_region"),
        (
            {"service": "sqs", "defaultRegion": "us-gov-west-1"},
            "missing_aws_sigv4_builtin_credentials",
        ),
        ({**SETTINGS, "stsMode": "custom"}, "missing_aws_sigv4_sts_endpoint"),
        ({**SETTINGS, "awsSecretAccessKey": "wrong"}, "invalid_aws_sigv4_config"),
        (
            {**SETTINGS, "stsMode": "custom", "stsEndpointUrl": "http://a.example"},
            "invalid_aws_sigv4_config",
        ),
    ],
)
def test_an_integration_that_is_not_complete_says_what_is_missing(
    settings: dict[str, str], code: str
) -> None:
    world = World(settings)
    refused = world.submit(external_id=EXTERNAL)
    assert (refused.status, refused.code) == (400, code)
    assert world.stored() == []


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, ["role_arn"]),
        ({"role_arn": "arn"}, ["role_arn"]),
        ({"role_arn": "arn:aws:iam::123456789012:user/x"}, ["role_arn"]),
        ({"role_arn": ROLE, "region": "EU/.."}, ["region"]),
        ({"role_arn": ROLE, "region": "s3"}, ["region"]),
        ({"role_arn": ROLE, "more": 1}, []),
    ],
)
def test_bodies_that_do_not_fit_are_refused(body: Any, path: list[str]) -> None:
    world = World()
    refused = world.submit(body)
    assert (refused.status, refused.code) == (400, "invalid_body")
    assert [each for _code, each in refused.issues] == [path]
    assert world.aws.sent == []


def _lost(_sent: Sent) -> Answer:
    raise EgressFailed("timeout", sent=True)


@pytest.mark.parametrize(
    "fault",
    [
        _lost,
        lambda _sent: Answer(503, {}, b""),
        lambda _sent: Answer(400, {}, _error("Throttling")),
        lambda _sent: Answer(200, {}, b"<a/>"),
        lambda _sent: Answer(200, {}, b"no xml"),
        lambda _sent: Answer(200, {}, b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'),
    ],
)
def test_an_sts_that_gives_no_keys_is_a_502_and_stores_nothing(fault: Any) -> None:
    world = World()
    world.aws.fault = fault
    refused = world.submit(external_id=EXTERNAL)
    assert (refused.status, refused.code) == (502, "aws_sigv4_sts_request_failed")
    assert world.stored() == []


def test_keys_are_renewed_on_read_before_they_end() -> None:
    world = World()
    connection_id = world.connected()
    first = world.read(connection_id)["credentials"]
    world.ctx.clock.advance(3_545)
    renewed = world.read(connection_id)["credentials"]
    assert renewed["access_key_id"] != first["access_key_id"]
    assert renewed["raw"]["access_key_id"] == renewed["access_key_id"]
    assert renewed["expires_at"] == "2026-01-01T01:59:05.000Z"
    assert len(world.aws.sent) == 2


def test_keys_are_renewed_in_the_background() -> None:
    world = World()
    connection_id = world.connected()
    first = world.read(connection_id)["credentials"]["access_key_id"]
    pass_time(world.ctx, 2_820, step=60)
    assert world.read(connection_id)["credentials"]["access_key_id"] != first
    assert len(world.aws.sent) == 2


def test_a_role_that_trusts_no_more_is_told_once_and_works_again_when_it_does() -> None:
    world = World()
    connection_id = world.connected()
    settings = {"primary_url": "https://hooks.example/k"}
    assert world.app.put("/environment/webhook-settings", settings).status == 200
    world.aws.trusted.clear()
    pass_time(world.ctx, 6 * 3_600, step=600)
    broken = world.app.get(world.path(connection_id))
    assert (broken.status, broken.code) == (424, "invalid_credentials")
    assert [event["success"] for event in refresh_events(world.ctx)] == [False]
    world.aws.trusted[ROLE] = EXTERNAL
    pass_time(world.ctx, 8 * 3_600, step=600)
    assert world.read(connection_id)["errors"] == []
    assert [event["success"] for event in refresh_events(world.ctx)] == [False, True]


def test_a_reconnect_keeps_external_id_and_region_that_the_role_trusts() -> None:
    world = World()
    connection_id = world.connected()
    body = {"connection_id": connection_id, "integration_id": "aws"}
    token = world.app.post("/connect/sessions/reconnect", body).json()["data"]["token"]
    other = "arn:aws:iam::123456789012:role/path/other"
    world.aws.trusted[other] = EXTERNAL
    again = world.submit(
        {"role_arn": other, "region": "us-east-1"},
        token,
        external_id="11111111-2222-4333-8444-555555555555",
    )
    assert again.status == 200, again.body
    found = world.read(connection_id)
    assert found["credentials"]["role_arn"] == other
    assert found["connection_config"]["external_id"] == EXTERNAL
    assert found["connection_config"]["region"] == "eu-central-1"
    assert len(world.stored()) == 1
    assert world.app.delete(world.path(connection_id)).status == 200
    assert world.stored() == []


def test_an_import_assumes_the_role() -> None:
    world = World()
    body: dict[str, Any] = {
        "provider_config_key": "aws",
        "connection_id": "c1",
        "connection_config": {"external_id": EXTERNAL},
        "credentials": {"type": "AWS_SIGV4", "role_arn": "arn:aws:iam::1:role/x"},
    }
    refused = world.app.post("/connections", body)
    assert (refused.status, refused.code) == (400, "invalid_body")
    body["credentials"]["role_arn"] = "arn:aws:iam::123456789012:role/unknown"
    refused = world.app.post("/connections", body)
    assert (refused.status, refused.code) == (400, "connection_test_failed")
    assert world.stored() == []
    body["credentials"]["role_arn"] = ROLE
    made = world.app.post("/connections", body)
    assert made.status == 201, made.body
    assert made.json()["credentials"]["session_token"]
    assert made.json()["connection_config"]["external_id"] == EXTERNAL


def test_a_backend_decides_about_the_external_id_by_its_session() -> None:
    world = World()
    fixed = {"aws": {"connection_config": {"external_id": EXTERNAL}}}
    body = {"end_user": END_USER, "integrations_config_defaults": fixed}
    token = world.app.post("/connect/sessions", body).json()["data"]["token"]
    made = world.submit(None, token, external_id="11111111-2222-4333-8444-555555555555")
    assert made.status == 200, made.body


@pytest.mark.parametrize(
    ("auth", "name", "value"),
    [
        ({}, "accept", "application/json"),
        ({"stsAuthType": "api_key", "stsApiKey": "k"}, "x-api-key", "k"),
        (
            {"stsAuthType": "basic", "stsAuthUsername": "u", "stsAuthPassword": "p"},
            "authorization",
            f"Basic {base64.b64encode(b'u:p').decode()}",
        ),
    ],
)
def test_a_service_of_the_operators_own_gives_the_keys(
    auth: dict[str, str], name: str, value: str
) -> None:
    own = {"stsMode": "custom", "stsEndpointUrl": "https://keys.example/assume", **auth}
    world = World({"service": "sqs", "defaultRegion": "eu-central-1", **own})
    issued = {"accessKeyId": "AK", "secretAccessKey": "s", "sessionToken": "t"}
    issued["expiresAt"] = "2026-01-01T01:00:00Z"
    world.aws.fault = lambda _sent: json_answer(200, issued)
    found = world.read(world.connected())["credentials"]
    (sent,) = world.aws.sent
    assert json.loads(sent.body) == {
        "roleArn": ROLE,
        "externalId": EXTERNAL,
        "region": "eu-central-1",
        "service": "sqs",
    }
    assert sent.headers[name] == value
    assert found["access_key_id"] == "AK"
    assert found["expires_at"] == "2026-01-01T01:00:00.000Z"
    world.aws.fault = lambda _sent: json_answer(403, {})
    assert world.submit(external_id=EXTERNAL).code == "connection_test_failed"
