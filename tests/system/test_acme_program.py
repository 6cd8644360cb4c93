"""From nothing to https with the real program: pebble is the authority, and proves both challenges."""

import ssl
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography import x509

from tests.system.pebbles import Place, pebble
from tests.system.program import Program, program, until
from tests.system.servers import python_servers

pytestmark = pytest.mark.needs("pebble", "pebble-challtestsrv")

NAME = "www.lb.test"
"""No resolver knows it, so the rehearsal of the challenge ends at once; pebble asks its own DNS."""
CONFIG = """
listen = ["127.0.0.1:{http}", "https://127.0.0.1:{tls}"]

[[pools.default.backends]]
url = "http://127.0.0.1:{backend}"

[[routes]]
host = "{name}"
pool = "default"

[tls.acme]
names = "routes"
storage = "{folder}/acme"
terms_agreed = true
directory = "{directory}"
ca = "{folder}/ca.pem"
challenge = "{challenge}"
"""
GET = f"GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode()


def trusting_nobody() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def config(folder: Path, place: Place, backend: int, challenge: str = "http-01") -> str:
    path = folder / "lb.toml"
    values: dict[str, Any] = {"http": place.http_port, "tls": place.tls_port, "backend": backend}
    values |= {"folder": folder, "name": NAME, "directory": place.directory, "challenge": challenge}
    path.write_text(CONFIG.format(**values))
    return str(path)


async def shown(port: int) -> tuple[int, x509.Certificate]:
    """The status of a GET over TLS, and the certificate that came with it."""
    plain = await trio.open_tcp_stream("127.0.0.1", port)
    stream = trio.SSLStream(plain, trusting_nobody(), server_hostname=NAME)
    try:
        await stream.send_all(GET)
        data = b""
        while more := await stream.receive_some():
            data += more
        certificate = stream.getpeercert(binary_form=True)
    finally:
        await trio.aclose_forcefully(stream)
    assert certificate is not None
    return int(data.split()[1]), x509.load_der_x509_certificate(certificate)


async def is_served(port: int) -> bool:
    with suppress(OSError, trio.BrokenResourceError):
        status, certificate = await shown(port)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return status == 200 and names.get_values_for_type(x509.DNSName) == [NAME]
    return False


async def has_failed_to_renew(lb: Program) -> bool:
    return "renewal failed" in lb.said.decode()


@pytest.mark.parametrize("challenge", ["http-01", "tls-alpn-01"])
async def test_from_nothing_to_https_and_a_restart_serves_what_is_stored(
    tmp_path: Path, challenge: str
) -> None:
    async with python_servers(1, tmp_path) as [backend]:
        async with pebble(tmp_path) as place:
            file = config(tmp_path, place, backend, challenge)
            async with program("--config", file, listen=None) as lb:
                await until(lambda: is_served(place.tls_port), seconds=60)
                _, before = await shown(place.tls_port)
                plain = await trio.open_tcp_stream("127.0.0.1", place.http_port)
                await plain.send_all(GET)
                assert (await plain.receive_some()).startswith(b"HTTP/1.1 308 ")
                await plain.aclose()
                assert not await has_failed_to_renew(lb), lb.said.decode()
        async with program("--config", file, listen=None):  # without any authority
            status, after = await shown(place.tls_port)
    assert status == 200
    assert after == before


async def test_a_renewal_under_load_fails_no_request(tmp_path: Path) -> None:
    """Its certificates live for so short a time that they are renewed at once."""
    serials: Counter[int] = Counter()
    statuses: Counter[int] = Counter()

    async def ask(port: int) -> None:
        while len(serials) < 3:
            status, certificate = await shown(port)
            serials[certificate.serial_number] += 1
            statuses[status] += 1

    async with (
        python_servers(1, tmp_path) as [backend],
        pebble(tmp_path, certificateValidityPeriod=12) as place,
        program("--config", config(tmp_path, place, backend), listen=None) as lb,
    ):
        await until(lambda: is_served(place.tls_port), seconds=60)
        with trio.fail_after(120):
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(ask, place.tls_port)
        assert statuses.keys() == {200}, lb.said.decode()
        assert not await has_failed_to_renew(lb), lb.said.decode()


async def test_who_comes_too_early_hears_why(tmp_path: Path) -> None:
    async with python_servers(1, tmp_path) as [backend]:
        async with pebble(tmp_path) as place:
            file = config(tmp_path, place, backend)
        async with program("--config", file, listen=None) as lb:  # the authority is away
            await until(lambda: has_failed_to_renew(lb), seconds=60)
            with pytest.raises(trio.BrokenResourceError) as refused:
                await shown(place.tls_port)
            assert "UNRECOGNIZED_NAME" in str(refused.value.__cause__)
            metrics = await lb.api("GET", "/metrics")
    assert 'lb_acme_orders_total{result="failure"} 1.0' in metrics
    assert f'lb_acme_failures_in_a_row{{name="{NAME}"}} 1.0' in metrics
