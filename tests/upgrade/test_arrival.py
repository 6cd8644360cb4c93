"""A program that is to replace another: how they meet, and how it says that it cannot."""

import os
import socket
from collections.abc import Iterator

import pytest

from lb.errors import NotUpgraded
from lb.settings.balancer_settings import AdminConfig
from lb.upgrade.arrival import Arrival, is_arrival, refuse
from lb.upgrade.handover_channel import VARIABLE, Channel
from lb.upgrade.handover_messages import Offer, Refused, Sockets

OFFER = Offer(program="0.1.0", pid=1, cookie_key=b"k" * 32)


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The end of the program that runs; this process has the other one, as if it had been started with it."""
    ours, theirs = socket.socketpair()
    monkeypatch.setenv(VARIABLE, str(theirs.detach()))
    yield ours
    if VARIABLE in os.environ:
        os.close(int(os.environ[VARIABLE]))


async def test_two_programs_meet(running: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was meant for the other process by the service manager is meant for this one now."""
    monkeypatch.setenv("LISTEN_PID", "1")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    other = Channel(running)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        os.set_inheritable(sock.fileno(), True)
        handed = Sockets(address="127.0.0.1:0", descriptors=(sock.fileno(),))
        await other.send(Offer(program="0.1.0", pid=1, cookie_key=b"k" * 32, listeners=(handed,)))
        arrival = await Arrival.meet()
        assert not os.get_inheritable(sock.fileno())
    assert arrival.inheritance.cookie_key == b"k" * 32
    assert os.environ["LISTEN_PID"] == os.environ["WATCHDOG_PID"] == str(os.getpid())
    await arrival.close()
    await other.aclose()


async def test_programs_that_do_not_understand_each_other_do_not_meet(running: socket.socket) -> None:
    other = Channel(running)
    await other.send(Offer(program="9.0", pid=1, oldest=8, newest=9))
    with pytest.raises(NotUpgraded, match=r"the program that runs \(9.0\) speaks versions 8 to 9"):
        await Arrival.meet()
    await other.aclose()


async def test_why_it_ends_is_told_once(running: socket.socket) -> None:
    other = Channel(running)
    assert is_arrival()
    refuse("listem: unknown key")
    assert not is_arrival()
    refuse("nobody hears this")
    assert await other.hear(Refused) == Refused(why="listem: unknown key")
    assert await other.receive() is None
    await other.aclose()


@pytest.mark.parametrize(
    ("admin", "is_taken"),
    [
        (AdminConfig(listen="127.0.0.1:9000"), True),
        (AdminConfig(listen="https://127.0.0.1:9000"), True),
        (AdminConfig(listen=":9000"), False),
        (AdminConfig(listen="127.0.0.1:9000", enabled=False), False),
    ],
)
async def test_the_sockets_of_admin_are_taken_or_closed(
    running: socket.socket, admin: AdminConfig, is_taken: bool
) -> None:
    """Nobody is left waiting at a port where no program accepts."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        number = os.dup(sock.fileno())
    given = Sockets(address="127.0.0.1:9000", descriptors=(number,))
    arrival = Arrival(Channel(running), Offer(program="0.1.0", pid=1, admin=given))
    assert arrival.admin_sockets(admin) == ((number,) if is_taken else ())
    if is_taken:
        os.close(number)
    else:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)
    await arrival.close()
