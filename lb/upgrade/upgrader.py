"""The running program's side of an upgrade.

    serve ── upgrader ── attempt    starts the new program; ends with a replacement, or kills it
                      └─ farewell   tells the new program of the requests that end here

An attempt changes nothing here until the new program serves. Whatever goes wrong before that, a mistake in
its configuration, its end, too long a silence, ends the new program and the attempt, and this one goes on. An
attempt belongs to the program: a call that is cancelled does not end it.
"""

import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import structlog
import trio

from lb.about import VERSION
from lb.app import AnyBalancer
from lb.config import state_file
from lb.config.config_source import ConfigSource
from lb.control import Rehearsal, Replacement, UpgradeKind
from lb.errors import NotUpgraded
from lb.signal_names import how_it_ended
from lb.slices import sliced
from lb.upgrade import wishes
from lb.upgrade.command import check_surroundings, command_of, parent_name
from lb.upgrade.handover_channel import VARIABLE, Channel
from lb.upgrade.handover_messages import (
    InFlight,
    Offer,
    Ready,
    Refused,
    Replaced,
    Serving,
    Sockets,
    Wished,
)
from lb.upgrade.rehearsal import rehearse

ATTEMPTS = 3
"""So often a new program is started where operators change something while it becomes ready."""
TAKE_OVER_SECONDS = 10.0
"""How long a program that is ready may take to accept."""
END_SECONDS = 5.0
"""How long the end of a program that does not take over is waited for."""
TELL_SECONDS = 0.2
"""How often the new program is told of the requests that end here."""

log = structlog.get_logger()


class Attempt:
    """One upgrade that goes on. `outcome` is there once `done` is set."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.outcome: Replacement | NotUpgraded | None = None


class Upgrader:
    """Replaces this program. `run` is its task; to call it is to ask for an upgrade and to wait for it.

    `release` is called with the number of the process that serves now, so that the service manager is told;
    it must not raise.
    """

    def __init__(
        self, balancer: AnyBalancer, source: ConfigSource, release: Callable[[int], Awaitable[None]]
    ) -> None:
        self._balancer = balancer
        self._source = source
        self._release = release
        self._asked = trio.Event()
        self._attempt: Attempt | None = None
        self._scope = trio.CancelScope()
        self._subscribers: list[Callable[[UpgradeKind, str], None]] = []
        self._successor = 0

    async def __call__(self) -> Replacement:
        """NotUpgraded where there is no new program; then everything is as before."""
        self._check()
        attempt = self._attempt = Attempt()
        self._asked.set()
        await attempt.done.wait()
        if isinstance(attempt.outcome, Replacement):
            return attempt.outcome
        raise attempt.outcome or NotUpgraded("this program ends")

    async def rehearse(self) -> Rehearsal:
        """What would be started now, as that program says itself."""
        self._check()
        return await rehearse(command_of(self._source), self._source.file)

    def subscribe(self, tell: Callable[[UpgradeKind, str], None]) -> None:
        """Call `tell` when an upgrade begins and ends, with words about it."""
        self._subscribers.append(tell)

    def _tell(self, kind: UpgradeKind, detail: str) -> None:
        for tell in self._subscribers:
            tell(kind, detail)

    def _check(self) -> None:
        if self._successor:
            raise NotUpgraded(f"this program has been replaced by process {self._successor}")
        if self._balancer.control.stopping:
            raise NotUpgraded("this program is stopping")
        if self._balancer.is_waiting:
            raise NotUpgraded("this program does not serve yet: it waits for the wishes of its cluster")
        if self._attempt is not None:
            raise NotUpgraded("an upgrade goes on already")
        if self._balancer.config.demo:
            raise NotUpgraded("the demo's backends are a part of this program, and would end with it")
        check_surroundings(os.getpid(), parent_name())

    async def run(self) -> None:
        """Upgrade when asked to, until cancelled or replaced."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._abandon_at_stop)
            await self._upgrade_when_asked()

    async def _abandon_at_stop(self) -> None:
        """If this program is to stop the new one ends, unless it serves already."""
        await self._balancer.stop_wished()
        if not self._successor:
            self._scope.cancel()

    async def _upgrade_when_asked(self) -> None:
        while not self._successor:
            await self._asked.wait()
            self._asked = trio.Event()
            attempt = self._attempt
            assert attempt is not None
            try:
                with trio.CancelScope() as self._scope:
                    await self._upgrade(attempt)
            finally:
                self._attempt = None
                attempt.outcome = attempt.outcome or NotUpgraded("this program was stopped meanwhile")
                attempt.done.set()

    async def _upgrade(self, attempt: Attempt) -> None:
        try:
            await self._try(attempt)
        except NotUpgraded as exc:
            attempt.outcome = exc
        except Exception:  # no bug in here may end the traffic
            log.exception("bug in an upgrade")
            attempt.outcome = attempt.outcome or NotUpgraded("this program has a bug; its log says more")
        if isinstance(attempt.outcome, NotUpgraded):
            self._balancer.metrics.upgrades["failure"] += 1
            log.error("not upgraded; this program goes on", why=str(attempt.outcome))
            self._tell("not upgraded", str(attempt.outcome))

    async def _try(self, attempt: Attempt) -> None:
        """Start a new program, and hand over once it is ready. Again, where the wishes are others by then."""
        began = trio.current_time()
        for _ in range(ATTEMPTS):
            async with self._newcomer() as (process, channel):
                changes = await self._changes()
                ready = await self._made_ready(process, channel, changes)
                if not await self._are_still(changes):
                    continue
                await self._hand_over(process, channel, ready)
                seconds = round(trio.current_time() - began, 3)
                attempt.outcome = Replacement(pid=process.pid, version=ready.program, seconds=seconds)
                attempt.done.set()
                log.info("upgraded", pid=process.pid, version=ready.program, seconds=seconds)
            self._scope = trio.CancelScope()
            await self._farewell(process, channel)
            return
        raise NotUpgraded("operators have changed something each time while the new program became ready")

    async def _are_still(self, changes: state_file.Changes) -> bool:
        """Whether these are the wishes. Where they are, from here on no operator changes anything."""
        registry = self._balancer.registry
        await self._balancer.stop_saving()
        revision = registry.revision
        is_same = await self._changes() == changes and registry.revision == revision
        self._balancer.control.is_handing_over = is_same
        return is_same

    async def _changes(self) -> state_file.Changes:
        control = self._balancer.control
        async with control.one_set_at_a_time:
            return await sliced(state_file.comparing(control.config.pools, control.registry))

    @asynccontextmanager
    async def _newcomer(self) -> AsyncIterator[tuple[trio.Process, Channel]]:
        """The new program and the channel to it. It is killed unless it has taken over by the end."""
        command = command_of(self._source)
        ours, theirs = socket.socketpair()
        with theirs:
            channel = Channel(ours)
            handed = [number for each in self._sockets() for number in each.descriptors]
            numbers = [theirs.fileno(), *handed, *self._balancer.control.admin_sockets]
            environment = {**os.environ, VARIABLE: str(theirs.fileno())}
            log.info("upgrading", program=command.program)
            self._tell("upgrading", " ".join(command.program))
            try:
                process = await trio.lowlevel.open_process(
                    [*command.program, *command.arguments], pass_fds=numbers, env=environment
                )
            except OSError as exc:
                await channel.aclose()
                raise NotUpgraded(f"{command.program[0]} cannot be started: {exc.strerror or exc}") from exc
        try:
            yield process, channel
        finally:
            if not self._successor:
                with trio.CancelScope(shield=True):
                    await self._end(process)
                    await channel.aclose()

    async def _end(self, process: trio.Process) -> None:
        """One that may have accepted connections ends gracefully, within the grace; any other at once."""
        if self._balancer.control.is_handing_over:
            self._balancer.control.is_handing_over = False
            process.terminate()
        else:
            process.kill()
        with trio.move_on_after(END_SECONDS):
            await process.wait()

    def _sockets(self) -> tuple[Sockets, ...]:
        return tuple(
            Sockets(address=address, descriptors=tuple(each.sock.fileno() for each in listeners))
            for address, listeners in self._balancer.listeners.items()
        )

    def _admin(self) -> Sockets | None:
        control = self._balancer.control
        if not control.admin_sockets:
            return None
        return Sockets(address=control.config.admin.listen, descriptors=tuple(control.admin_sockets))

    async def _made_ready(
        self, process: trio.Process, channel: Channel, changes: state_file.Changes
    ) -> Ready:
        """Make the offer, and wait until the new program is ready; NotUpgraded with what keeps it."""
        longest = self._balancer.config.timeouts.upgrade
        with trio.move_on_after(longest):
            with suppress(trio.BrokenResourceError):  # it has ended; perhaps it has said why
                await channel.send(self._offer(changes))
            match await channel.receive():
                case Ready() as ready:
                    return ready
                case Refused(why=why):
                    raise NotUpgraded(why)
                case None:
                    raise NotUpgraded(await self._how_it_ended(process))
                case _:
                    raise NotUpgraded("the new program does not follow the order of the messages")
        raise NotUpgraded(f"the new program was not ready within {longest:g} s (timeouts.upgrade)")

    async def _how_it_ended(self, process: trio.Process) -> str:
        with trio.move_on_after(1.0):
            await process.wait()
            how = how_it_ended(process.returncode or 0)
            return f"the new program ended ({how}) before it served; its last words are on stderr"
        return "the new program does not know upgrades; is it older?"

    def _offer(self, changes: state_file.Changes) -> Offer:
        balancer = self._balancer
        return Offer(
            program=VERSION,
            pid=os.getpid(),
            listeners=self._sockets(),
            admin=self._admin(),
            changes=changes,
            down=wishes.down(balancer.registry),
            cookie_key=balancer.cookie_keys.read(None),
            upgrades=balancer.metrics.upgrades["success"],
            found=wishes.found(balancer.registry),
            own=balancer.control.cluster.own_state(),
        )

    async def _hand_over(self, process: trio.Process, channel: Channel, ready: Ready) -> None:
        """Let the new program serve; then this one does not."""
        balancer = self._balancer
        try:
            with trio.fail_after(TAKE_OVER_SECONDS):
                await channel.send(wishes.take_over(balancer.control))
                if not isinstance(await channel.receive(), Serving):
                    raise NotUpgraded(await self._how_it_ended(process))
        except trio.BrokenResourceError:
            raise NotUpgraded(await self._how_it_ended(process)) from None
        except trio.TooSlowError:
            raise NotUpgraded(f"the new program did not serve within {TAKE_OVER_SECONDS:g} s") from None
        self._successor = process.pid
        with trio.CancelScope(shield=True):  # it takes PATIENCE_SECONDS at most
            await self._release(process.pid)
        self._tell("upgraded", f"process {process.pid}, version {ready.program}")
        balancer.hand_over(ready.taken)

    async def _farewell(self, process: trio.Process, channel: Channel) -> None:
        """Until the new program ends, tell it of the requests that end here, and heed its operators."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell_in_flight, channel)
            await self._heed(channel)
            nursery.cancel_scope.cancel()
        await channel.aclose()
        await process.wait()  # it is a child of this one, which may outlive it

    async def _tell_in_flight(self, channel: Channel) -> None:
        told = dict[str, int]()
        with suppress(trio.BrokenResourceError):  # it has ended before this one
            await channel.send(Replaced())
            while True:
                now = wishes.in_flight(self._balancer.registry)
                changed = {name: now.get(name, 0) for name in {*now, *told}}
                if changed != told:
                    await channel.send(InFlight(counts=changed))
                told = now
                await trio.sleep(TELL_SECONDS)

    async def _heed(self, channel: Channel) -> None:
        """Until the new program has ended."""
        with suppress(NotUpgraded):
            while isinstance(message := await channel.receive(), Wished):
                wishes.heed(message, self._balancer.registry)
