"""A worker serves the certificates that it is told, or keeps what it had and says why."""

import errno
import os
from collections.abc import Callable
from unittest.mock import ANY

import msgspec
import pytest
import trio
from structlog.testing import capture_logs

from lb.errors import ConfigError
from lb.workers.messages import CERTIFICATES, Busy, NotApplied, TlsFiles
from lb.workers.second_try import AGAIN_SECONDS
from lb.workers.told_termination import ToldTermination
from tests.kit.handshakes import client_context, handshake
from tests.kit.time import virtual_time
from tests.workers.firm import certified

pytestmark = virtual_time


async def at_once(function: Callable[..., object], *arguments: object) -> object:
    """In place of a thread, while which virtual time would pass."""
    await trio.lowlevel.checkpoint()
    return function(*arguments)


@pytest.fixture(autouse=True)
def without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trio.to_thread, "run_sync", at_once)


class Stage:
    """A worker's certificates, and what it says to the keeper. The hosts are a.test, b.test and so on."""

    def __init__(self) -> None:
        self.said: list[object] = []
        self.here = ToldTermination(self.said.append)

    async def told(self, number: int, keys: int = 0) -> None:
        await self.here.be_told(certified(number, keys))

    @property
    def names(self) -> list[str]:
        return [name for each in self.here.certificates.all for name in each.names]


def unreadable() -> TlsFiles:
    return msgspec.structs.replace(certified(1), files=[("/at.pem", b"half of it", 0o600)])


def no_descriptors(*_what: object) -> int:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


async def test_it_serves_what_it_was_told_last() -> None:
    it = Stage()
    await it.told(0)
    await it.told(1)
    assert (it.names, it.said) == (["b.test"], [])


async def test_what_cannot_be_used_is_refused_whole_and_told() -> None:
    it = Stage()
    await it.told(0)
    with capture_logs() as logs:
        await it.here.be_told(unreadable())
    assert it.names == ["a.test"]
    [said] = it.said
    assert isinstance(said, NotApplied)
    assert "tls.certificates[0].chain: /at.pem" in said.why
    assert [line["event"] for line in logs] == ["certificates not swapped"]


async def test_without_any_that_it_had_it_cannot_begin() -> None:
    """Then its process ends, and the keeper starts another one: it would refuse every client."""
    it = Stage()
    with pytest.raises(BaseExceptionGroup) as raised:
        await it.here.be_told(unreadable())
    assert raised.group_contains(ConfigError, match=r"/at\.pem")


async def test_what_could_not_be_done_for_want_of_descriptors_is_done_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    it = Stage()
    await it.told(0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(it.here.run)
        with monkeypatch.context() as patched:
            patched.setattr(os, "memfd_create", no_descriptors)
            await it.told(1)
            await trio.sleep(AGAIN_SECONDS * 1.5)
            assert it.names == ["a.test"]
        await trio.sleep(AGAIN_SECONDS)
        assert it.names == ["b.test"]
        assert it.said == [NotApplied(CERTIFICATES, ANY), NotApplied(CERTIFICATES, "")]
        nursery.cancel_scope.cancel()


async def test_others_that_can_be_used_end_it_at_once() -> None:
    it = Stage()
    await it.told(0)
    await it.here.be_told(unreadable())
    await it.told(1)
    assert (it.names, it.said[1:]) == (["b.test"], [NotApplied(CERTIFICATES, "")])


@pytest.mark.parametrize(("keys", "is_resumed"), [(0, True), (1, False)])
async def test_session_tickets_get_new_keys_when_the_keeper_says_so(keys: int, is_resumed: bool) -> None:
    it = Stage()
    await it.told(0)
    client = client_context()
    first = handshake(client, it.here.certificates.find("a.test").context)  # type: ignore[union-attr]
    first.says()
    await it.told(0, keys)
    again = it.here.certificates.find("a.test")
    assert again is not None
    assert handshake(client, again.context, session=first.client.session).client.session_reused is is_resumed


async def test_it_says_that_it_goes_on_while_that_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keeper kills a worker that applies nothing for some seconds."""
    it = Stage()

    async def slowly(function: Callable[..., object], *arguments: object) -> object:
        await trio.sleep(3.5)
        return function(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", slowly)
    await it.told(0)
    assert (it.names, it.said) == (["a.test"], [Busy()] * 3)
