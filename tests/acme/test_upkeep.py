"""Which names a balancer wants, what is served of them, and who hears of it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio

from lb.acme.storage import Origin, Pair, Storage
from lb.acme.upkeep import Upkeep
from lb.certificate_files.termination import Termination
from lb.config.loader import build
from lb.core.renewal import Failures
from lb.core.renewal_view import Kind, RenewalEvent
from lb.settings.balancer_settings import Config
from tests.kit.certificates import Issued, authority, certificate, rsa_key

ROOT = authority()
WWW, SHOP = "www.example.com", "shop.example.com"
HOSTS = (WWW, SHOP, "*.example.org", "localhost", "10.0.0.1", WWW)


def pair(issued: Issued) -> Pair:
    return Pair(issued.chain.encode(), issued.key_pem.encode())


class World:
    """A balancer's certificates. `config` may be replaced, as a reload does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.storage = Storage(folder / "acme")
        self.storage.prepare()

    def configured(self, *files: tuple[str, str], hosts: Any = HOSTS, **acme: Any) -> Config:
        table: dict[str, Any] = {"names": "routes", "storage": str(self.storage.folder)}
        table |= {"terms_agreed": True, "directory": "https://127.0.0.1:1/directory"} | acme
        routes = [{"host": host, "path": f"/{at}", "pool": "default"} for at, host in enumerate(hosts)]
        tls: dict[str, Any] = {"certificates": [{"chain": chain, "key": key} for chain, key in files]}
        if acme.get("names", "routes"):
            tls["acme"] = table
        return build({"listen": ["https://127.0.0.1:0"], "routes": routes, "tls": tls})

    def start(self, config: Config) -> Upkeep:
        self.config = config
        self.termination = Termination(config)
        upkeep = Upkeep(lambda: self.config, self.termination)
        upkeep.take_stored()
        return upkeep

    def keep(self, name: str, issued: Issued) -> None:
        self.storage.keep_certificate(name, pair(issued), Origin(directory="https://127.0.0.1:1/directory"))

    def serves(self, name: str) -> bool:
        return self.termination.certificates.find(name) is not None


@pytest.fixture
async def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(10):
        while not holds():  # noqa: ASYNC110  # it works in threads
            await trio.sleep(0.01)


async def test_what_the_folder_has_is_served_from_the_start_on(world: World) -> None:
    world.keep(WWW, certificate(WWW, by=ROOT))
    (world.folder / "acme" / "certificates" / f"{SHOP}.pem").write_text("no certificate")
    upkeep = world.start(world.configured())
    assert world.serves(WWW)
    assert not world.serves(SHOP)
    assert upkeep.standings() == ()
    with pytest.raises(LookupError):
        upkeep.renew(WWW)


async def test_a_name_that_waits_after_a_failure_is_told_at_the_start(world: World) -> None:
    soon, before = time.time() + 100, time.time() - 100
    world.storage.keep_failures(
        WWW, Failures(times=(1.0,), in_a_row=1, again_at=soon, why="port 80 is closed")
    )
    world.storage.keep_failures(SHOP, Failures(times=(1.0,), in_a_row=1, again_at=before, why="it was"))
    with structlog.testing.capture_logs() as logged:
        world.start(world.configured())
    [told] = [line for line in logged if line["event"] == "renewal waits"]
    assert (told["name"], told["detail"]) == (WWW, "port 80 is closed")
    assert told["next_attempt"].startswith("20")


async def test_the_hosts_of_routes_are_wanted_but_those_that_have_a_certificate(world: World) -> None:
    own = certificate("shop.example.com", "*.other.example", by=ROOT).write(world.folder)
    upkeep = world.start(world.configured(own, hosts=(*HOSTS, "a.other.example", "a.b.other.example")))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(upkeep.run)
        await until(lambda: bool(upkeep.standings()))
        assert [each.name for each in upkeep.standings()] == [WWW, "a.b.other.example"]
        nursery.cancel_scope.cancel()


async def test_names_that_are_listed_are_wanted_in_any_case(world: World) -> None:
    own = certificate(WWW, by=ROOT).write(world.folder)
    upkeep = world.start(world.configured(own, names=[WWW]))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(upkeep.run)
        await until(lambda: bool(upkeep.standings()))
        assert [each.name for each in upkeep.standings()] == [WWW]
        nursery.cancel_scope.cancel()


async def test_a_failure_is_told_counted_and_logged(world: World) -> None:
    told: list[RenewalEvent] = []
    upkeep = world.start(world.configured(names=[WWW], challenge="tls-alpn-01"))
    upkeep.subscribe(told.append)
    with structlog.testing.capture_logs() as logged:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(upkeep.run)
            await until(lambda: bool(told))
            [standing] = upkeep.standings()
            nursery.cancel_scope.cancel()
    [event] = told
    assert (event.kind, event.name) == (Kind.FAILED, WWW)
    assert (upkeep.results["success"], upkeep.results["failure"]) == (0, 1)
    assert (standing.failures_in_a_row, standing.why) == (1, event.text)
    [line] = [line for line in logged if line["event"] == "renewal failed"]
    assert (line["name"], line["detail"], line["log_level"]) == (WWW, event.text, "error")
    assert line["next_attempt"].endswith("Z")


async def test_a_reload_brings_names_and_takes_others(world: World) -> None:
    world.keep(WWW, certificate(WWW, by=ROOT))
    world.keep(SHOP, certificate(SHOP, by=ROOT))
    upkeep = world.start(world.configured(hosts=[WWW]))
    assert [world.serves(name) for name in (WWW, SHOP)] == [True, False]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.termination.run)
        nursery.start_soon(upkeep.run)
        await until(lambda: len(upkeep.standings()) == 1)

        def reload(config: Config) -> None:
            world.config = config
            upkeep.configured()

        reload(world.configured(hosts=[WWW, SHOP]))
        await until(lambda: world.serves(SHOP))
        assert len(upkeep.standings()) == 2
        reload(world.configured(hosts=[SHOP]))
        await until(lambda: not world.serves(WWW))
        assert world.serves(SHOP)
        own = certificate(WWW, by=ROOT).write(world.folder)
        reload(world.configured(own, hosts=[SHOP], names=()))
        await until(lambda: not world.serves(SHOP) and not upkeep.standings())
        reload(world.configured(hosts=[WWW], challenge="tls-alpn-01"))
        await until(lambda: world.serves(WWW))
        nursery.cancel_scope.cancel()


async def test_one_that_openssl_does_not_take_is_in_nobodys_way(world: World) -> None:
    world.keep(WWW, certificate(WWW, by=ROOT, key=rsa_key(1024)))
    world.keep(SHOP, certificate(SHOP, by=ROOT))
    upkeep = world.start(world.configured(names=[WWW, SHOP]))
    with structlog.testing.capture_logs() as logged:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(upkeep.run)
            await until(lambda: len(upkeep.standings()) == 2)
            nursery.cancel_scope.cancel()
    assert world.serves(SHOP)
    assert not world.serves(WWW)
    [line] = [line for line in logged if line["event"] == "ordered certificate not served"]
    assert "OpenSSL does not take it" in line["why"]
