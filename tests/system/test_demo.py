"""The first minute: what the banner promises is true."""

import httpx
import pytest

from tests.system.program import program


@pytest.mark.alone  # the ports of the demo are fixed, and test_remote.py takes them too
async def test_three_requests_go_to_three_servers_and_a_drained_one_gets_none() -> None:
    async with program("--demo") as lb, httpx.AsyncClient() as client:
        assert b"DEMO" in lb.said
        answers = [(await client.get(lb.url)).text for _ in range(3)]
        assert answers == [f"Hello from Server {n}\n" for n in (1, 2, 3)]
        drained = await lb.api("POST", "/backends/server1/drain?wait=30s")
        assert drained["status"]["drain"]["outcome"] == "completed"
        answers = [(await client.get(lb.url)).text for _ in range(4)]
        assert sorted(set(answers)) == ["Hello from Server 2\n", "Hello from Server 3\n"]
