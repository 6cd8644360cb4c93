"""The rehearsal: what answered at our own challenge URL, in a sentence."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest
import trio

from lb.acme.trial import open_client, rehearse
from tests.acme.authority import endless, from_socket, silent
from tests.kit.time import lasting, virtual_time

NAME, TOKEN, BODY = "www.example.com", "a-token-of-the-test", b"the body"
URL = f"http://{NAME}/.well-known/acme-challenge/{TOKEN}"


def answering(
    answer: Callable[[httpx.Request], Any],
) -> Callable[[], AbstractAsyncContextManager[httpx.AsyncClient]]:
    async def route(request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        found: httpx.Response = answer(request)
        return from_socket(found)

    @asynccontextmanager
    async def opened() -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.MockTransport(route)
        async with httpx.AsyncClient(transport=transport, follow_redirects=True, trust_env=False) as client:
            yield client

    return opened


async def found(answer: Callable[[httpx.Request], Any]) -> str | None:
    return await rehearse(NAME, TOKEN, BODY, 10.0, answering(answer))


async def test_ours() -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, content=BODY + b"\n")

    assert await found(answer) is None
    assert asked == [URL]


@pytest.mark.parametrize(
    ("response", "sentence"),
    [
        (
            lambda request: httpx.Response(404, text="Not Found", headers={"Server": "nginx"}),
            f"http://{NAME} does not lead to this balancer: the challenge was answered 404 by nginx, "
            "with 'Not Found'",
        ),
        (
            lambda request: httpx.Response(200, text="a page"),
            f"http://{NAME} does not lead to this balancer: the challenge was answered 200, with 'a page'",
        ),
        (
            lambda request: httpx.Response(500),
            f"http://{NAME} does not lead to this balancer: the challenge was answered 500",
        ),
    ],
)
async def test_others(response: Callable[[httpx.Request], httpx.Response], sentence: str) -> None:
    assert await found(response) == sentence


async def test_a_redirect_is_followed_and_told() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.scheme == "http":
            return httpx.Response(301, headers={"Location": f"https://{NAME}/"})
        return httpx.Response(200, text="home")

    assert (await found(answer) or "").endswith(f"200, after redirects to https://{NAME}/, with 'home'")


async def test_a_circle_of_redirects() -> None:
    why = await found(lambda request: httpx.Response(302, headers={"Location": URL}))
    assert why is not None
    assert why.startswith(f"http://{NAME} cannot be reached from this machine: ")


async def test_nobody() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no such host")

    assert await found(answer) == f"http://{NAME} cannot be reached from this machine: no such host"


async def test_an_answer_without_an_end_is_cut() -> None:
    why = await found(lambda request: httpx.Response(200, content=endless()))
    assert why is not None
    assert len(why) < 500


@virtual_time
async def test_an_answer_that_does_not_come() -> None:
    with lasting(10.0):
        why = await found(lambda request: httpx.Response(200, content=silent()))
    assert why == f"http://{NAME} did not answer this machine within 10 s"


async def test_the_real_client_follows_redirects_and_believes_any_certificate() -> None:
    async with open_client() as client:
        assert client.follow_redirects
