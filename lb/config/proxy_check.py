"""What `lb config check` says of the PROXY protocol: who may send headers, and where they are read."""

from collections.abc import Iterator
from ipaddress import ip_network

from lb.core.client_address import UNIX
from lb.settings.balancer_settings import Config
from lb.settings.listen_address import TcpAddress, UnixAddress, parse_address


def proxy_notes(config: Config) -> Iterator[str]:
    """A note for what works, but hardly as it was meant."""
    senders = config.proxy_protocol_from
    networks = [each for each in senders if each != UNIX]
    listeners = [(index, text, parse_address(text)) for index, text in enumerate(config.listen)]
    taking = [each for each in listeners if each[2].takes_proxy_header]
    if senders and not taking:
        yield "proxy_protocol_from: no listener begins with proxy+, so no header is read"
    for each in networks if taking else ():
        if ip_network(each).prefixlen == 0:
            yield f"proxy_protocol_from: {each} is everybody, and whoever sends a header can take any address"
    for index, text, address in taking:
        if isinstance(address, TcpAddress) and not networks:
            yield f"listen[{index}]: {text}: no network is in proxy_protocol_from, so all peers are refused"
        if isinstance(address, UnixAddress) and UNIX not in senders:
            yield f'listen[{index}]: {text}: "unix" is not in proxy_protocol_from, so all peers are refused'
