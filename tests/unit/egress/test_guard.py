from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystow.egress.client import Egress
from keystow.egress.errors import EgressFailed, EgressRefused
from keystow.egress.guard import check_destination, literal_address, parse_target, refusal_of

PUBLIC = "93.184.215.14"
# Of the ports above 1023 those that the Fetch standard calls bad.
OTHER_PROTOCOLS = (
    *(1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566),
    *(6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080),
)


def never(*_: object, **__: object) -> socket.socket:
    raise AssertionError("the guard let a request out")


def resolving_to(*addresses: str):
    def resolve(_host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(0, socket.SOCK_STREAM, 6, "", (a, port)) for a in addresses]

    return resolve


def unable_to_resolve(*_: object, **__: object) -> list[tuple[object, ...]]:
    raise AssertionError("no look-up is needed for this host")


def refusal(url: str, *addresses: str, allow_loopback: bool = False) -> str:
    guarded = Egress(
        allow_loopback=allow_loopback,
        resolve=resolving_to(*addresses) if addresses else unable_to_resolve,
        connect=never,
    )
    with pytest.raises(EgressRefused) as refused:
        guarded.send("POST", url, body=b"refresh_token=marked")
    assert refused.value.sent is False
    return refused.value.reason


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("10.0.0.1", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.1.1", "private"),
        ("169.254.169.254", "metadata"),
        ("169.254.170.2", "metadata"),
        ("169.254.170.23", "metadata"),
        ("169.254.1.1", "link_local"),
        ("100.64.0.1", "shared"),
        ("100.100.100.200", "metadata"),
        ("100.127.255.255", "shared"),
        ("192.0.0.8", "reserved"),
        ("192.0.2.1", "reserved"),
        ("198.18.0.1", "reserved"),
        ("198.51.100.7", "reserved"),
        ("203.0.113.7", "reserved"),
        ("192.31.196.1", "reserved"),
        ("192.52.193.1", "reserved"),
        ("192.175.48.1", "reserved"),
        ("192.88.99.1", "reserved"),
        ("224.0.0.1", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "reserved"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "ipv4_mapped"),
        ("::ffff:8.8.8.8", "ipv4_mapped"),
        ("::ffff:0:10.0.0.1", "ipv4_mapped"),
        ("::127.0.0.1", "ipv4_compatible"),
        ("64:ff9b::a00:1", "nat64"),
        ("64:ff9b:1::a00:1", "nat64"),
        ("2002:7f00:1::", "sixtofour"),
        ("2001:0:4136:e378::", "teredo"),
        ("2001:20::1", "reserved"),
        ("2001:db8::1", "reserved"),
        ("3fff::1", "reserved"),
        ("2620:4f:8000::1", "reserved"),
        ("fd00:ec2::254", "metadata"),
        ("fc00::1", "private"),
        ("fe80::1", "link_local"),
        ("fe80::1%eth0", "link_local"),
        ("fec0::1", "private"),
        ("ff02::1", "multicast"),
        ("4000::1", "reserved"),
    ],
)
def test_a_name_is_judged_by_the_address_it_resolves_to(address: str, reason: str) -> None:
    assert refusal("https://provider.example/token", address) == reason


@pytest.mark.parametrize("address", [PUBLIC, "100.63.255.255", "172.32.0.1", "2606:4700::1111"])
def test_a_public_address_is_connected_to_exactly_as_it_was_checked(address: str) -> None:
    connected: list[tuple[str, int]] = []

    def connect(where: tuple[str, int], _timeout: float) -> socket.socket:
        connected.append(where)
        raise ConnectionRefusedError

    with pytest.raises(EgressFailed) as failed:
        Egress(resolve=resolving_to(address), connect=connect).send("GET", "https://a.example")

    assert connected == [(address, 443)]
    assert (failed.value.kind, failed.value.sent) == ("connect", False)


def test_a_name_that_changes_its_answer_is_looked_up_once_and_not_again() -> None:
    answers = iter([[PUBLIC], ["127.0.0.1"]])
    connected: list[str] = []

    def rebinding(_host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(0, 0, 0, "", (a, port)) for a in next(answers)]

    def connect(where: tuple[str, int], _timeout: float) -> socket.socket:
        connected.append(where[0])
        raise ConnectionRefusedError

    with pytest.raises(EgressFailed):
        Egress(resolve=rebinding, connect=connect).send("GET", "https://rebind.example")

    assert connected == [PUBLIC]
    assert next(answers) == ["127.0.0.1"]


def test_one_inner_address_among_public_ones_spoils_the_answer() -> None:
    assert refusal("https://mixed.example", PUBLIC, "10.0.0.1") == "private"


def test_addresses_made_up_by_dns64_are_passed_over_when_a_real_one_is_there() -> None:
    connected: list[str] = []

    def connect(where: tuple[str, int], _timeout: float) -> socket.socket:
        connected.append(where[0])
        raise ConnectionRefusedError

    guarded = Egress(resolve=resolving_to("64:ff9b::5db8:d70e", PUBLIC), connect=connect)
    with pytest.raises(EgressFailed):
        guarded.send("GET", "https://provider.example")

    assert connected == [PUBLIC]


@pytest.mark.parametrize(
    "host",
    [
        "metadata.google.internal",
        "localhost",
        "localhost.",
        "foo.localhost",
        "ip6-localhost",
        "intranet",
        "xn--bcher-kva.example",
        "bücher.example",
        "db.corp.internal",
    ],
)
def test_names_of_any_kind_are_decided_on_their_address(host: str) -> None:
    assert refusal(f"https://{host}/", "169.254.169.254") == "metadata"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "017700000001",
        "0177.0.0.1",
        "[::1]",
        "\uff11\uff12\uff17.\uff10.\uff10.\uff11",  # full-width digits
        "①②⑦.⓪.⓪.①",
    ],
)
def test_odd_spellings_of_loopback_are_loopback(host: str) -> None:
    assert refusal(f"https://{host}/") == "loopback"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://provider.example/", "scheme"),
        ("ftp://provider.example/", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("//provider.example/", "scheme"),
        ("provider.example", "scheme"),
        ("https://user@provider.example/", "userinfo"),
        ("https://user:pw@provider.example/", "userinfo"),
        ("https://@provider.example/", "userinfo"),
        ("https://good.example\\@evil.example/", "malformed_url"),
        ("https://good.example /", "malformed_url"),
        ("https://good.example/a b", "malformed_url"),
        ("https://good.example/\r\nX: y", "malformed_url"),
        ("https://good.example/\t", "malformed_url"),
        ("https://good.example/\x7f", "malformed_url"),
        ("https://good.example/\ud800", "malformed_url"),
        ("https://good.example/?a=\udfff", "malformed_url"),
        ("https:///path", "malformed_url"),
        ("https://", "malformed_url"),
        ("https://a..b/", "malformed_url"),
        ("https://a%2eb.example/", "malformed_url"),
        ("https://${connectionConfig.x}/", "malformed_url"),
        ("https://[::1/", "malformed_url"),
        ("https://[v1.fe80::1]/", "malformed_url"),
        ("https://\u2028.example/", "malformed_url"),
        ("https://[fe80::1%25eth0]/", "link_local"),
        ("https://a.example:port/", "malformed_url"),
        ("https://a.example:99999/", "malformed_url"),
        ("https://a.example:/", "malformed_url"),
        ("https://" + "a" * 64 + ".example/", "malformed_url"),
        ("https://a.example/" + "a" * 20_000, "malformed_url"),
        ("https://a.example:0/", "port"),
        ("https://a.example:22/", "port"),
        ("https://a.example:25/", "port"),
        ("https://a.example:80/", "port"),
        ("https://a.example:1023/", "port"),
        *((f"https://a.example:{port}/", "port") for port in OTHER_PROTOCOLS),
    ],
)
def test_a_url_of_a_wrong_shape_is_refused_before_any_look_up(url: str, reason: str) -> None:
    assert refusal(url) == reason
    with pytest.raises(EgressRefused):
        check_destination(url, allow_loopback=False)


def test_a_port_above_1023_may_be_used() -> None:
    assert parse_target("https://a.example:8443/x?y=1#z").path == "/x?y=1"
    assert parse_target("https://a.example:8443").authority == "a.example:8443"


@pytest.mark.parametrize("port", [443, 1024, 8443, 65535])
def test_https_may_use_its_own_port_and_those_that_need_no_rights(port: int) -> None:
    assert parse_target(f"https://a.example:{port}/").port == port


@pytest.mark.parametrize("port", [1, 22, 80, 6000, 65535])
def test_only_http_to_loopback_may_use_any_port(port: int) -> None:
    assert parse_target(f"http://localhost:{port}/", allow_loopback=True).port == port
    assert refusal("http://localhost:0/", allow_loopback=True) == "port"
    if port < 1024:
        assert refusal(f"https://localhost:{port}/", allow_loopback=True) == "port"


def test_loopback_is_closed_unless_it_is_opened() -> None:
    out = Egress(resolve=resolving_to("127.0.0.1"), connect=never)
    with pytest.raises(EgressRefused) as refused:
        out.send("GET", "https://localhost/")
    assert refused.value.reason == "loopback"
    with pytest.raises(EgressRefused) as refused:
        parse_target("http://localhost/")
    assert refused.value.reason == "scheme"


def test_what_is_not_said_in_a_url_is_what_the_web_takes_it_for() -> None:
    target = parse_target("https://a.example")
    assert (target.port, target.path, target.authority) == (443, "/", "a.example")
    target = parse_target("http://localhost?a=b", allow_loopback=True)
    assert (target.port, target.path, target.authority) == (80, "/?a=b", "localhost")


def test_path_and_query_are_sent_as_they_are_written_but_for_what_is_not_ascii() -> None:
    path, query = "/%2Fa:@!$&'()*+,;=-._~", "a=%20b&c[]={d}|^`/?:@!$'()*+,;-._~"
    assert parse_target(f"https://a.example{path}?{query}").path == f"{path}?{query}"
    assert parse_target("https://a.example/\u00e4?\u00e4").path == "/%C3%A4?%C3%A4"


def test_a_url_may_be_as_long_as_its_limit_and_no_longer() -> None:
    longest = "https://a.example/".ljust(16_384, "a")
    assert parse_target(longest).path
    assert refusal(f"{longest}a") == "malformed_url"


def test_a_name_may_be_as_long_as_dns_allows_and_no_longer() -> None:
    label = "a" * 63
    longest = ".".join((label, label, label, "a" * 61))
    assert len(longest) == 253
    assert parse_target(f"https://{longest}/").host == longest
    assert refusal(f"https://{longest}a/") == "malformed_url"


def test_http_passes_only_to_loopback_and_only_when_allowed() -> None:
    assert refusal("http://localhost:4500/", allow_loopback=False) == "scheme"
    assert refusal("http://provider.example/", PUBLIC, allow_loopback=True) == "scheme"
    assert refusal("http://provider.example/", "10.0.0.1", allow_loopback=True) == "private"
    assert refusal("http://0.0.0.0:4500/", allow_loopback=True) == "unspecified"
    assert refusal("http://[::ffff:127.0.0.1]/", allow_loopback=True) == "ipv4_mapped"


@pytest.mark.parametrize(
    ("name", "value"),
    [("X-A", "b\r\nEvil: 1"), ("X-A", "b\0"), ("X-A", "b\ud800"), ("X A", "b"), ("", "b")],
)
def test_a_header_cannot_smuggle_another_one(name: str, value: str) -> None:
    guarded = Egress(resolve=resolving_to(PUBLIC), connect=never)
    with pytest.raises(EgressRefused) as refused:
        guarded.send("GET", "https://a.example", headers={name: value})
    assert refused.value.reason == "malformed_header"


@pytest.mark.parametrize("method", ["", "GE T", "GET\r\n", "G" * 17])
def test_a_method_cannot_smuggle_a_request(method: str) -> None:
    guarded = Egress(resolve=resolving_to(PUBLIC), connect=never)
    with pytest.raises(EgressRefused) as refused:
        guarded.send(method, "https://a.example")
    assert (refused.value.reason, refused.value.sent) == ("malformed_header", False)


def test_a_look_up_asks_for_the_port_over_tcp() -> None:
    asked: list[tuple[object, ...]] = []

    def resolve(host: str, port: int, **how: object) -> list[tuple[object, ...]]:
        asked.append((host, port, how))
        return []

    with pytest.raises(EgressFailed):
        Egress(resolve=resolve, connect=never).send("GET", "https://a.example:8443/")
    assert asked == [("a.example", 8443, {"type": socket.SOCK_STREAM})]


def test_a_refusal_shows_no_part_of_the_url() -> None:
    with pytest.raises(EgressRefused) as refused:
        check_destination("https://marked:marked@10.0.0.1/marked?marked=1", allow_loopback=False)
    assert "marked" not in f"{refused.value} {refused.value!r}"
    target = parse_target("https://a.example/marked?token=marked")
    assert "marked" not in repr(target)


@pytest.mark.parametrize(
    "url",
    [
        "https://localhost/hook",
        "https://app.localhost/hook",
        "https://printer.local/hook",
        "https://metadata.google.internal/hook",
        "https://intranet/hook",
        "https://router.home.arpa/hook",
    ],
)
def test_names_of_this_network_are_refused_early_in_user_given_urls(url: str) -> None:
    with pytest.raises(EgressRefused) as refused:
        check_destination(url, allow_loopback=False)
    assert refused.value.reason == "name"


@pytest.mark.parametrize("url", ["https://hooks.example.com/a?b=c", "https://8.8.8.8/"])
def test_a_public_destination_passes_the_early_check(url: str) -> None:
    check_destination(url, allow_loopback=False)


def test_the_local_stack_may_name_loopback_destinations_but_no_other_inner_ones() -> None:
    check_destination("http://127.0.0.1:4500/hook", allow_loopback=True)
    check_destination("http://localhost:4500/hook", allow_loopback=True)
    check_destination("http://app.localhost:4500/hook", allow_loopback=True)
    for url, reason in (
        ("http://10.0.0.1/", "private"),
        ("https://10.0.0.1/", "private"),
        ("http://hooks.example.com/", "scheme"),
        ("https://intranet/", "name"),
    ):
        with pytest.raises(EgressRefused) as refused:
            check_destination(url, allow_loopback=True)
        assert refused.value.reason == reason


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_ipv4_address_passes_that_python_knows_as_special(number: int) -> None:
    address = IPv4Address(number)
    if refusal_of(address) is None:
        assert address.is_global
        kinds = (address.is_multicast, address.is_reserved, address.is_link_local)
        assert not any(kinds)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**128 - 1))
def test_no_ipv6_address_passes_that_python_knows_as_special(number: int) -> None:
    address = IPv6Address(number)
    if refusal_of(address) is None:
        assert address.is_global
        assert address in ip_network("2000::/3")
        assert address.ipv4_mapped is None
        assert address.sixtofour is None
        assert address.teredo is None


@settings(max_examples=200, deadline=None)
@given(st.ip_addresses(v=4, network="127.0.0.0/8") | st.ip_addresses(v=4, network="10.0.0.0/8"))
def test_every_wrapping_of_an_inner_ipv4_address_is_refused(inner: IPv4Address) -> None:
    number = int(inner)
    wrapped = [
        inner,
        IPv6Address(number),
        IPv6Address((0xFFFF << 32) | number),
        IPv6Address((0x64FF9B << 96) | number),
        IPv6Address((0x2002 << 112) | (number << 80)),
    ]
    assert all(refusal_of(address) is not None for address in wrapped)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_number_and_its_dotted_form_are_the_same_address(number: int) -> None:
    expected = ip_address(number)
    assert literal_address(str(number)) == expected
    assert literal_address(hex(number)) == expected
    assert literal_address(str(expected)) == expected


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_no_text_makes_the_parser_fail_in_another_way_than_refusing(text: str) -> None:
    for url in (text, f"https://{text}", f"https://a.example/{text}"):
        try:
            target = parse_target(url)
        except EgressRefused:
            continue
        assert target.scheme == "https"
        assert target.host.isascii()
        assert target.path.isascii()
        assert not set(target.path + target.host) & set(" \r\n\t@\\") - {"@"}
