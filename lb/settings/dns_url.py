"""What a source of backends asks name servers for, as `lb.toml` writes it: `http://name:port` or `srv://name`."""

import re
from ipaddress import ip_address

import msgspec

from lb.settings.backend_spec import PORTS, ZONE, parse_url

SERVICES = {"srv": "http", "srvs": "https"}
"""Schemes of SRV records, and what is spoken with the backends that they name."""
LABEL = re.compile(r"[A-Za-z0-9_-]{1,63}")
LONGEST_NAME = 253
DNS_PORT = 53
EXPECTED = "http://name:port, https://name:port, srv://name or srvs://name"
SERVER = re.compile(
    r"\[(?P<bracketed>[^\[\]]+)\](:(?P<port>\d{1,5}))?|(?P<plain>[^:]+)(:(?P<plain_port>\d{1,5}))?"
)


class DnsUrl(msgspec.Struct, frozen=True, kw_only=True):
    """A name, which is absolute, and what its records mean.

    The addresses of the name are backends at `port`. Where it `is_service` its SRV records name them, and
    their ports unless `port` is set. `scheme` is http or https.
    """

    name: str
    scheme: str
    port: int | None
    is_service: bool


def parse_dns_url(text: str) -> DnsUrl:
    """What is to be asked for; ValueError otherwise."""
    scheme, is_url, rest = text.partition("://")
    is_service = scheme in SERVICES
    spoken = SERVICES.get(scheme, scheme)
    if not is_url or spoken not in PORTS:
        raise ValueError(f"{text!r}: expected {EXPECTED}")
    try:
        host, port = parse_url(f"{spoken}://{rest}")
    except ValueError:
        raise ValueError(f"{text!r}: expected {EXPECTED} and nothing more") from None
    if is_service and ":" not in rest:
        return DnsUrl(name=_name(host), scheme=spoken, port=None, is_service=True)
    return DnsUrl(name=_name(host), scheme=spoken, port=port, is_service=is_service)


def _name(host: str) -> str:
    name = host.removesuffix(".")
    try:
        ip_address(name)
    except ValueError:
        pass
    else:
        raise ValueError(f"{host!r} is an address: expected a name, which name servers can be asked for")
    if len(name) > LONGEST_NAME or not all(LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError(
            f"{host!r} is no name of DNS: {LONGEST_NAME} characters at most, and 1 to 63 between dots"
        )
    return name.lower()


def parse_name_server(text: str) -> tuple[str, int]:
    """Address and port in `10.0.0.2`, `10.0.0.2:8600`, `::1` or `[::1]:8600`; ValueError otherwise."""
    expected = ValueError(
        f"{text!r}: expected the address of a name server, such as 10.0.0.2 or [fd00::2]:53"
    )
    match = None if text.count(":") > 1 and text[0] != "[" else SERVER.fullmatch(text)
    host, port = text, DNS_PORT
    if match is not None:
        host = match["bracketed"] or match["plain"]
        port = int(match["port"] or match["plain_port"] or DNS_PORT)
    plain, percent, zone = host.partition("%")
    try:
        is_six = ip_address(plain).version == 6
    except ValueError:
        raise expected from None
    has_brackets = match is not None and match["bracketed"] is not None
    if (
        not 0 < port < 65536
        or (has_brackets and not is_six)
        or (percent and not (is_six and ZONE.fullmatch(zone)))
    ):
        raise expected
    return host, port
