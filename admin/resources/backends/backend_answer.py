"""What the answers about one backend have in common: its lookup, entity tag, warning and JSON."""

from collections.abc import Mapping

from quart import Response

from admin.changes.persistence import save
from admin.protocol import etags, responses
from admin.protocol.call import Call
from admin.protocol.problems import Problem
from admin.views import backend_json
from lb.control import Control
from lb.core.backend import AdminState, Backend
from lb.core.drain import Drain
from lb.core.registry import NotThere


def found(control: Control, backend_id: str) -> Backend:
    """The backend with this id; 404 where there is none."""
    try:
        return control.registry.backend(backend_id)
    except NotThere as exc:
        raise Problem("not-found", str(exc)) from exc


def found_for_change(control: Control, call: Call, backend_id: str) -> Backend:
    """The same; also 412 where the call's conditions do not hold at its revision."""
    backend = found(control, backend_id)
    etags.check(call.request, backend.revision)
    return backend


async def changed(
    control: Control, backend: Backend, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """The backend as it is now, once the change is saved."""
    return item(control, backend, await save(control), status, headers=headers)


def item(
    control: Control,
    backend: Backend,
    persisted: bool,
    status: int = 200,
    drain: Drain | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The backend as it is now; `drain` is shown where the backend has none any more."""
    view = backend_json.backend_alone(control, backend, drain)
    view.persisted = persisted
    return responses.json(
        view, status, {**tag(backend.revision), **_warning(control, backend), **(headers or {})}
    )


def gone(control: Control, backend: Backend) -> Response:
    """204: the backend is removed."""
    return responses.nothing(204, _warning(control, backend))


def tag(revision: int) -> dict[str, str]:
    """The field ETag for this revision."""
    return {"ETag": etags.etag(revision)}


def _warning(control: Control, backend: Backend) -> dict[str, str]:
    """To take out the last backend of a pool is allowed, but the answer warns of it."""
    pool = control.registry.pools.get(backend.pool)
    if pool is None:
        return {}
    if any(each.admin_state is AdminState.READY and each.spec.weight for each in pool.backends):
        return {}
    return {"Lb-Warning": f"pool {pool.name} has no backend that takes requests"}
