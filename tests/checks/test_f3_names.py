"""Faults f3.1 to f3.4: names that change, have several addresses, or get no answer."""

import pytest
import trio
import trio.testing

from lb.core.health.probe_verdict import Check
from lb.settings.backend_spec import BackendSpec
from tests.kit import (
    GET,
    OK,
    Backend,
    BlackHole,
    Refusing,
    Scene,
    Steps,
    lasting,
    running,
    until_not_reached,
    virtual_time,
)
from tests.kit.backend import Stand, answer
from tests.kit.names import Resolver
from tests.probes.house import house

pytestmark = virtual_time


def by_name(lb: Scene, port: int, name: str = "shop", id: str = "named") -> None:
    """A backend whose URL has a name; "one" is out."""
    lb.registry.add(BackendSpec(id=id, url=f"http://{name}:{port}"))
    lb.registry.maintenance(lb["one"])


def beside(stand: Stand, kind: type[Stand] = Backend, host: str = "127.0.0.2") -> Stand:
    """Another one, on the same port of another address."""
    return kind(host=host, port=stand.port)


# -- f3.1: a name changes its address ----------------------------------------------------------------------


async def test_f3_1_requests_follow_a_name_to_its_new_address_while_the_old_one_lives_on() -> None:
    resolver = Resolver(shop=["127.0.0.1"])
    async with running(timeouts={"backend_idle": "1h"}) as lb:
        new = beside(lb.backend)
        assert isinstance(new, Backend)
        lb.stands.append(new)
        async with lb.backend.answering(answer(b"old")), new.answering(answer(b"new")):
            by_name(lb, lb.backend.port)
            client = await lb.asks(GET)
            assert (await client.hears(200)).body == b"old"
            resolver.known["shop"] = ["127.0.0.2"]
            for _ in range(35):  # traffic flows, so the connection is never idle for long
                await trio.sleep(1)
                await client.says(GET)
                heard = await client.hears(200)
            assert heard.body == b"new"
            assert lb["named"].connections == 1


async def test_f3_1_a_connection_that_was_lent_meanwhile_is_not_kept() -> None:
    resolver = Resolver(shop=["127.0.0.1"])
    async with running() as lb:
        by_name(lb, lb.backend.port)
        client = await lb.asks(GET)
        peer = await lb.backend.hears()
        resolver.known["shop"] = ["127.0.0.2"]
        await trio.sleep(31)
        await peer.says(OK)
        await client.hears(200)
        await peer.hears_end()
        assert lb["named"].connections == 0


async def test_f3_1_connections_to_an_address_that_stays_are_kept() -> None:
    resolver = Resolver(shop=["127.0.0.9", "127.0.0.1"])
    async with running(timeouts={"backend_idle": "1h"}) as lb:
        by_name(lb, lb.backend.port)
        busy, client = await lb.asks(GET), await lb.asks(GET)
        working, peer = await lb.backend.hears(), await lb.backend.hears()
        await peer.says(OK)
        await client.hears(200)
        resolver.known["shop"] = ["127.0.0.1", "127.0.0.8"]
        await trio.sleep(31)
        await working.says(OK)
        await busy.hears(200)
        await trio.testing.wait_all_tasks_blocked()
        assert lb["named"].idle_connections == 2
        await peer.hears_nothing()


async def test_f3_1_a_name_that_stops_resolving_loses_nothing() -> None:
    resolver = Resolver(shop=["127.0.0.1"])
    async with running(timeouts={"backend_idle": "1h"}) as lb, lb.backend.answering(OK):
        by_name(lb, lb.backend.port)
        await (await lb.asks(GET)).hears(200)
        resolver.known.clear()
        await trio.sleep(100)
        await (await lb.asks(GET)).hears(200)
        assert (lb["named"].connections_opened, lb["named"].connections_reused) == (1, 1)


async def test_f3_1_a_connection_ends_at_its_age_and_after_its_requests() -> None:
    timeouts, limits = {"backend_age": "10s"}, {"requests_per_backend_connection": 3}
    async with running(timeouts=timeouts, limits=limits) as lb, lb.backend.answering(OK):
        client = await lb.client()
        for _ in range(7):
            await client.says(GET)
            await client.hears(200)
        assert lb["one"].connections_opened == 3
        for _ in range(12):
            await client.says(GET)
            await client.hears(200)
            await trio.sleep(1)
    assert lb["one"].connections_opened > 6


# -- f3.2: the first address swallows SYN ------------------------------------------------------------------


async def test_f3_2_the_next_address_is_tried_after_a_quarter_of_a_second_and_remembered() -> None:
    Resolver(shop=["127.0.0.1", "127.0.0.2"])
    async with running(BlackHole) as lb:
        good = beside(lb.stands[0])
        assert isinstance(good, Backend)
        lb.stands.append(good)
        async with good.answering(OK):
            by_name(lb, good.port)
            client = await lb.asks(GET)
            with lasting(0.25):
                await client.hears(200)
            others = [await lb.asks(GET) for _ in range(3)]
            with lasting(0.0):
                for other in others:
                    await other.hears(200)
        assert lb["named"].failures.total() == 0


async def test_f3_2_one_that_refuses_costs_no_time() -> None:
    Resolver(shop=["127.0.0.1", "127.0.0.2"])
    async with running(Refusing) as lb:
        good = beside(lb.stands[0])
        assert isinstance(good, Backend)
        lb.stands.append(good)
        async with good.answering(OK):
            by_name(lb, good.port)
            client = await lb.asks(GET)
            with lasting(0.0):
                await client.hears(200)


async def test_f3_2_where_all_swallow_the_whole_is_one_connect_timeout() -> None:
    Resolver(shop=["127.0.0.1", "127.0.0.2", "127.0.0.3"])
    async with running(BlackHole) as lb:
        lb.stands += [beside(lb.stands[0], BlackHole, f"127.0.0.{last}") for last in (2, 3)]
        by_name(lb, lb.stands[0].port)
        client = await lb.asks(GET)
        with lasting(5.0):
            assert "connection_timeout" in (await client.hears(504))["Proxy-Status"]


async def test_f3_2_probes_go_on_to_the_next_address_too() -> None:
    Resolver(shop=["127.0.0.1", "127.0.0.2"])
    async with house(BlackHole, timeout=1.0) as there, trio.open_nursery() as nursery:
        good = beside(there.stands[0])
        assert isinstance(good, Backend)
        there.stands.append(good)
        there.registry.add(BackendSpec(id="named", url=f"http://shop:{good.port}"))
        nursery.start_soon(there.names.run)
        async with good.answering(OK):
            check = await there.probes.check(there["named"])
            assert check == Check(True, "ok 200", 0.25, 0.25)
            assert await there.probes.check(there["named"]) == Check(True, "ok 200", 0.0, 0.25)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("what", ["cut", "gone"])
async def test_f3_2_nothing_is_left_of_a_request_that_ends_at_any_step_of_it(what: str) -> None:
    async def run(step: int) -> Steps:
        Resolver(shop=["127.0.0.1", "127.0.0.3", "127.0.0.2"])
        async with running(BlackHole, each={"weight": 0}) as lb:
            good = beside(lb.stands[0])
            assert isinstance(good, Backend)
            lb.stands.append(good)
            lb.backends.append(good)

            def act() -> None:
                for connection in lb.connections[:1]:
                    getattr(connection, what)()

            steps = Steps(step, act)
            async with good.answering(OK):
                by_name(lb, good.port)
                trio.lowlevel.add_instrument(steps)
                client = await lb.asks(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
                await client.hears_all()
                trio.lowlevel.remove_instrument(steps)
                await (await lb.asks(GET)).hears(200)
        return steps

    assert await until_not_reached(run) >= 6


# -- f3.3: both are well -----------------------------------------------------------------------------------


async def test_f3_3_all_requests_go_to_the_first_until_it_fails() -> None:
    Resolver(shop=["127.0.0.1", "127.0.0.2"])
    async with running(limits={"idle_per_backend": 0}) as lb:
        second = beside(lb.backend)
        assert isinstance(second, Backend)
        lb.stands.append(second)
        async with lb.backend.answering(OK) as heard, second.answering(OK) as there:
            by_name(lb, second.port)
            for _ in range(10):
                await (await lb.asks(GET)).hears(200)
            assert (len(heard), len(there)) == (10, 0)


# -- f3.4: names that hang ---------------------------------------------------------------------------------


async def test_f3_4_four_names_that_hang_delay_no_other() -> None:
    resolver = Resolver(shop=["127.0.0.1"])
    resolver.silent = {f"hangs{number}" for number in range(4)}
    async with running() as lb, lb.backend.answering(OK):
        for name in sorted(resolver.silent):
            lb.registry.drain(lb.registry.add(BackendSpec(id=name, url=f"http://{name}"))[0], 1.0)
        await trio.testing.wait_all_tasks_blocked()
        by_name(lb, lb.backend.port)
        client = await lb.asks(GET)
        with lasting(0.0):
            await client.hears(200)


async def test_f3_4_not_resolved_yet_is_an_error_of_its_own_that_ejects_nobody() -> None:
    resolver = Resolver(shop=["127.0.0.1"])
    resolver.silent = {"hangs"}
    async with running() as lb, lb.backend.answering(OK):
        by_name(lb, lb.backend.port, "hangs", "unknown")
        first = await lb.asks(GET)
        with lasting(5.0):
            assert "dns_timeout" in (await first.hears(504))["Proxy-Status"]
        await trio.sleep(10)
        client = await lb.client()
        with lasting(0.0):  # the lookup has got no answer, so nothing is waited for
            for _ in range(20):
                await client.says(GET)
                assert "dns_timeout" in (await client.hears(504))["Proxy-Status"]
        assert lb["unknown"].state == "ready"
        resolver.silent, resolver.known["hangs"] = set(), ["127.0.0.1"]
        await trio.sleep(12)
        await client.says(GET)
        await client.hears(200)


async def test_f3_4_other_backends_take_the_requests_and_no_retry_is_spent() -> None:
    resolver = Resolver()
    resolver.silent = {"hangs"}
    async with running(pools={"default": {"retry": {"budget": 0.0, "floor": 0}}}) as lb:
        async with lb.backend.answering(OK):
            lb.registry.add(BackendSpec(id="unknown", url="http://hangs"))
            await trio.sleep(11)
            client = await lb.client()
            with lasting(0.0):
                for _ in range(40):
                    await client.says(GET)
                    await client.hears(200)
        assert lb["unknown"].failures.total() > 10


async def test_f3_4_twenty_are_asked_at_a_time_and_each_once() -> None:
    resolver = Resolver(**{f"n{number}": ["127.0.0.1"] for number in range(30)})
    resolver.silent = {f"n{number}" for number in range(25)}
    async with running() as lb:
        for number in range(30):
            for port in (1, 2):
                spec = BackendSpec(id=f"n{number}-{port}", url=f"http://n{number}:{port}", weight=0)
                lb.registry.add(spec)
        await trio.sleep(9)
        assert resolver.running == resolver.most_running == 20
        await trio.sleep(100)
        assert resolver.most_running == 20
        well = [name for _, name in resolver.asked if name not in resolver.silent]
        assert well.count("n29") == 4  # every 30 s, whatever the others do


@pytest.mark.parametrize("initial", ["up", "probe"])
async def test_f3_4_probes_of_a_name_that_hangs_do_not_count(initial: str) -> None:
    resolver = Resolver()
    resolver.silent = {"hangs"}
    async with running(pools={"default": {"probe": {"initial": initial}}}) as lb:
        lb.registry.maintenance(lb["one"])
        unknown = lb.registry.add(BackendSpec(id="unknown", url="http://hangs"))[0]
        await trio.sleep(60)
        assert unknown.state == {"up": "ready", "probe": "checking"}[initial]


async def test_f3_4_a_name_that_has_no_address_is_down() -> None:
    Resolver()
    async with running(pools={"default": {"probe": {}}}) as lb:
        lb.registry.maintenance(lb["one"])
        nameless = lb.registry.add(BackendSpec(id="nameless", url="http://nowhere"))[0]
        await trio.sleep(60)
        assert nameless.state == "down"
