"""/pools/{name}/discover: where the backends of a pool are found, and what is held against their sources."""

import msgspec
from quart import Response

from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.operation import Operation
from admin.protocol.problems import Problem
from admin.views.source_json import SourceView, source_view
from lb.control import Control
from lb.core.registry import NotThere

PATH = "/pools/{name}/discover"


class SourceList(msgspec.Struct, kw_only=True):
    """The sources of a pool in the order of the file; none where its backends are only told."""

    pool: str
    items: list[SourceView]


class Accepted(msgspec.Struct, kw_only=True):
    """The backends that leave now, by id, and the sources that are followed again, by name."""

    pool: str
    accepted: list[str]
    sources: list[str]


def operations(control: Control) -> tuple[Operation, ...]:
    """All that can be done with sources."""
    handlers = PoolSources(control)
    return (
        Operation(
            method="GET",
            path=PATH,
            summary="the sources of a pool's backends, and what they said",
            handler=handlers.show,
            answers={200: SourceList},
            problems=(404,),
        ),
        Operation(
            method="POST",
            path=f"{PATH}/refresh",
            summary="ask the sources of a pool at once",
            handler=handlers.refresh,
            posted_parameters=True,
            answers={202: SourceList},
            problems=(404, 409),
        ),
        Operation(
            method="POST",
            path=f"{PATH}/accept",
            summary="let those leave that are held, and follow an etcd that was wiped",
            handler=handlers.accept,
            posted_parameters=True,
            answers={200: Accepted},
            problems=(404, 409),
        ),
    )


class PoolSources:
    """The handlers."""

    def __init__(self, control: Control) -> None:
        self.control = control

    async def show(self, call: Call, name: str) -> Response:
        self._known(name)
        return responses.json(self._list(name))

    async def refresh(self, call: Call, name: str) -> Response:
        await call.take_posted_parameters()
        self._known(name)
        if not self.control.discovery.refresh(name):
            raise Problem("conflict", f"pool {name!r} has no sources to ask")
        return responses.json(self._list(name), 202)

    async def accept(self, call: Call, name: str) -> Response:
        await call.take_posted_parameters()
        self._known(name)
        backends, sources = self.control.discovery.accept(name)
        if not backends and not sources:
            raise Problem("conflict", f"in pool {name!r} nothing is held")
        if backends:
            self.control.audit.changed(f"pools.{name}.held", len(backends), 0)
        for source in sources:
            self.control.audit.changed(f"pools.{name}.discover.{source}", "another etcd", "accepted")
        return responses.json(Accepted(pool=name, accepted=[*backends], sources=[*sources]))

    def _known(self, name: str) -> None:
        try:
            self.control.registry.pool(name)
        except NotThere as exc:
            raise Problem("not-found", str(exc)) from exc

    def _list(self, name: str) -> SourceList:
        standings = self.control.discovery.standings(name)
        return SourceList(pool=name, items=[source_view(self.control, each) for each in standings])
