"""Instances that come and go, as Consul tells of them, and all that it may do wrong."""

import pytest
import trio
import trio.testing

from lb.discovery.consul import ConsulSource
from tests.kit import answer, virtual_time
from tests.kit.balancer import open_sockets
from tests.kit.cancel import cancelled_everywhere
from tests.kit.consul_server import ScriptedConsul, instance
from tests.kit.scripted import CHUNKED, SILENCE, chunk, in_json
from tests.kit.sources import Told, running_source

pytestmark = virtual_time
ONE, TWO = instance("n1", id="w"), instance("n2", id="w")
LEAVING = instance("n1", ("_service_maintenance:w", "critical"), id="w")
HERE1, BOTH = {"n1.w": "here"}, {"n1.w": "here", "n2.w": "here"}


def source(server: ScriptedConsul, query: str = "") -> ConsulSource:
    return ConsulSource(f"{server.url}/web{query}")


async def test_changes_are_told_at_once() -> None:
    async with ScriptedConsul(ONE).running() as consul, running_source(source(consul)) as told:
        await told.until(1)
        assert told.here == HERE1
        await trio.sleep(30)
        began = trio.current_time()
        consul.changes(ONE, TWO)
        await told.until(2)
        consul.changes(LEAVING, TWO)
        await told.until(3)
        assert trio.current_time() - began < 0.5
        assert told.here == {"n1.w": "leaving", "n2.w": "here"}


async def test_a_wait_that_is_over_is_told_as_well() -> None:
    async with ScriptedConsul(ONE).running() as consul, running_source(source(consul)) as told:
        await told.until(3)
        assert trio.current_time() == pytest.approx(2 * 55 * 17 / 16, abs=0.1)
        assert [asked.query["index"] for asked in consul.heard[:3]] == ["0", "10", "10"]


async def test_an_index_that_goes_back_begins_anew() -> None:
    async with ScriptedConsul(ONE).running() as consul, running_source(source(consul)) as told:
        await told.until(1)
        consul.changes(ONE, TWO, index=3)
        await told.until(3)
        assert told.here == BOTH
        assert [asked.query["index"] for asked in consul.heard[:3]] == ["0", "10", "0"]


async def test_what_changes_very_often_is_asked_for_once_a_second() -> None:
    async with ScriptedConsul(ONE).running() as consul, running_source(source(consul)) as told:
        with trio.move_on_after(20):
            while True:
                await trio.sleep(0.01)
                consul.changes(ONE)
        assert 15 <= len(told.sets) <= 25


async def test_a_query_goes_with_each_question() -> None:
    async with ScriptedConsul(ONE).running() as consul, running_source(source(consul, "?dc=east")) as told:
        await told.until(1)
        assert consul.heard[0].query == {"index": "0", "wait": "55s", "dc": "east"}


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        (["X-Consul-KnownLeader: false"], "it knows no leader"),
        (["X-Consul-KnownLeader: true", "X-Consul-Results-Filtered-By-ACLs: true"], "our token may not see"),
    ],
)
async def test_an_answer_that_may_not_be_whole_is_a_failure_and_no_set(fields: list[str], why: str) -> None:
    async with ScriptedConsul(ONE).running() as consul, running_source(source(consul)) as told:
        await told.until(1)
        consul.fields = fields
        consul.changes()  # a follower that has just begun answers 200 and nothing
        assert why in await told.until_failed()
        assert len(told.sets) == 1


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (answer(b"No cluster leader", status="500 Oh"), "it answered 500: No cluster leader"),
        (answer(b"ACL not found", status="403 Forbidden"), "it answered 403: ACL not found"),
        (answer(b"<html>"), "it is no list of instances: JSON is malformed"),
        (in_json([{}]), "it is no list of instances: Object missing"),
        (answer(b"[" * 100_000), "it is no list of instances: maximum recursion"),
        (CHUNKED + chunk(b"["), "nothing came for 10 s"),
        (SILENCE, "no answer within 75 s"),
    ],
)
async def test_what_is_no_list_is_a_failure_and_no_set(said: bytes, why: str) -> None:
    async with ScriptedConsul(ONE).running() as consul, running_source(source(consul)) as told:
        await told.until(1)
        consul.changes(ONE)
        await told.until(2)
        await trio.testing.wait_all_tasks_blocked()
        consul.instead.append(said)
        consul.changes(ONE)
        failure = await told.until_failed()
        assert why in failure
        assert f"{consul.url}: GET /v1/health/service/web" in failure
        assert len(told.sets) == 3


async def test_no_instance_is_an_empty_set() -> None:
    async with ScriptedConsul().running() as consul, running_source(source(consul)) as told:
        await told.until(1)
        assert told.here == {}


async def test_a_huge_list_is_a_list() -> None:
    many = [instance("n1", id=f"w{n}") for n in range(3000)]
    async with ScriptedConsul(*many).running() as consul, running_source(source(consul)) as told:
        await told.until(1)
        assert len(told.here) == 3000


@pytest.mark.parametrize("where", ["http://a", "http://a/", "http://a/b/c", "unix:/run/consul.sock"])
async def test_a_url_without_a_service_is_refused(where: str) -> None:
    with pytest.raises(ValueError, match="expected the URL of a Consul and a service"):
        ConsulSource(where)


async def test_cancelled_at_any_step_it_leaves_nothing_open() -> None:
    async with ScriptedConsul(ONE).running() as consul:
        await trio.testing.wait_all_tasks_blocked()
        before = len(open_sockets())

        async def events() -> None:
            for _ in range(4):
                await trio.sleep(1)
                consul.changes(ONE, TWO)

        async def run() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(events)
                with trio.move_on_after(100):
                    await source(consul).run(Told().tell)

        assert await cancelled_everywhere(run, lambda: None) > 10
        consul.changes()  # so that it answers those who have gone
        await trio.testing.wait_all_tasks_blocked()
        assert len(open_sockets()) == before
