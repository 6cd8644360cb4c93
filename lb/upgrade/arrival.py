"""The new program's side of an upgrade.

It is started with its end of a socket pair and the listening sockets of the program that runs, and hears what
operators want. When it could serve it says so; it accepts nothing until it is told to take over. If it fails
before, it says why and ends, and has changed nothing: the files of Unix sockets are not its own until then.
"""

import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog
import trio

from lb.about import VERSION
from lb.app import AnyBalancer
from lb.config.inheritance import Inheritance
from lb.control import Control
from lb.core.backend import AdminState, Backend
from lb.errors import NotUpgraded
from lb.net.handed_listeners import HandedListeners, place_of
from lb.settings.balancer_settings import AdminConfig
from lb.upgrade import wishes
from lb.upgrade.handover_channel import VARIABLE, Channel
from lb.upgrade.handover_messages import (
    InFlight,
    Message,
    Offer,
    Ready,
    Refused,
    Replaced,
    Serving,
    TakeOver,
    Wished,
    agreed,
    framed,
)

PROBES = 100
"""So many first probes run at a time."""
MOST_WISHES = 10_000
"""Wishes that may wait to be told to the program before."""
OF_A_PROCESS = ("LISTEN_PID", "WATCHDOG_PID")
"""Variables of a service manager that name the process which they are for."""

log = structlog.get_logger()


def is_arrival() -> bool:
    """Whether this program was started to replace another."""
    return VARIABLE in os.environ


def refuse(why: str) -> None:
    """Tell the program that runs why this one ends; nothing where there is none, or this one serves."""
    if is_arrival():
        with suppress(OSError, ValueError), socket.socket(fileno=int(os.environ.pop(VARIABLE))) as sock:
            sock.setblocking(True)
            sock.sendall(framed(Refused(why=why), 0))


class Arrival:
    """This program, as it takes over from another. `meet` makes it.

    `replaced` is set when the other one accepts no more.
    """

    def __init__(self, channel: Channel, offer: Offer) -> None:
        self._channel = channel
        self.offer = offer
        self._sockets = HandedListeners([(each.address, each.descriptors) for each in offer.listeners])
        self.inheritance = Inheritance(
            sockets=self._sockets,
            changes=offer.changes,
            cookie_key=offer.cookie_key or None,
            found=offer.found,
            own=offer.own,
        )
        self.replaced = trio.Event()
        self._heir: wishes.Heir | None = None
        self._told, self._to_tell = trio.open_memory_channel[Wished](MOST_WISHES)

    @classmethod
    async def meet(cls) -> "Arrival":
        """Hear the offer of the program that runs. NotUpgraded where the two do not understand each other."""
        for name in OF_A_PROCESS:
            if name in os.environ:
                os.environ[name] = str(os.getpid())
        channel = Channel.of_environment()
        try:
            offer = await channel.hear(Offer)
            agreed(offer)
        except BaseException:
            await channel.aclose()
            raise
        for given in (*offer.listeners, *([] if offer.admin is None else [offer.admin])):
            for number in given.descriptors:
                os.set_inheritable(number, False)
        return cls(channel, offer)

    def admin_sockets(self, admin: AdminConfig) -> tuple[int, ...]:
        """The descriptors for this admin side; where it is at another place they are closed."""
        given = self.offer.admin
        if given is None:
            return ()
        if admin.enabled and place_of(given.address) == place_of(admin.listen):
            return given.descriptors
        for number in given.descriptors:
            os.close(number)
        return ()

    async def _say(self, message: Message) -> None:
        try:
            await self._channel.send(message)
        except trio.BrokenResourceError as exc:
            raise NotUpgraded("the program that was to be replaced has ended") from exc

    async def close(self) -> None:
        """For one that does not take over."""
        await self._channel.aclose()

    async def become_ready(
        self, balancer: AnyBalancer, prepare: Callable[[], Awaitable[object]], control: Control
    ) -> None:
        """Return when this program is to accept. `prepare` makes the admin side ready.

        NotUpgraded where the other program does not want to be replaced any more.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_end_where_stopped, balancer)
            await self._become_ready(balancer, prepare, control)
            nursery.cancel_scope.cancel()

    async def _become_ready(
        self, balancer: AnyBalancer, prepare: Callable[[], Awaitable[object]], control: Control
    ) -> None:
        wishes.believe(self.offer.down, control.registry)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(balancer.names.answered)
            nursery.start_soon(_probe_all, control)
            nursery.start_soon(prepare)
            nursery.start_soon(balancer.prepare)
        taken = tuple(self._sockets.taken)
        await self._say(Ready(version=agreed(self.offer), program=VERSION, pid=os.getpid(), taken=taken))
        message = await self._channel.hear(TakeOver)
        os.close(int(os.environ.pop(VARIABLE)))
        self._sockets.close_rest()
        self._heir = wishes.Heir(control, self._tell)
        self._heir.take(message)
        control.metrics.upgrades["success"] = self.offer.upgrades + 1
        try:
            await balancer.save()
        except OSError as exc:  # the next change tries again
            log.error("state not saved", path=control.config.state, why=str(exc))

    def _tell(self, wish: Wished) -> None:
        with suppress(trio.WouldBlock):
            self._told.send_nowait(wish)

    async def serve(self) -> None:
        """Everything listens: tell the other program, and go on with its requests until it has ended."""
        with suppress(trio.BrokenResourceError, NotUpgraded):
            await self._channel.send(Serving())
            await self._channel.hear(Replaced)
            self._sockets.own_files()
            log.info("replaced", pid=self.offer.pid, version=self.offer.program)
        self.replaced.set()
        assert self._heir is not None
        try:
            await self._count_with(self._heir)
        finally:
            self._heir.all_ended()  # otherwise drains would wait for them for ever
            await self._channel.aclose()
        log.info("the program before has ended", pid=self.offer.pid)

    async def _count_with(self, heir: wishes.Heir) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell_wishes)
            with suppress(NotUpgraded):
                while isinstance(message := await self._channel.receive(), InFlight):
                    heir.count(message.counts)
            nursery.cancel_scope.cancel()

    async def _tell_wishes(self) -> None:
        async for wish in self._to_tell:
            with suppress(trio.BrokenResourceError):
                await self._channel.send(wish)


async def _end_where_stopped(balancer: AnyBalancer) -> None:
    """A signal ends this program before it serves."""
    await balancer.stop_wished()
    raise NotUpgraded("the new program was stopped by a signal")


async def _probe_all(control: Control) -> None:
    """The first probe of each backend that has one. Their results count."""
    turns = trio.CapacityLimiter(PROBES)
    async with trio.open_nursery() as nursery:
        for backend in [*control.registry.backends.values()]:
            if backend.health is not None and backend.admin_state is not AdminState.MAINTENANCE:
                await turns.acquire_on_behalf_of(backend)
                nursery.start_soon(_probe, control, backend, turns)


async def _probe(control: Control, backend: Backend, turns: trio.CapacityLimiter) -> None:
    try:
        with suppress(LookupError):  # it has lost its probe, or left
            await control.check(backend)
    finally:
        turns.release_on_behalf_of(backend)
