"""Whatever is done to the operator's side, traffic does not notice: no request fails, few wait."""

from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
import trio

from tests.system import attacks
from tests.system.program import Program, backend_flags, program, until
from tests.system.servers import nginx_servers

pytestmark = [pytest.mark.needs("nginx"), pytest.mark.alone]

CLIENTS = 4
PAUSE = 0.002
REQUESTS_PER_CONNECTION = 1000
REQUEST = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
P99_SECONDS = 0.25
"""Alone it is a millisecond; here the attackers and the backend have the same two cores."""
TROUBLE = b"Traceback", b"crashed", b"Exception"


class Traffic:
    """Kept-alive clients that ask at a steady pace; each answer is looked at, and how long it took."""

    def __init__(self, lb: Program) -> None:
        self._lb = lb
        self.took: list[float] = []
        self.failures: list[str] = []

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(CLIENTS):
                nursery.start_soon(self._client)

    async def _client(self) -> None:
        while True:
            async with await self._lb.connect() as stream:
                for _ in range(REQUESTS_PER_CONNECTION):
                    began = perf_counter()
                    await stream.send_all(REQUEST)
                    answer = await stream.receive_some()
                    self.took.append(perf_counter() - began)
                    if not is_right(answer):
                        self.failures.append(repr(answer[:200]))
                        break
                    await trio.sleep(PAUSE)

    async def goes_on(self) -> None:
        """Wait for some more answers."""
        wanted = len(self.took) + 50

        async def reached() -> bool:
            return len(self.took) >= wanted

        await until(reached)

    @property
    def p99(self) -> float:
        return sorted(self.took)[len(self.took) * 99 // 100]


def is_right(answer: bytes) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.startswith(b"HTTP/1.1 200 ") and body.startswith(b"hello from ") and body.endswith(b"\n")


async def asked(lb: Program, path: str) -> Any:
    return await lb.api("GET", path, headers={"Authorization": f"Bearer {attacks.TOKEN}"})


async def what_is_set(lb: Program) -> Any:
    """All that an attack might have changed."""
    backends = (await asked(lb, "/backends"))["items"]
    states = [(each["id"], each["url"], each["weight"], each["admin_state"]) for each in backends]
    changes = [act for act in (await asked(lb, "/audit"))["items"] if act["status"] < 400]
    settings = (await asked(lb, "/pools/default"))["settings"]
    return (await asked(lb, "/info"))["revision"], states, settings, changes


async def test_an_attacked_admin_never_touches_traffic(tmp_path: Path) -> None:
    async with nginx_servers(2, tmp_path) as ports:
        async with program(*backend_flags(ports), env=attacks.environment()) as lb:
            async with trio.open_nursery() as nursery:
                traffic, target = Traffic(lb), attacks.Target(lb.admin)
                nursery.start_soon(traffic.run)
                await traffic.goes_on()
                before, files = await what_is_set(lb), lb.open_files()
                for attack in attacks.ALL:
                    await attack(target)
                    assert not traffic.failures, attack
                await attacks.at_once(partial(attack, target) for attack in attacks.ALL)
                await traffic.goes_on()
                assert await what_is_set(lb) == before
                await everybody_has_left(lb, files)
                nursery.cancel_scope.cancel()
    assert traffic.failures == []
    assert traffic.p99 < P99_SECONDS
    assert not [word for word in TROUBLE if word in lb.said], lb.said.decode()


async def everybody_has_left(lb: Program, files: int) -> None:
    """Descriptors are back where they were, but for a connection to each backend for each client."""

    async def left() -> bool:
        return lb.open_files() <= files + 2 * CLIENTS

    await until(left)
    metrics = await asked(lb, "/metrics")
    assert "\nlb_event_readers 0" in metrics
    assert "\nlb_admin_restarts_total 0" in metrics
    assert 'code="500"' not in metrics
