"""Certificates from pebble, and what is in their way: the renewer alone, with a data plane of the tests."""

import ssl
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import time
from typing import Any

import pytest
import trio
from cryptography import x509

from lb.acme.answers import ALPN_PROTOCOL, CHALLENGE_PATH, Answers
from lb.acme.issuing import Surroundings
from lb.acme.renewer import Renewer
from lb.acme.storage import Account, Pair, Storage
from lb.core.renewal_view import Kind, RenewalEvent
from lb.settings.acme_settings import AcmeSettings, ExternalAccount
from tests.system import pebbles
from tests.system.program import until

pytestmark = pytest.mark.needs("pebble", "pebble-challtestsrv")

NAMES = ("www.example.com", "shop.example.com")
EAB_KEY = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"


@dataclass
class Pebble:
    """A running pebble: where it is, and the ports at which it looks for proofs."""

    folder: Path
    directory: str
    http_port: int
    tls_port: int
    installed: dict[str, Pair] = field(default_factory=dict)
    told: list[RenewalEvent] = field(default_factory=list)

    def renewer(self, names: Collection[str], **settings: Any) -> Renewer:
        values: dict[str, Any] = {
            "names": tuple(names),
            "storage": str(self.folder / "acme"),
            "directory": (self.directory,),
            "terms_agreed": True,
            "ca": str(self.folder / "ca.pem"),
        }
        return Renewer(
            AcmeSettings(**(values | settings)).checked(),
            lambda: names,
            self._install,
            self.told.append,
            Surroundings(time),
            rehearse=self._not_rehearsed,  # its port is 80, and the names are those of real hosts
        )

    def _install(self, name: str, pair: Pair) -> None:
        self.installed[name] = pair

    async def _not_rehearsed(self, name: str, token: str, body: bytes, seconds: float) -> None:
        await trio.lowlevel.checkpoint()

    async def has(self, names: Collection[str]) -> bool:
        assert [event.text for event in self.told if event.kind is Kind.FAILED] == []
        return self.installed.keys() >= set(names)


@asynccontextmanager
async def pebble(folder: Path, **settings: Any) -> AsyncIterator[Pebble]:
    async with pebbles.pebble(folder, **settings) as place:
        yield Pebble(folder, *place)


@asynccontextmanager
async def proving(there: Pebble) -> AsyncIterator[None]:
    """What the data plane does: plain listeners answer challenges, and TLS those who offer acme-tls/1."""
    answers = Answers(there.folder / "acme")

    async def plain(stream: trio.SocketStream) -> None:
        head = await received_head(stream)
        line, host = (
            head.split("\r\n")[0],
            next(each for each in head.split("\r\n") if each.startswith("Host:")),
        )
        token = line.split()[1].removeprefix(CHALLENGE_PATH)
        body = answers.http_answer(host.removeprefix("Host:").strip(), token)
        status = "404 Not Found" if body is None else "200 OK"
        await stream.send_all(f"HTTP/1.0 {status}\r\n\r\n".encode() + (body or b""))
        await stream.aclose()

    async def secure(stream: trio.SocketStream) -> None:
        base = context_for(None)
        base.sni_callback = lambda connection, name, old: setattr(
            connection, "context", context_for(answers.alpn_certificate(name))
        )
        try:
            await trio.SSLStream(stream, base, server_side=True).do_handshake()
        finally:
            await trio.aclose_forcefully(stream)

    def context_for(pair: tuple[bytes, bytes] | None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols([ALPN_PROTOCOL])
        if pair is not None:
            path = there.folder / "alpn.pem"
            path.write_bytes(pair[0] + pair[1])
            context.load_cert_chain(path)
        return context

    async with trio.open_nursery() as nursery:
        for handler, port in ((plain, there.http_port), (secure, there.tls_port)):
            serve = partial(trio.serve_tcp, handler, port, host="127.0.0.1")
            await nursery.start(serve)
        yield
        nursery.cancel_scope.cancel()


async def received_head(stream: trio.SocketStream) -> str:
    data = b""
    while b"\r\n\r\n" not in data:
        more = await stream.receive_some()
        assert more, "the authority hung up"
        data += more
    return data.decode()


@asynccontextmanager
async def running(renewer: Renewer) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(renewer.run)
        yield
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("challenge", ["http-01", "tls-alpn-01"])
async def test_two_names_have_certificates_and_renew(tmp_path: Path, challenge: Any) -> None:
    async with pebble(tmp_path) as there, proving(there):
        renewer = there.renewer(NAMES, challenge=challenge, contact=("ops@example.com",))
        async with running(renewer):
            await until(lambda: there.has(NAMES), seconds=60)
            before = dict(there.installed)
            renewer.renew(NAMES[0])

            async def is_renewed() -> bool:
                return await there.has(NAMES) and there.installed[NAMES[0]] != before[NAMES[0]]

            await until(is_renewed, seconds=60)
    for name, (chain, _) in there.installed.items():
        leaf, *more = x509.load_pem_x509_certificates(chain)
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [name]
        assert more, "the chain has no intermediate certificate"


async def test_an_account_bound_to_another(tmp_path: Path) -> None:
    key = tmp_path / "eab"
    key.write_text(EAB_KEY)
    key.chmod(0o600)
    bound = {"externalAccountBindingRequired": True, "externalAccountMACKeys": {"kid-1": EAB_KEY}}
    async with pebble(tmp_path, **bound) as there, proving(there):
        eab = (ExternalAccount(key_id="kid-1", key_file=str(key)),)
        async with running(there.renewer(NAMES[:1], eab=eab)):
            await until(lambda: there.has(NAMES[:1]), seconds=60)


async def test_a_name_that_does_not_lead_here_fails_with_a_sentence(tmp_path: Path) -> None:
    async with pebble(tmp_path) as there:  # nothing answers at its ports
        async with running(there.renewer(NAMES[:1])):

            async def has_failed() -> bool:
                return any(event.kind is Kind.FAILED for event in there.told)

            await until(has_failed, seconds=60)
        assert there.installed == {}
        [failure] = [event for event in there.told if event.kind is Kind.FAILED]
        assert NAMES[0] in failure.text
        assert "port 80 must be open (localhost says: " in failure.text
        assert failure.next_attempt is not None
        assert Storage(tmp_path / "acme").failures(NAMES[0]).in_a_row == 1


async def test_pebble_starts_anew_and_has_forgotten_our_account(tmp_path: Path) -> None:
    async with pebble(tmp_path) as there, proving(there), running(there.renewer(NAMES[:1])):
        await until(lambda: there.has(NAMES[:1]), seconds=60)
    async with pebble(tmp_path) as again, proving(again):
        storage = Storage(tmp_path / "acme")
        account = storage.account(there.directory)
        assert account is not None
        url = account.url.replace(there.directory.removesuffix("/dir"), again.directory.removesuffix("/dir"))
        storage.keep_account(Account(directory=again.directory, key=account.key, url=url))
        async with running(again.renewer(NAMES)):
            await until(lambda: again.has(NAMES), seconds=60)
