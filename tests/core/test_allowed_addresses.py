"""Which addresses a backend of the API may have."""

from ipaddress import ip_address

import pytest

from lb.config.loader import build
from lb.core.allowed_addresses import AddressRule, meanings

OWN = ["127.0.0.1:8080", "[::]:8081", "10.1.1.1:8088", "unix:/run/lb", "0.0.0.0:9000"]
METADATA = [
    "169.254.169.254",
    "169.254.0.1",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "::169.254.169.254",
    "64:ff9b::169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "fe80::1",
    "fe80::1%eth0",
    "febf::1",
    "fd00:ec2::254",
    "FD00:0EC2:0:0:0:0:0:254",
    "fd20:ce::254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
]


def rule(*allowed: str, **pools: object) -> AddressRule:
    config = build({"admin": {"allowed_backends": list(allowed)}, "pools": pools})
    return AddressRule(lambda: config, lambda: OWN)


@pytest.mark.parametrize("address", METADATA)
@pytest.mark.parametrize("allowed", [[], ["0.0.0.0/0", "::/0"]])
def test_link_local_and_metadata_are_refused_in_every_spelling(address: str, allowed: list[str]) -> None:
    why = rule(*allowed).objection("name", 80, address)
    assert why == (
        f"name, which is {ip_address(address)}, is link-local or a metadata service, "
        "which admin.allowed_backends does not name"
    )


def test_a_reserved_network_opens_where_it_is_listed_itself() -> None:
    assert rule("169.254.7.0/24").objection("h", 80, "169.254.7.9") is None
    assert rule("169.254.7.0/24").objection("h", 80, "169.254.169.254") is not None
    assert rule("fe80::/10").objection("h", 80, "fe80::1%eth0") is None


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "192.168.1.1", "8.8.8.8", "::1", "fd00::1"])
def test_without_a_list_any_other_address_is_good(address: str) -> None:
    assert rule().objection(address, 3000, address) is None


@pytest.mark.parametrize(
    ("address", "is_good"),
    [
        ("10.9.9.9", True),
        ("::ffff:10.9.9.9", True),
        ("192.168.1.1", False),
        ("fd00::1", True),
        ("::1", False),
    ],
)
def test_with_a_list_only_what_is_in_it(address: str, is_good: bool) -> None:
    why = rule("10.0.0.0/8", "fd00::/8").objection(address, 80, address)
    assert why == (None if is_good else f"{address} is not in admin.allowed_backends")


@pytest.mark.parametrize(
    ("address", "port"),
    [
        ("127.0.0.1", 8080),
        ("127.9.9.9", 8080),
        ("::1", 8080),
        ("0.0.0.0", 8080),
        ("::ffff:127.0.0.1", 8080),
        ("::1", 8081),
        ("127.0.0.1", 8081),
        ("10.1.1.1", 8088),
        ("::ffff:10.1.1.1", 8088),
        ("127.0.0.1", 9000),
    ],
)
def test_our_own_addresses_are_refused_whatever_is_listed(address: str, port: int) -> None:
    why = rule("0.0.0.0/0", "::/0").objection("h", port, address)
    assert why == f"h, which is {ip_address(address)}, is this balancer itself"
    assert rule().objection("h", port + 1000, address) is None


def test_the_file_is_the_operators_own_word() -> None:
    backends = {"backends": [{"url": "http://169.254.169.254"}, {"url": "http://[fe80::1]:81"}]}
    judged = rule("10.0.0.0/8", default=backends)
    assert judged.objection("169.254.169.254", 80, "169.254.169.254") is None
    assert judged.objection("fe80::1", 81, "fe80::1") is None
    assert judged.objection("169.254.169.254", 81, "169.254.169.254") is not None


def test_what_an_address_may_mean() -> None:
    assert [str(each) for each in meanings(ip_address("2002:a00:1::5"))] == ["2002:a00:1::5", "10.0.0.1"]
