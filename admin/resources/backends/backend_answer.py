"""What the answers about one backend have in common: its lookup, entity tag, warning and JSON."""

from collections.abc import Mapping
from zlib import crc32

import msgspec
from quart import Response

from admin.changes.persistence import save
from admin.protocol import etags, responses
from admin.protocol.call import Call
from admin.protocol.problems import Problem
from admin.views import backend_json
from admin.views.cluster_json import drain_in_cluster
from lb.control import Control
from lb.core.backend import AdminState, Backend
from lb.core.cluster_view import DrainEverywhere
from lb.core.drain import Drain
from lb.core.registry import NotThere
from lb.suggestions import did_you_mean


def found(control: Control, backend_id: str) -> Backend:
    """The backend with this id; 404 where there is none."""
    try:
        return control.registry.backend(backend_id)
    except NotThere as exc:
        raise Problem("not-found", f"{exc}{did_you_mean(backend_id, control.registry.backends)}") from exc


def found_for_change(control: Control, call: Call, backend_id: str) -> Backend:
    """The same; also 412 where the call's conditions do not hold at its revision."""
    backend = found(control, backend_id)
    etags.check(call.request, revision_of(control, backend))
    return backend


async def changed(
    control: Control, backend: Backend, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """The backend as it is now, once the change is saved."""
    saved = await save(control)
    return await item(saved.control, saved.still(backend), saved.is_kept, status, headers=headers)


async def item(
    control: Control,
    backend: Backend,
    persisted: bool,
    status: int = 200,
    drain: Drain | None = None,
    headers: Mapping[str, str] | None = None,
    everywhere: DrainEverywhere | None = None,
) -> Response:
    """The backend as it is now; `drain` is shown where the backend has none any more.

    `everywhere` is how far its drain is in the cluster.
    """
    view = await backend_json.backend_alone(control, backend, drain)
    view.persisted = persisted
    if everywhere is not None:
        view.cluster = drain_in_cluster(everywhere)
    warnings = {**_warning(control, backend), **_unsure(everywhere)}
    return responses.json(view, status, {**tag_of(control, backend), **warnings, **(headers or {})})


def gone(control: Control, backend: Backend) -> Response:
    """204: the backend is removed."""
    return responses.nothing(204, _warning(control, backend))


def _unsure(everywhere: DrainEverywhere | None) -> dict[str, str]:
    """The warning that members of the cluster may still use the backend, since nobody has heard of them."""
    if everywhere is None or not (everywhere.lost or everywhere.otherwise):
        return {}
    whys = {"not been heard for so long": everywhere.lost, "it otherwise": everywhere.otherwise}
    words = [f"{', '.join(names)} may still use it: has {why}" for why, names in whys.items() if names]
    return {"Lb-Warning": "; ".join(words)}


def revision_of(control: Control, backend: Backend) -> etags.Revision:
    """What an entity tag of this backend is made of: in a cluster it is the same on all balancers."""
    if not control.cluster.is_shared:
        return backend.revision
    said = crc32(msgspec.json.encode(backend.spec, order="sorted"))
    return f"{control.cluster.tag(backend.pool, backend.id)}-{said:08x}"


def revision_of_all(control: Control) -> etags.Revision:
    """The same for all backends and pools together."""
    return control.cluster.tag_of_all() if control.cluster.is_shared else control.registry.revision


def tag_of(control: Control, backend: Backend) -> dict[str, str]:
    """The field ETag of this backend."""
    return {"ETag": etags.etag(revision_of(control, backend))}


def tag_of_all(control: Control) -> dict[str, str]:
    """The field ETag of all backends and pools together."""
    return {"ETag": etags.etag(revision_of_all(control))}


def _warning(control: Control, backend: Backend) -> dict[str, str]:
    """To take out the last backend of a pool is allowed, but the answer warns of it."""
    pool = control.registry.pools.get(backend.pool)
    if pool is None:
        return {}
    if any(each.admin_state is AdminState.READY and each.spec.weight for each in pool.backends):
        return {}
    return {"Lb-Warning": f"pool {pool.name} has no backend that takes requests"}
