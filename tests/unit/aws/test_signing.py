"""Signatures against AWS's published examples ("Signature Version 4 test suite")."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from keystow.aws.credentials import Keys
from keystow.aws.signing import Signer, moment_of, signed_headers
from keystow.secret import Secret

KEYS = Keys("AKIDEXAMPLE", Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"))
BASE = {"host": "example.amazonaws.com", "x-amz-date": "20150830T123600Z"}
TOKEN = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"
LONG_TOKEN = (
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPf"
    "IeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7W"
    "Z0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8F"
    "DrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
)
UNRESERVED = "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
FORM = {
    "content-type": "application/x-www-form-urlencoded",
    "content-length": "13",
    "x-amz-content-sha256": "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e",
}


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "signature"),
    [
        pytest.param(
            *("GET", "/", {}, b""),
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            id="get-vanilla",
        ),
        pytest.param(
            *("POST", "/", {}, b""),
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            id="post-vanilla",
        ),
        pytest.param(
            *("GET", UNRESERVED, {}, b""),
            "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
            id="get-unreserved",
        ),
        pytest.param(
            *("GET", "/ሴ", {}, b""),
            "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
            id="get-utf8",
        ),
        pytest.param(
            *("GET", "/example space/", {}, b""),
            "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
            id="get-space",
        ),
        pytest.param(
            *("POST", "/", {"my-header1": "value1"}, b""),
            "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
            id="post-header-key-sort",
        ),
        pytest.param(
            *("POST", "/", FORM, b"Param1=value1"),
            "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
            id="post-x-www-form-urlencoded",
        ),
        pytest.param(
            *("GET", "/", {"x-amz-security-token": TOKEN}, b""),
            "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
            id="get-vanilla-with-session-token",
        ),
        pytest.param(
            *("POST", "/", {"x-amz-security-token": LONG_TOKEN}, b""),
            "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
            id="post-sts-header-before",
        ),
    ],
)
def test_a_request_of_awss_examples_has_the_signature_that_aws_gives(
    method: str, path: str, headers: dict[str, str], body: bytes, signature: str
) -> None:
    given = {**headers, **BASE}
    made = Signer("service", "us-east-1").authorization(KEYS, method, path, given, body)
    assert made == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders={';'.join(sorted(given))}, Signature={signature}"
    )


def signed(signer: Signer, keys: Keys, moment: str) -> str:
    return signer.authorization(keys, "POST", "/", {**BASE, "x-amz-date": moment}, b"{}")


def test_the_key_of_one_day_and_owner_signs_for_no_other() -> None:
    signer = Signer("service", "us-east-1")
    others = Keys("AKIDOTHER", Secret("another"))
    calls = [
        (KEYS, "20150830T123600Z"),
        (KEYS, "20150830T235959Z"),
        (KEYS, "20150831T000000Z"),
        (others, "20150831T000000Z"),
        (KEYS, "20150830T123600Z"),
    ]
    fresh = [signed(Signer("service", "us-east-1"), *call) for call in calls]
    assert [signed(signer, *call) for call in calls] == fresh
    assert len(set(fresh)) == 4


def test_no_key_shows_in_what_stands_in_memory() -> None:
    signer = Signer("service", "us-east-1")
    signed(signer, KEYS, "20150830T123600Z")
    shown = repr(vars(signer)) + repr(KEYS) + str(KEYS)
    assert "wJalr" not in shown
    assert "***" in shown


@pytest.mark.parametrize(
    ("epoch", "moment"),
    [(0, "19700101T000000Z"), (1_440_938_160.9, "20150830T123600Z")],
)
def test_a_moment_is_written_to_the_second_in_utc(epoch: float, moment: str) -> None:
    assert moment_of(epoch) == moment


@pytest.mark.parametrize(
    ("service", "url"),
    [
        ("ec2", "https://ec2.eu-west-1.amazonaws.com/?Filter.1.Value.1=a&Filter.1.Value.10=b"),
        ("ec2", "https://ec2.eu-west-1.amazonaws.com/?a=1&a-b=2&a.b=3&A=4"),
        ("ec2", "https://ec2.eu-west-1.amazonaws.com/?a=%20x&b=%C3%A9&c"),
        ("s3", "https://bucket.s3.eu-west-1.amazonaws.com/2024/a%3Ab%281%29.json?list-type=2"),
        ("execute-api", "https://x.execute-api.eu-west-1.amazonaws.com/stage/a%20b/c:d"),
    ],
)
def test_a_request_to_any_service_is_signed_as_botocore_signs_it(service: str, url: str) -> None:
    keys = Credentials(KEYS.id, KEYS.secret.reveal())
    kind = S3SigV4Auth if service == "s3" else SigV4Auth
    theirs = AWSRequest("GET", url, headers={"x-amz-content-sha256": sha256(b"").hexdigest()})
    kind(keys, service, "eu-west-1").add_auth(theirs)
    moment = datetime.strptime(theirs.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    ours = signed_headers(
        KEYS,
        service=service,
        region="eu-west-1",
        method="GET",
        url=url,
        headers={},
        body=b"",
        now=moment.timestamp(),
    )
    assert ours["authorization"] == theirs.headers["Authorization"]


def test_what_stands_plain_in_a_url_is_signed_as_s3_reads_it() -> None:
    def of(url: str) -> str:
        found = signed_headers(
            KEYS,
            service="s3",
            region="eu-west-1",
            method="GET",
            url=f"https://bucket.s3.eu-west-1.amazonaws.com{url}",
            headers={},
            body=b"",
            now=0,
        )
        return found["authorization"]

    assert of("/2024/a:b(1)+c.json") == of("/2024/a%3Ab%281%29%2Bc.json")
    assert of("/?a=x+y") == of("/?a=x%20y")
