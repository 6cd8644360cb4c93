"""The name servers that a machine has configured."""

from pathlib import Path

import pytest

from lb.discovery.backend_source import SourceFailed
from lb.discovery.dns_message import Kind, name_of
from lb.discovery.dns_servers import NameServers, system_servers

WEB = name_of("web.example")


async def trouble(servers: NameServers) -> str:
    with pytest.raises(SourceFailed) as caught:
        await servers.ask(WEB, Kind.A)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("nameserver 10.0.0.2\n", ["10.0.0.2"]),
        (
            "# nameserver 10.0.0.1\nsearch example\nnameserver\t10.0.0.2 \nnameserver fe80::1%eth0\n",
            ["10.0.0.2", "fe80::1%eth0"],
        ),
        (
            "nameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3\nnameserver 1.1.1.4\n",
            ["1.1.1.1", "1.1.1.2", "1.1.1.3"],
        ),
        ("nameserver 10.0.0.2\nnameserver 10.0.0.2\n", ["10.0.0.2"]),
        ("nameserver\n", ["127.0.0.1"]),
        ("", ["127.0.0.1"]),
    ],
)
def test_the_servers_of_the_system(text: str, servers: list[str]) -> None:
    assert system_servers(text) == servers


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nameserver dns.example\n", "web.example (A): dns.example cannot be asked: it is no address"),
        ("nameserver fe80::1%nope0\n", "cannot be asked: this machine has no network interface 'nope0'"),
    ],
)
async def test_servers_of_the_system_that_cannot_be_asked(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "resolv.conf").write_text(text)
    assert why in await trouble(NameServers(system=tmp_path / "resolv.conf"))


async def test_the_file_of_the_system_is_read_anew(tmp_path: Path) -> None:
    system = tmp_path / "resolv.conf"
    servers = NameServers(system=system)
    system.write_text("nameserver one\n")
    assert "one cannot be asked" in await trouble(servers)
    system.write_text("nameserver two\n")
    assert "two cannot be asked" in await trouble(servers)
    system.unlink()
    system.mkdir()
    assert f"{system} cannot be read: Is a directory" in await trouble(servers)
