"""The template language against the contract's vectors, and against hostile values."""

import base64
import hashlib
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from keystow.catalog.interpolate import (
    InterpolationError,
    connection_config_of,
    extract_step_number,
    interpolate_object_values,
    interpolate_string,
    interpolate_string_from_object,
    is_resolved,
    make_url,
    metadata_from,
    misses_interpolation_param,
    placeholders,
    strip_credential,
    strip_step_response,
)

NOW = {"now": "2024-01-02T03:04:05.000Z"}
EITHER = "https://${connectionConfig.h}/a || https://d.com/a"
SUBDOMAIN = "https://${connectionConfig.sub}.x.com/t"


@pytest.mark.parametrize(
    ("template", "values", "expected"),
    [
        ("Hello ${name} of ${age}", {"name": "T", "age": 3}, "Hello T of 3"),
        ("${a.b}", {"a": {"b": "x"}}, "x"),
        ("${missing}", {}, "${missing}"),
        ("${base64(${u}:${p})}", {"u": "a", "p": "b"}, "YTpi"),
        (
            "${sha256Hex(${x})}",
            {"x": "abc"},
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        ("${sha256Base64(${x})}", {"x": "abc"}, "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="),
        (
            "${hmacSha1Hex(${m}, ${k})}",
            {"m": "msg", "k": "key"},
            "102900b72b7bf1031eec76b4804b66052376896b",
        ),
        ("${now}", NOW, "2024-01-02T03:04:05.000Z"),
        ("${now:X}", NOW, "1704164645"),
        ("${now+7:days:YYYY-MM-DD}", NOW, "2024-01-09"),
        ("${now:YYYYMMDDTHHmmss[Z]}", NOW, "20240102T030405Z"),
    ],
)
def test_interpolate_string_matches_the_contract(template, values, expected):
    assert interpolate_string(template, values) == expected


@pytest.mark.parametrize(
    ("template", "values", "expected"),
    [
        (EITHER, {"connectionConfig": {"h": "x.com"}}, "https://x.com/a"),
        (EITHER, {"connectionConfig": {}}, "https://d.com/a"),
        (
            "${connectionConfig.h} || ${connectionConfig.g}",
            {"connectionConfig": {}},
            "${connectionConfig.g}",
        ),
        (
            "${connectionConfig.bool}",
            {"connectionConfig": {"bool": True}},
            "${connectionConfig.bool}",
        ),
        ("${connectionConfig.n}", {"connectionConfig": {"n": 0}}, "0"),
    ],
)
def test_interpolate_string_from_object_matches_the_contract(template, values, expected):
    assert interpolate_string_from_object(template, values) == expected


@pytest.mark.parametrize(
    ("template", "config", "skip", "expected"),
    [
        (
            "https://${connectionConfig.domain}/t?x=1",
            {"domain": "a.com"},
            (),
            "https://a.com/t?x=1",
        ),
        ("${connectionConfig.url}/t", {"url": "https://a.com"}, (), "https://a.com/t"),
        ("${connectionConfig.url}/t", {"url": "https://a.com"}, ("base_url",), "https://a.com/t"),
        (EITHER, {}, (), "https://d.com/a"),
    ],
)
def test_make_url_matches_the_contract(template, config, skip, expected):
    assert make_url(template, config, skip) == expected


@pytest.mark.parametrize(
    ("config", "reason", "words"),
    [
        ({"sub": "a b"}, "invalid_url", "Invalid URL after interpolation"),
        ({"sub": ""}, "missing_parameters", "Failed to interpolate URL template"),
    ],
)
def test_make_url_refuses_what_the_contract_refuses(config, reason, words):
    with pytest.raises(InterpolationError, match=words) as caught:
        make_url(SUBDOMAIN, config)
    assert caught.value.reason == reason
    assert caught.value.template == SUBDOMAIN
    assert SUBDOMAIN in str(caught.value)


@pytest.mark.parametrize(
    ("template", "config", "expected"),
    [
        (EITHER, {}, False),
        ("https://${connectionConfig.h}/a", {}, True),
        ("https://${connectionConfig.h}/a", {"h": "x"}, False),
    ],
)
def test_misses_interpolation_param_matches_the_contract(template, config, expected):
    assert misses_interpolation_param(template, config) is expected


def test_the_remaining_vectors_of_the_contract():
    assert interpolate_object_values(
        {"a": "${connectionConfig.x}", "b": "lit", "c": "${connectionConfig.y}"}, {"x": "1"}
    ) == {"a": "1", "b": "lit", "c": "${connectionConfig.y}"}
    assert (
        strip_credential("Basic ${base64(${credentials.a}:${credentials.b})}")
        == "Basic ${base64(${a}:${b})}"
    )
    assert strip_step_response("${step1.data.token}") == "${data.token}"
    assert extract_step_number("${step2.x}") == 2
    assert extract_step_number("${x}") is None
    assert connection_config_of(
        {"a": "1", "b": ["x"], "c": {"d": 1}, "webhook_url": "https://e"}
    ) == {"a": "1"}
    assert metadata_from(
        {"a": "1", "b": True, "c": 3, "d": {"e": "z"}, "f": "no"},
        {"token_response_metadata": ["a", "b", "c", "d.e"]},
        "token_response_metadata",
    ) == {"a": "1", "b": True, "d.e": "z"}


@pytest.mark.parametrize(
    "value",
    [
        "evil.example/",
        "evil.example#",
        "evil.example?",
        "evil.example\\",
        "me@evil.example/",
        "evil.example:443/",
        "//evil.example/",
        "a\r\nb",
        "a%2F",
        "ü",
    ],
)
def test_a_value_inside_a_host_never_leads_to_another_host(value):
    with pytest.raises(InterpolationError):
        make_url(SUBDOMAIN, {"sub": value})
    with pytest.raises(InterpolationError):
        make_url("https://api.${connectionConfig.sub}", {"sub": value})


@pytest.mark.parametrize(
    "value", ["https://a.com@evil.example", "javascript:alert(1)", "file:///x"]
)
def test_a_whole_origin_must_still_be_a_plain_http_url(value):
    with pytest.raises(InterpolationError):
        make_url("${connectionConfig.url}/t", {"url": value})


@pytest.mark.parametrize(
    "value", ["evil.example/", "evil.example#", "evil.example?x", "a@evil.com"]
)
def test_leaving_values_unencoded_does_not_open_the_host(value):
    with pytest.raises(InterpolationError):
        make_url(SUBDOMAIN, {"sub": value}, ("base_url",))
    path = "https://a.com/${connectionConfig.x}/t"
    assert make_url(path, {"x": "b/c"}, ("base_url",)) == "https://a.com/b/c/t"


def test_a_callback_value_that_breaks_its_pattern_is_not_copied():
    definition = {
        "redirect_uri_metadata": ["server", "region"],
        "connection_config": {
            "server": {"pattern": r"^https://(?<dc>eu|us)\.example\.com$"},
            "region": {"enum": ["eu"]},
        },
    }

    def copied(**query):
        return metadata_from(query, definition, "redirect_uri_metadata")

    good = "https://eu.example.com"
    assert copied(server=good, region="eu") == {"server": good, "region": "eu"}
    assert copied(server="https://evil.example", region="us") == {}
    assert copied(server=good + "\n") == {"server": good}
    assert copied(server=good + ".evil.example") == {}


def test_a_whole_host_may_bring_its_port():
    template = "https://${connectionConfig.h}/t"
    assert make_url(template, {"h": "a.com:8443"}) == "https://a.com:8443/t"


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab./@:#?\\%[]{}$ -_|x\n\u00fc", max_size=20))
def test_no_text_at_all_moves_a_url_to_another_host(value):
    for skip in ((), ("base_url",)):
        for template in (SUBDOMAIN, "https://a-${s}.x.com:8/t", "https://x.com/${s}?q=${s}"):
            try:
                url = make_url(template, {"s": value, "sub": value}, skip)
            except InterpolationError:
                continue
            host = urlsplit(url).hostname
            assert host == "x.com" or host.endswith(".x.com")


def test_values_in_a_path_are_encoded_and_cannot_climb():
    template = "https://a.com/${connectionConfig.x}/t"
    assert make_url(template, {"x": "a/b c?d"}) == "https://a.com/a%2Fb%20c%3Fd/t"
    assert make_url(template, {"x": "../b"}) == "https://a.com/..%2Fb/t"
    with pytest.raises(InterpolationError, match="not allowed"):
        make_url(template, {"x": ".."})


def test_no_value_appears_in_an_error():
    with pytest.raises(InterpolationError) as caught:
        make_url(SUBDOMAIN, {"sub": "s3cret value"})
    assert "s3cret" not in str(caught.value)


def test_a_value_is_never_read_as_a_template():
    values = {"a": "${b}", "b": "secret", "c": "x, y"}
    assert interpolate_string("${a}", values) == "${b}"
    key_with_comma = hashlib.sha256(b"${b}").hexdigest()
    assert interpolate_string("${sha256Hex(${a})}", values) == key_with_comma


def test_a_comma_in_a_value_does_not_shift_the_arguments():
    template = "${hmacSha1Hex(${m}, ${k})}"
    plain = interpolate_string(template, {"m": "a, b", "k": "key"})
    assert plain == interpolate_string("${hmacSha1Hex(a, b, key)}", {})
    assert plain != interpolate_string(template, {"m": "a", "k": "b, key"})


def test_a_function_around_a_missing_value_stays_whole():
    template = "Basic ${base64(${username}:${password})}"
    assert interpolate_string(template, {"username": "u"}) == template
    assert not is_resolved(interpolate_string(template, {"username": "u"}))


def test_functions_nest_as_signed_headers_need_them():
    template = (
        "Basic ${base64(${u}:${hmacSha1Hex(${now:ddd, DD MMM YYYY HH:mm:ss ZZ}\n${method}\n"
        "${host}, ${p})})}"
    )
    inner = interpolate_string(
        "${hmacSha1Hex(Tue, 02 Jan 2024 03:04:05 +0000\nGET\na.com, pw)}", {}
    )
    values = {**NOW, "u": "id", "p": "pw", "method": "GET", "host": "a.com"}
    expected = base64.b64encode(f"id:{inner}".encode()).decode()
    assert interpolate_string(template, values) == f"Basic {expected}"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("${now:x}", "1704164645000"),
        ("${now:ddd, DD MMM YYYY HH:mm:ss ZZ}", "Tue, 02 Jan 2024 03:04:05 +0000"),
        ("${now:YYYY-MM-DDTHH:mm:ss}", "2024-01-02T03:04:05"),
        ("${now+1:minutes:X}", "1704164705"),
        ("${now-1:minute:X}", "1704164585"),
        ("${now-2:days}", "2023-12-31T03:04:05.000Z"),
        ("${now+1:month:YYYY-MM-DD}", "2024-02-02"),
        ("${now-1:years:YY}", "23"),
        ("${now:h:mm A SSS Z dddd MMMM}", "3:04 AM 000 +00:00 Tuesday January"),
        ("${now:[year] YYYY}", "year 2024"),
        ("${now+1:fortnights:X}", "${now+1:fortnights:X}"),
    ],
)
def test_dates_are_written_as_dayjs_writes_them(template, expected):
    assert interpolate_string(template, NOW) == expected


def test_a_month_later_than_the_31st_is_the_last_day_of_february():
    assert interpolate_string("${now+1:months:MM-DD}", {"now": "2024-01-31T00:00:00Z"}) == "02-29"


def test_no_instant_means_no_date():
    assert interpolate_string("${now:X} ${now}", {}) == "${now:X} ${now}"


def test_a_fallback_is_used_when_the_left_side_is_only_half_filled():
    template = "https://${connectionConfig.a}-${connectionConfig.b}.com || https://d.com"
    assert interpolate_string_from_object(template, {"connectionConfig": {"b": "x"}}) == (
        "https://d.com"
    )


def test_bars_without_spaces_are_plain_text():
    assert interpolate_string_from_object("${a}||${b}", {"a": "1", "b": "2"}) == "1||2"


@pytest.mark.parametrize("space", ["\u00a0", "\u0085", "\u2003", "\x1f"])
def test_only_plain_white_space_stands_around_the_bars(space: str) -> None:
    template = f"${{a}}{space}||{space}${{b}}"
    assert interpolate_string_from_object(template, {"b": "2"}) == f"${{a}}{space}||{space}2"


def test_unbalanced_templates_stay_as_they_are():
    for template in ("${a", "x ${", "${base64(${a)}", "}{", "${}"):
        assert interpolate_string(template, {"a": "1"}) == template


def test_deep_nesting_ends():
    template = "${base64(" * 200 + "x" + ")}" * 200
    assert interpolate_string(template, {}).startswith("${base64(")


def test_placeholders_looks_into_functions_and_skips_dates():
    template = "${base64(${credentials.a}:${sha256Hex(${b})})} ${now:X} ${connectionConfig.c.d}"
    assert placeholders(template) == ["credentials.a", "b", "connectionConfig.c.d"]


def test_an_ed25519_signature_verifies_and_the_fingerprint_is_of_the_public_key():
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    public_pem = (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
    message = '"@method": GET\n"x": a, b'
    signature = interpolate_string("${ed25519Sign(" + message + ", ${k})}", {"k": pem})
    key.public_key().verify(base64.b64decode(signature), message.encode())
    der = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    expected = "SHA256:" + base64.b64encode(hashlib.sha256(der).digest()).decode()
    one_line = pem.replace("\n", "\\n")
    for form in (pem, one_line, public_pem):
        assert interpolate_string("${fingerprint(${k})}", {"k": form}) == expected


@pytest.mark.parametrize("template", ["${fingerprint(${k})}", "${ed25519Sign(m, ${k})}"])
def test_an_unreadable_key_is_an_error_that_does_not_quote_it(template):
    with pytest.raises(InterpolationError) as caught:
        interpolate_string(template, {"k": "not-a-key"})
    assert caught.value.reason == "function_failed"
    assert "not-a-key" not in str(caught.value)


def test_awssigv4_signs_as_botocore_does():
    query = "Version=2010-05-08&Action=ListUsers&PathPrefix=%2Fa%20b"
    request = AWSRequest("GET", "https://iam.amazonaws.com/?" + query)
    request.context["timestamp"] = "20240102T030405Z"
    request.headers["X-Amz-Date"] = "20240102T030405Z"
    signer = SigV4Auth(Credentials("AKID", "secret/key"), "iam", "us-east-1")
    canonical = signer.canonical_request(request)
    expected = signer.signature(signer.string_to_sign(request, canonical), request)
    values = {
        **NOW,
        "a": "AKID",
        "s": "secret/key",
        "method": "GET",
        "host": "iam.amazonaws.com",
        "path": "/",
        "params": query,
    }
    assert interpolate_string("${awsSigV4(${a}, ${s}, us-east-1, iam)}", values) == (
        "AWS4-HMAC-SHA256 Credential=AKID/20240102/us-east-1/iam/aws4_request, "
        f"SignedHeaders=host;x-amz-date, Signature={expected}"
    )
