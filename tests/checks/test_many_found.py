"""Ten thousand backends that a file or etcd names: no set holds the event loop, while requests come beside.

Measured as in `tests.checks.test_many_backends`.
"""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

import lb
from admin.event_publisher import EventPublisher
from lb.config.config_source import ConfigSource
from lb.core.announced import Announced
from lb.discovery.etcd_source import EtcdSource
from lb.etcd.etcd_client import Etcd
from lb.etcd.etcd_messages import MOST_OPERATIONS, Operation, Put, Transaction
from lb.etcd.login import Login
from lb.http_client.server_url import server_of
from tests.checks.test_many_backends import (
    ALL,
    HALF,
    HELD_SECONDS,
    OTHERS,
    TRIES,
    Act,
    House,
    Members,
    collector_off,
    longest,
)
from tests.checks.test_many_backends_changes import HEAVY, beside_requests
from tests.kit.etcd_servers import etcd_servers, needs_etcd
from tests.kit.held import holding

PROBE = "probe = { interval = 3600, timeout = 1 }"
"""All are probed once in an hour, from a moment on that is left to chance."""


class Found(House):
    """A balancer whose backends are those of a file."""

    list_of_them: Path

    def names(self, members: Members) -> None:
        """The file names these now, as a whole."""
        beside = self.list_of_them.with_suffix(".new")
        beside.write_text(json.dumps(members))
        beside.replace(self.list_of_them)


@asynccontextmanager
async def found(folder: Path, settings: str) -> AsyncIterator[Found]:
    file, members = folder / "lb.toml", folder / "web.json"
    members.write_text("[]")
    file.write_text(
        f'listen = ["127.0.0.1:0"]\nstate = "{folder / "state.json"}"\n[admin]\nlisten = "127.0.0.1:0"\n'
        f'[pools.default]\n{settings}\n[[pools.default.discover]]\nfiles = "{members}"\n'
        "every = 0.1\nsettle = 0.1\ngrace = 0.1\nkeep = 0\n"
    )
    source = ConfigSource(file, {})
    with collector_off():
        async with lb.open_balancer(source.read(), source) as balancer, trio.open_nursery() as nursery:
            nursery.start_soon(EventPublisher(balancer.control).run)
            made = Found(balancer, file, "")
            made.list_of_them = members
            yield made
            nursery.cancel_scope.cancel()


def names(house: Found, members: Members) -> Act:
    """The file names these, until that is followed and as many are there; and a second more."""

    async def name_and_wait() -> None:
        [standing] = house.balancer.control.discovery.standings()
        before = sum(standing.applications.counts)
        await trio.to_thread.run_sync(house.names, members)
        with trio.fail_after(120):
            # Polled, since what would set an event for each backend would be measured too.
            while sum(standing.applications.counts) == before or not is_so():  # noqa: ASYNC110
                await trio.sleep(0.1)
        await trio.sleep(1)

    def is_so() -> bool:
        return len(house.registry.backends) == len(members)

    return name_and_wait


SETS: dict[str, Callable[[Found], Sequence[Act]]] = {
    "all come, and half leave": lambda house: [names(house, ALL), names(house, HALF)],
    "others come in their place": lambda house: [names(house, ALL), names(house, OTHERS)],
    "all weights": lambda house: [names(house, ALL), names(house, HEAVY)],
    "half is not ready, and is again": lambda house: [
        names(house, ALL),
        names(house, [*HALF, *({**each, "notice": "not_ready"} for each in ALL[1::2])]),
        names(house, ALL),
    ],
}


@pytest.mark.alone
@pytest.mark.parametrize("sets", SETS)
async def test_no_set_holds_the_loop(tmp_path: Path, sets: str) -> None:
    await holds_not(tmp_path, sets, "")


@pytest.mark.alone
async def test_no_set_of_probed_backends_holds_the_loop(tmp_path: Path) -> None:
    await holds_not(tmp_path, "all come, and half leave", PROBE)


async def holds_not(folder: Path, sets: str, settings: str) -> None:
    with capture_logs():
        async with found(folder, settings) as made:
            held, task = await longest(*(beside_requests(made, act) for act in SETS[sets](made)))
    assert held < HELD_SECONDS, task


@needs_etcd
@pytest.mark.alone
async def test_a_list_of_etcd_does_not_hold_the_loop(tmp_path: Path) -> None:
    """Listed for the first time, and again with all of them changed."""
    async with etcd_servers(tmp_path) as servers:
        etcd = Etcd([server_of(url)[0] for url in servers.urls], login=Login(), chance=lambda: 0.5)
        source = EtcdSource(servers.urls[0] + "/services/web/")
        heard = list[Announced]()

        async def lists() -> None:
            async with trio.open_nursery() as nursery:
                news = trio.Event()

                def tell(announced: Announced) -> None:
                    heard.append(announced)
                    news.set()

                nursery.start_soon(source.run, tell)
                await news.wait()
                nursery.cancel_scope.cancel()

        with collector_off():
            held = list[float]()
            for number in range(TRIES):
                await put_all(etcd, number)
                with holding("lb.") as holds:
                    await lists()
                held.append(holds.longest)
        etcd.close()
    assert len(heard[-1].backends) == len(ALL)
    assert min(held[1:]) < HELD_SECONDS, held


async def put_all(etcd: Etcd, number: int) -> None:
    puts = [
        Operation(
            request_put=Put(
                key=f"/services/web/{each['id']}".encode(), value=f"{each['url']}{number}".encode()
            )
        )
        for each in ALL
    ]
    for at in range(0, len(puts), MOST_OPERATIONS):
        await etcd.transact(Transaction(success=tuple(puts[at : at + MOST_OPERATIONS])))
