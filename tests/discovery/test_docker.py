"""Containers that come and go, as Docker tells of them, and all that its API may do wrong."""

from pathlib import Path

import pytest
import trio
import trio.testing

from lb.discovery.docker import DockerSource
from tests.kit import answer, virtual_time
from tests.kit.balancer import open_sockets
from tests.kit.cancel import cancelled_everywhere
from tests.kit.docker_server import EPOCH, Box, ScriptedDocker
from tests.kit.scripted import CHUNKED, SILENCE, chunk
from tests.kit.sources import Told, running_source

pytestmark = virtual_time
WEB = {"lb.pool": "web"}


def web(number: int, **others: str) -> Box:
    return Box(f"web-{number}", f"172.18.0.{number + 1}", WEB, **others)  # type: ignore[arg-type]


class Turns(trio.abc.Instrument):
    """Counts the steps of all tasks: in each of them one holds the event loop."""

    def __init__(self) -> None:
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += 1


def source(server: ScriptedDocker) -> DockerSource:
    return DockerSource(server.url, pool="web", now=lambda: EPOCH + 60.0)


async def test_a_container_that_is_started_is_told_within_a_second() -> None:
    async with ScriptedDocker(web(1)).running() as docker, running_source(source(docker)) as told:
        await told.until_here(web_1="here")
        docker.boxes["web-2"] = web(2)
        began = trio.current_time()
        await docker.tells("start", web(2), cut=20)
        await told.until_here(web_1="here", web_2="here")
        assert trio.current_time() - began <= 0.3
        assert told["web-2"].url == "http://172.18.0.3:8000"


async def test_over_its_socket(tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    async with ScriptedDocker(web(1), path=path).running():
        for where in (f"unix:{path}", f"unix://{path}"):
            async with running_source(DockerSource(where, pool="web")) as told:
                await told.until_here(web_1="here")


async def test_over_a_proxy_whose_address_is_written_as_for_docker() -> None:
    async with ScriptedDocker(web(1)).running() as docker:
        async with running_source(DockerSource(docker.url.replace("http", "tcp"), pool="web")) as told:
            await told.until_here(web_1="here")


async def test_a_swarm_of_events_is_one_list() -> None:
    async with ScriptedDocker(web(1)).running() as docker, running_source(source(docker)) as told:
        await told.until(1)
        for number in range(2, 60):
            docker.boxes[f"web-{number}"] = web(number)
            await docker.tells("start", web(number))
        await told.until(2)
        assert len(told.here) == 59
        assert docker.lists == 2


async def test_events_that_change_nothing_ask_for_nothing() -> None:
    async with ScriptedDocker(web(1)).running() as docker, running_source(source(docker)) as told:
        await told.until(1)
        for action in ("exec_create: curl", "exec_start: curl", "exec_die", "attach", "top", "resize"):
            await docker.tells(action, web(1))
        await trio.sleep(20)
        assert docker.lists == 1
        await told.until(2)  # for not all that may change it has an event
        assert docker.lists == 2


async def test_many_events_at_once_are_taken_one_in_each_turn() -> None:
    async with ScriptedDocker(web(1)).running() as docker, running_source(source(docker)) as told:
        await told.until(1)
        turns = Turns()
        trio.lowlevel.add_instrument(turns)
        for stream in docker.streams:
            await stream.says(chunk(b"{}\n" * 500))
        await trio.sleep(1)
        trio.lowlevel.remove_instrument(turns)
        assert turns.count >= 500
        assert docker.lists == 1


async def test_stop_is_leaving_from_the_signal_on_until_it_has_ended() -> None:
    async with ScriptedDocker(web(1), web(2)).running() as docker, running_source(source(docker)) as told:
        await told.until(1)
        await docker.tells("kill", web(1), signal="15")
        await told.until_here(web_1="leaving", web_2="here")
        await trio.sleep(100)
        assert told.here == {"web-1": "leaving", "web-2": "here"}
        del docker.boxes["web-1"]
        await docker.tells("die", web(1), exitCode="0")
        await told.until_here(web_2="here")
        docker.boxes["web-1"] = web(1)
        await docker.tells("start", web(1))
        await told.until_here(web_1="here", web_2="here")


@pytest.mark.parametrize(
    ("sent", "stop_signal", "notice"),
    [
        ("15", "", "leaving"),
        ("9", "SIGQUIT", "leaving"),
        ("3", "", "leaving"),
        ("1", "", "here"),
        ("1", "SIGTERM", "here"),
        ("28", "SIGWINCH", "leaving"),
        ("28", "", "here"),
        ("37", "SIGRTMIN+3", "leaving"),
        ("SIGTERM", "", "leaving"),
        ("", "", "here"),
        ("what", "", "here"),
    ],
)
async def test_only_a_signal_that_ends_it_is_leaving(sent: str, stop_signal: str, notice: str) -> None:
    box = web(1, stop_signal=stop_signal)
    async with ScriptedDocker(box).running() as docker, running_source(source(docker)) as told:
        await told.until(1)
        await docker.tells("kill", box, signal=sent)
        await told.until(2)
        assert told.here == {"web-1": notice}


async def test_health_is_not_ready_until_it_is() -> None:
    box = web(1, health="starting")
    async with ScriptedDocker(box).running() as docker, running_source(source(docker)) as told:
        await told.until_here(web_1="not_ready")
        box.health = "healthy"
        await docker.tells("health_status: healthy", box)
        await told.until_here(web_1="here")


@pytest.mark.parametrize("well", [True, False])
async def test_a_stream_that_ends_is_opened_again_and_nothing_is_missed(well: bool) -> None:
    async with ScriptedDocker(web(1), web(2)).running() as docker, running_source(source(docker)) as told:
        await told.until(1)
        await docker.tells("kill", web(1), signal="15")
        await told.until_here(web_1="leaving", web_2="here")
        await trio.sleep(600)
        streams, docker.streams = docker.streams, []
        await docker.tells("kill", web(2), signal="15")  # while nobody listens
        docker.streams = streams
        await docker.ends_streams(well=well)
        await told.until_here(web_1="leaving", web_2="leaving")


async def test_one_that_has_just_begun_knows_who_is_leaving() -> None:
    async with ScriptedDocker(web(1), web(2)).running() as docker:
        await docker.tells("kill", web(1), signal="15")
        await docker.tells("kill", web(2), signal="15")
        await docker.tells("die", web(2))
        await docker.tells("start", web(2))
        async with running_source(source(docker)) as told:
            await told.until(1)
            assert told.here == {"web-1": "leaving", "web-2": "here"}
        docker.events.clear()  # it has forgotten
        async with running_source(source(docker)) as told:
            await told.until(1)
            assert told.here == {"web-1": "here", "web-2": "here"}


async def test_a_second_run_of_the_same_source_believes_only_what_docker_repeats() -> None:
    async with ScriptedDocker(web(1)).running() as docker:
        asked = source(docker)
        async with running_source(asked) as told:
            await told.until(1)
            await docker.tells("kill", web(1), signal="15")
            await told.until_here(web_1="leaving")
        await docker.tells("start", web(1))
        async with running_source(asked) as told:
            await told.until(1)
            assert told.here == {"web-1": "here"}


async def test_a_stream_that_ends_at_once_is_a_failure() -> None:
    async with ScriptedDocker(web(1)).running() as docker, running_source(source(docker)) as told:
        docker.instead.append(CHUNKED + b"0\r\n\r\n")
        assert (await told.until_failed()).endswith("GET /events: its stream of events ended")
        assert len(told.sets) == 1


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (answer(b'{"message":"no"}', status="500 Oh"), 'it answered 500: {"message":"no"}'),
        (answer(b"Forbidden", status="403 Forbidden"), "it answered 403: Forbidden"),
        (answer(b"[{}]"), "it is no list of containers: Object missing"),
        (answer(b'{"message": "x"}'), "it is no list of containers: Expected `array`"),
        (answer(b""), "it is no list of containers"),
        (answer(b"[" * 100_000), "it is no list of containers: maximum recursion"),
        (CHUNKED + chunk(b"["), "nothing came for 10 s"),
        (SILENCE, "no answer within 10 s"),
        (b"garbage\r\n\r\n", "is not HTTP"),
    ],
)
async def test_what_is_no_list_is_a_failure_and_no_set(said: bytes, why: str) -> None:
    async with ScriptedDocker(web(1)).running() as docker, running_source(source(docker)) as told:
        await told.until(1)
        docker.instead.append(said)
        await docker.tells("start", web(2))
        failure = await told.until_failed()
        assert why in failure
        assert f"{docker.url}: GET /containers/json" in failure
        assert len(told.sets) == 1


async def test_a_garbage_line_in_the_stream_is_a_failure_and_no_set() -> None:
    async with ScriptedDocker(web(1)).running() as docker, running_source(source(docker)) as told:
        await told.until(1)
        await docker.says_line(b'{"Action": \n')
        assert "GET /events: Input data was truncated" in await told.until_failed()
        assert len(told.sets) == 1


async def test_no_docker_is_a_failure() -> None:
    async with running_source(DockerSource("unix:/none/docker.sock", pool="web")) as told:
        assert await told.until_failed() == "unix:/none/docker.sock: no such file or directory"


async def test_an_empty_list_is_told_as_one() -> None:
    async with ScriptedDocker().running() as docker, running_source(source(docker)) as told:
        await told.until(1)
        assert told.here == {}


async def test_a_huge_list_is_a_list() -> None:
    boxes = [Box(f"web-{n}", f"10.{n >> 8}.{n & 255}.1", WEB) for n in range(3000)]
    async with ScriptedDocker(*boxes).running() as docker, running_source(source(docker)) as told:
        await told.until(1)
        assert len(told.last.backends) == 3000


async def test_cancelled_at_any_step_it_leaves_nothing_open() -> None:
    async with ScriptedDocker(web(1), web(2)).running() as docker:
        await trio.testing.wait_all_tasks_blocked()
        before = len(open_sockets())

        async def events() -> None:
            await trio.sleep(1)
            await docker.tells("kill", web(1), signal="28")
            await docker.tells("start", web(2), cut=9)

        async def run() -> None:
            docker.streams, docker.events = [], []
            async with trio.open_nursery() as nursery:
                nursery.start_soon(events)
                with trio.move_on_after(40):
                    await source(docker).run(Told().tell)

        assert await cancelled_everywhere(run, lambda: None) > 10
        await trio.testing.wait_all_tasks_blocked()
        assert len(open_sockets()) == before
