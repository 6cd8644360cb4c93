"""Backends that name servers announce: the addresses of a name, or what its SRV records name.

They are asked again when their answer no longer counts, or every so often where that is configured, and
soon after a connection to a backend has failed. A look gives the whole set or fails: where one of the two
questions for addresses, IPv4 and IPv6, gets no answer, what the other one got is no set. A name that does not
exist is a failure too, since name servers say so when they have lost their data, and of a misspelt name. A
name that exists and has no such record is an empty set.

The messages are ours and not a library's: what there is reads an answer at one go, and so slowly that a
hundred records are felt by every request (tests/discovery/test_dns_message.py holds the two together).
"""

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

import trio

from lb.core.announced import Announced
from lb.discovery.backend_source import SourceFailed
from lb.discovery.dns_answer import Found
from lb.discovery.dns_message import Kind, name_of
from lb.discovery.dns_servers import NameServers, Server
from lb.discovery.dns_set import ROOT, FoundSet, of_addresses, of_services
from lb.discovery.dns_targets import Targets
from lb.settings.dns_url import parse_dns_url, parse_name_server
from lb.slices import sliced

SOON_SECONDS = 1.0
"""Shortest pause between two looks, whoever asks for one."""
SPREAD = 0.1
"""The part of a pause by which it may be shorter or longer, so that many balancers do not ask at once."""
LATEST_SECONDS = 0.5
"""It is not longer by more than this, or news would be late."""
IPV6_OFF = "; `ipv6 = false` asks for IPv4 alone"


class Pace(NamedTuple):
    """How soon the next look is: in `every` seconds, or as the answer lasts, within `least` and `most`."""

    every: float | None = None
    least: float = 1.0
    most: float = 30.0

    def pause(self, ttl: float | None, chance: float) -> float:
        """Seconds until the next look; `chance` is 0 to 1. No TTL is as one of 0."""
        seconds = self.every if self.every is not None else min(max(ttl or 0.0, self.least), self.most)
        return seconds + min(seconds * SPREAD * (2 * chance - 1), LATEST_SECONDS)


class Look(NamedTuple):
    """What one look has shown, and for how many seconds it counts."""

    found: FoundSet
    ttl: float | None


class DnsSource:
    """A source of backends. `url` is as in `parse_dns_url`, `resolvers` as in `parse_name_server`.

    Without `resolvers` those of the system are asked. `tcp` asks by TCP at once; without `ipv6` no IPv6
    address is asked for; without `weights` those of SRV records are not told. ValueError where one of
    them cannot be read.
    """

    kind = "dns"

    def __init__(
        self,
        url: str,
        *,
        resolvers: Sequence[str] = (),
        tcp: bool = False,
        ipv6: bool = True,
        weights: bool = True,
        every: float | None = None,
        least: float = 1.0,
        most: float = 30.0,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.where = url
        self._url = parse_dns_url(url)
        self._name = name_of(self._url.name)
        self._kinds = (Kind.A, Kind.AAAA) if ipv6 else (Kind.A,)
        self._servers = NameServers([_server(each) for each in resolvers], tcp=tcp)
        self._targets = Targets(self._servers, self._kinds)
        self._weights = weights
        self._pace = Pace(every, least, most)
        self._chance = chance
        self._wanted = trio.Event()

    def look_again(self) -> None:
        """Ask soon: a connection to a backend that was found here has failed."""
        self._wanted.set()

    async def run(self, tell: Callable[[Announced], None]) -> None:
        """As in `Source`."""
        is_due = False  # since its answer no longer counts; otherwise somebody wants to know
        while True:
            began = trio.current_time()
            self._wanted = trio.Event()
            look = await self._look(all_anew=not is_due or self._pace.every is not None)
            pause = self._pace.pause(look.ttl, self._chance())
            tell(Announced(look.found.backends, look.found.skipped, pause))
            with trio.move_on_after(pause) as undisturbed:
                await self._wanted.wait()
            is_due = undisturbed.cancelled_caught
            await trio.sleep_until(max(began + SOON_SECONDS, trio.current_time()))

    async def _look(self, *, all_anew: bool) -> Look:
        if self._url.is_service:
            return await self._look_at_services(all_anew=all_anew)
        answers = await self._ask_for_addresses()
        addresses = [record.data for answer in answers for record in answer.records]
        ttls = [answer.ttl for answer in answers if answer.ttl is not None]
        return Look(await sliced(of_addresses(self._url, addresses)), min(ttls, default=None))

    async def _ask_for_addresses(self) -> list[Found]:
        """The answers to all our questions; SourceFailed where one of them has none."""
        answers: dict[Kind, Found | SourceFailed] = {}
        async with trio.open_nursery() as nursery:
            for kind in self._kinds:
                nursery.start_soon(self._ask_into, answers, kind)
        failures = {kind: answer for kind, answer in answers.items() if isinstance(answer, SourceFailed)}
        if failures:
            hint = IPV6_OFF if [*failures] == [Kind.AAAA] else ""
            raise SourceFailed(f"{failures[min(failures)]}{hint}")
        return [answer for answer in answers.values() if isinstance(answer, Found)]

    async def _ask_into(self, answers: dict[Kind, Found | SourceFailed], kind: Kind) -> None:
        try:
            answers[kind] = await self._servers.ask(self._name, kind)
        except SourceFailed as exc:
            answers[kind] = exc

    async def _look_at_services(self, *, all_anew: bool) -> Look:
        answer = await self._servers.ask(self._name, Kind.SRV)
        until = trio.current_time() + (answer.ttl or 0)
        names = {record.data for record in answer.records} - {ROOT}
        await self._targets.look_up(names, answer.beside, all_anew=all_anew)
        troubles = (self._targets.trouble(name) for name in names)
        trouble = next((trouble for trouble in troubles if trouble is not None), None)
        if trouble is not None and not any(self._targets.addresses(name) for name in names):
            raise SourceFailed(f"no target of {self.where} has an address: {trouble}")
        found = await sliced(of_services(self._url, answer.records, self._targets, weights=self._weights))
        return Look(found, max(min(until, self._targets.until) - trio.current_time(), 0.0))


def _server(text: str) -> Server:
    try:
        return parse_name_server(text)
    except ValueError as exc:
        raise ValueError(f"resolvers: {exc}") from None
