"""What answers at our own challenge URL, fetched through the public name as an authority would.

This machine may see the name in another way than the authority does: behind NAT many machines do not reach
their own public address. So a trial that fails forbids nothing. It is told, and it explains a refusal.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpx
import trio

from lb.acme.acme_errors import shown
from lb.acme.answers import CHALLENGE_PATH
from lb.acme.fetching import IDENTITY, read_within, reason_of

MOST_BYTES = 4096
MOST_REDIRECTS = 10
"""As Let's Encrypt follows."""

Rehearse = Callable[[str, str, bytes, float], Awaitable[str | None]]
"""`rehearse`, or what stands for it in tests."""
OpenClient = Callable[[], AbstractAsyncContextManager[httpx.AsyncClient]]


@asynccontextmanager
async def open_client() -> AsyncIterator[httpx.AsyncClient]:
    """A client that follows redirects, also to https, where it believes any certificate as authorities do."""
    async with httpx.AsyncClient(
        verify=False, trust_env=False, follow_redirects=True, max_redirects=MOST_REDIRECTS, timeout=None
    ) as client:
        yield client


async def rehearse(
    name: str, token: str, body: bytes, seconds: float, opened: OpenClient = open_client
) -> str | None:
    """Why the authority would not find this body, as a sentence; None where it would, seen from here."""
    url = f"http://{name}{CHALLENGE_PATH}{token}"
    try:
        with trio.fail_after(seconds):
            async with opened() as client:
                wanted = client.stream("GET", url, headers=IDENTITY)
                response, data = await read_within(wanted, MOST_BYTES)
    except trio.TooSlowError:
        return f"http://{name} did not answer this machine within {seconds:g} s"
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as exc:
        return f"http://{name} cannot be reached from this machine: {reason_of(exc)}"
    return _judged(response, data, name, body)


def _judged(response: httpx.Response, data: bytes, name: str, body: bytes) -> str | None:
    if response.status_code == 200 and data.strip() == body:
        return None
    server = f" by {shown(response.headers['Server'])}" if "Server" in response.headers else ""
    after = f", after redirects to {shown(response.url)}" if response.history else ""
    said = f", with {shown(data.decode(errors='replace'))!r}" if data else ""
    return (
        f"http://{name} does not lead to this balancer: the challenge was answered {response.status_code}"
        f"{server}{after}{said}"
    )
