"""Files that change by themselves: what can be used comes into use, and what cannot stays as it was."""

import errno
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

from lb.certificate_files import watch
from lb.certificate_files.backend_contexts import BackendContexts
from lb.certificate_files.termination import FRESH_SECONDS, LOOK_SECONDS, CertificateEvent, Termination
from lb.config.loader import build
from lb.errors import ConfigError
from lb.settings.pool_settings import BackendTls
from lb.tls.pem_files import PemFile
from tests.kit.certificates import Issued, authority, certificate, rsa_key
from tests.kit.time import virtual_time

pytestmark = virtual_time
ROOT = authority()
ACME = {"names": "routes", "storage": "/nowhere", "terms_agreed": True}


async def at_once(function: Callable[..., object], *arguments: object) -> object:
    """In place of a thread, while which virtual time would pass."""
    await trio.lowlevel.checkpoint()
    return function(*arguments)


@pytest.fixture(autouse=True)
def without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trio.to_thread, "run_sync", at_once)


class Stage:
    """The certificates of a.test and b.test in files, and what is told of them."""

    def __init__(self, folder: Path, **tls: Any) -> None:
        self.folder = folder
        for name in "ab":
            self.write(name, f"{name}.test")
        table = {"certificates": self.pairs(), "acme": ACME, **tls}
        table = {key: value for key, value in table.items() if value is not None}
        self.here = Termination(build({"listen": ["https://127.0.0.1:0"], "tls": table}))
        self.told: list[CertificateEvent] = []
        self.here.subscribe(self.told.append)

    def pairs(self) -> list[dict[str, str]]:
        return [{"chain": f"{self.folder}/{name}.pem", "key": f"{self.folder}/{name}.key"} for name in "ab"]

    def write(self, file: str, *names: str) -> None:
        certificate(*names, by=ROOT).write(self.folder, file)

    def spoil(self, file: str) -> None:
        (self.folder / f"{file}.pem").write_text("half of it")

    def order(self, issued: Issued) -> None:
        self.here.ordered.put("/nowhere/c.pem", f"{issued.key_pem}{issued.chain}".encode())
        self.here.swap_soon()

    @property
    def names(self) -> list[str]:
        return [name for each in self.here.certificates.all for name in each.names]

    @property
    def kinds(self) -> list[str]:
        return [each.kind for each in self.told]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.here.run)
            yield
            nursery.cancel_scope.cancel()


async def looked(times: int = 1) -> None:
    await trio.sleep(times * LOOK_SECONDS + 0.5)


async def test_what_was_ordered_comes_into_use_while_a_file_is_broken(tmp_path: Path) -> None:
    it = Stage(tmp_path)
    async with it.running():
        it.spoil("a")
        await looked()
        it.order(certificate("c.test", by=ROOT))
        await looked()
        assert it.names == ["a.test", "b.test", "c.test"]
        assert it.kinds == ["refused", "swapped"]
        assert "tls.certificates[0].chain" in it.here.trouble
        it.write("a", "a.test", "new.test")
        await looked()
    assert it.names == ["a.test", "new.test", "b.test", "c.test"]
    assert (it.here.trouble, it.here.results) == ("", {"success": 2, "failure": 1})


async def test_of_two_files_that_change_the_good_one_is_swapped(tmp_path: Path) -> None:
    it = Stage(tmp_path)
    async with it.running():
        it.spoil("a")
        it.write("b", "b.test", "new.test")
        await looked(times=3)
    assert it.names == ["a.test", "b.test", "new.test"]
    assert it.kinds == ["swapped", "refused"]
    assert str(tmp_path / "a.pem") in it.here.trouble
    assert str(tmp_path / "b.pem") not in it.here.trouble


async def test_who_asks_for_all_gets_all_or_nothing(tmp_path: Path) -> None:
    it = Stage(tmp_path)
    it.spoil("a")
    it.write("b", "b.test", "new.test")
    for ask in (it.here.rehearse, it.here.reload):
        with pytest.raises(ConfigError, match=r"tls\.certificates\[0\]\.chain"):
            await ask()
    assert it.names == ["a.test", "b.test"]


async def test_a_file_that_we_may_read_again_is_used_though_it_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = Stage(tmp_path)
    async with it.running():
        with monkeypatch.context() as patched:
            patched.setattr(watch, "read_pem", forbidden)
            it.write("a", "a.test", "new.test")
            await looked()
            assert (it.names, it.kinds) == (["a.test", "b.test"], ["refused"])
        await looked()
    assert it.names == ["a.test", "new.test", "b.test"]


def forbidden(path: str) -> PemFile:
    raise ConfigError(f"{path} cannot be read: Permission denied")


async def test_a_key_that_comes_after_its_certificate_is_taken_with_it(tmp_path: Path) -> None:
    it = Stage(tmp_path)
    async with it.running():
        old = (tmp_path / "a.key").read_bytes()
        it.write("a", "a.test", "new.test")
        new = (tmp_path / "a.key").read_bytes()
        (tmp_path / "a.key").write_bytes(old)
        await looked(times=3)
        assert it.kinds == ["refused"]
        (tmp_path / "a.key").write_bytes(new)
        await looked()
    assert it.kinds == ["refused", "swapped"]


async def test_what_we_lacked_descriptors_for_is_done_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = Stage(tmp_path)
    async with it.running():
        with monkeypatch.context() as patched:
            patched.setattr(os, "memfd_create", no_descriptors)
            it.write("a", "a.test", "new.test")
            await looked(times=3)
            assert (it.names, it.kinds) == (["a.test", "b.test"], ["refused"])
        await looked()
    assert it.names == ["a.test", "new.test", "b.test"]


def no_descriptors(*_what: object) -> int:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


async def test_what_openssl_does_not_take_is_refused_alone(tmp_path: Path) -> None:
    it = Stage(tmp_path)
    async with it.running():
        certificate("a.test", by=ROOT, key=rsa_key(1024)).write(tmp_path, "a")
        it.write("b", "b.test", "new.test")
        await looked()
    assert it.names == ["a.test", "b.test", "new.test"]
    assert "a.pem: OpenSSL does not take it" in it.here.trouble


async def test_the_default_stays_where_its_certificate_loses_the_name(tmp_path: Path) -> None:
    it = Stage(tmp_path, default="a.test", acme=None)
    async with it.running():
        it.write("a", "new.test")
        it.write("b", "b.test", "other.test")
        await looked()
        assert it.names == ["a.test", "b.test", "other.test"]
        assert "a.pem has no longer tls.default, a.test" in it.here.trouble
        it.write("b", "b.test", "a.test")
        await looked()
    assert it.names == ["new.test", "b.test", "a.test"]


async def test_authorities_of_clients_stay_while_their_file_is_broken(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text(ROOT.pem)
    it = Stage(tmp_path, clients=[{"ca": str(ca)}])
    async with it.running():
        ca.write_text("nothing")
        it.write("b", "b.test", "new.test")
        await looked()
        assert it.names == ["a.test", "b.test", "new.test"]
        served = it.here.certificates.find("new.test")
        assert served is not None
        assert served.policy is not None
        assert served.policy.authorities == ROOT.pem
        assert "tls.clients[0].ca" in it.here.trouble
        ca.write_text(authority("Other").pem)
        await looked()
    assert it.here.trouble == ""


async def test_tickets_get_new_keys_while_a_file_is_broken(tmp_path: Path) -> None:
    it = Stage(tmp_path)
    before = it.here.certificates.find("a.test")
    async with it.running():
        it.spoil("a")
        await trio.sleep(FRESH_SECONDS + LOOK_SECONDS)
        after = it.here.certificates.find("a.test")
    assert before is not None
    assert after is not None
    assert before.context is not after.context


async def test_an_old_plan_of_a_configuration_is_followed_by_a_look_at_all_files(tmp_path: Path) -> None:
    it = Stage(tmp_path)
    config = build({"listen": ["https://127.0.0.1:0"], "tls": {"certificates": [{"chain": "/nowhere"}]}})
    with pytest.raises(ConfigError, match="/nowhere"):
        it.here.check(config)
    wanted = build({"listen": ["https://127.0.0.1:0"], "tls": {"certificates": it.pairs()[:1]}})
    it.here.check(wanted)
    it.here.prepare(wanted)
    await it.here.reload()
    assert [*it.here.adopting(wanted)] == []
    assert it.names == ["a.test", "b.test"]
    async with it.running():
        await looked()
    assert it.names == ["a.test"]


# -- for backends ------------------------------------------------------------------------------------------


async def test_authorities_of_backends_are_read_again_until_they_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca, contexts = tmp_path / "ca.pem", BackendContexts()
    ca.write_text(ROOT.pem)
    settings = BackendTls(ca=str(ca))
    before = await contexts.get(settings)
    with capture_logs() as logged:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(contexts.run)
            with monkeypatch.context() as patched:
                patched.setattr(watch, "read_pem", forbidden)
                ca.write_text(authority("Other").pem)
                await looked(times=3)
                assert await contexts.get(settings) is before
            await looked()
            assert await contexts.get(settings) is not before
            nursery.cancel_scope.cancel()
    assert [line["event"] for line in logged] == ["certificates not swapped", "certificates swapped"]


async def test_a_lack_of_descriptors_does_not_end_the_watch_for_backends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain, key = certificate("us", by=ROOT).write(tmp_path)
    settings, contexts = BackendTls(chain=chain, key=key), BackendContexts()
    before = await contexts.get(settings)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(contexts.run)
        with monkeypatch.context() as patched:
            patched.setattr(os, "memfd_create", no_descriptors)
            certificate("us", by=ROOT).write(tmp_path)
            await looked()
            assert await contexts.get(settings) is before
        await looked()
        assert await contexts.get(settings) is not before
        nursery.cancel_scope.cancel()
