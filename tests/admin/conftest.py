"""Fixtures of the operator's side."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio

from admin.server import supervised
from lb.control import Control
from lb.core.backend import Backend
from lb.settings.backend_spec import BackendSpec
from lb.settings.balancer_settings import AdminConfig
from tests.admin.kit import (
    Add,
    Api,
    FakeRunning,
    FakeWorkers,
    Hold,
    Holder,
    MakeApi,
    Saves,
    Serve,
    Service,
    make_control,
)


@pytest.fixture
def saves() -> Saves:
    return Saves()


@pytest.fixture
async def control(saves: Saves) -> Control:
    return make_control(saves)


@pytest.fixture
async def api(control: Control) -> Api:
    return Api(control)


@pytest.fixture
async def make_api(saves: Saves) -> MakeApi:
    def make(admin: AdminConfig, token: str | None = None, listening: Sequence[str] = ()) -> Api:
        control = make_control(saves, admin)
        control.listening = list(listening)
        return Api(control, token)

    return make


@pytest.fixture
async def add(control: Control) -> Add:
    """Adds a backend as the file would."""

    def add(backend_id: str, pool: str = "default", **settings: Any) -> Backend:
        settings.setdefault("url", "http://10.0.0.1:80")
        return control.registry.add(BackendSpec(id=backend_id, **settings), pool, "config")[0]

    return add


@pytest.fixture
async def runs(control: Control) -> FakeRunning:
    """The exchanges that run, as the API sees them."""
    control.running = made = FakeRunning(control.started)
    return made


@pytest.fixture
async def crew(control: Control) -> FakeWorkers:
    """Two workers, of which the second is silent."""
    control.workers = made = FakeWorkers(control.started)
    return made


@pytest.fixture
async def hold(control: Control) -> Hold:
    """Puts a request in flight on a backend."""

    def hold(backend: Backend) -> Holder:
        pool = control.registry.pools[backend.pool]
        holder = Holder(lambda holder: pool.release(backend, holder))
        backend.running.add(holder)
        pool.in_flight += 1
        return holder

    return hold


@pytest.fixture
async def serve(control: Control) -> Serve:
    """`async with serve() as service`: up until the block ends, and down within its own limits."""

    @asynccontextmanager
    async def serve() -> AsyncIterator[Service]:
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            bound = await nursery.start(partial(supervised, control, None, stop=stop))
            host, _, port = bound.rpartition(":")
            yield Service(control, host, int(port), stop)
            stop.set()

    return serve
