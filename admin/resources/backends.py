"""/backends: what can be done with backends. How it is done stands in `admin.resources.backend_handlers`."""

from admin.input import backend_input
from admin.input import parameters as given
from admin.protocol import responses
from admin.protocol.dry_run import rehearsable
from admin.protocol.operation import Operation
from admin.resources.backend_handlers import Backends
from admin.views import backend_json
from lb.config.token_scope import Scope
from lb.control import Control


def operations(control: Control) -> tuple[Operation, ...]:
    """All that can be done with backends."""
    views = Backends(control)
    one, many = backend_json.BackendView, backend_json.BackendList
    return (
        Operation(
            method="GET",
            path="/backends",
            says="list backends",
            view=views.list,
            parameters=(given.POOL, given.STATE, given.FORMAT),
            answers={200: many, 304: "It is at the revision in If-None-Match."},
            texts=(responses.TEXT,),
        ),
        Operation(
            method="POST",
            path="/backends",
            says="add a backend: -d url=http://127.0.0.1:8084 -d weight=2",
            view=rehearsable(control, lambda stage: Backends(stage).add),
            parameters=(given.DRY_RUN,),
            fields=backend_input.BackendFields,
            answers={201: one, 200: one},
            problems=(409, 412),
        ),
        Operation(
            method="PUT",
            path="/backends",
            says="replace the whole set of a pool; those that vanish drain and leave",
            view=rehearsable(control, lambda stage: Backends(stage).replace),
            parameters=(given.TARGET, given.DRAIN_TIMEOUT, given.KEEP_AVAILABLE, given.DRY_RUN),
            fields=backend_input.PoolFields,
            media={responses.JSON: backend_input.WHOLE_SET},
            answers={200: many, 202: many},
            problems=(409, 412),
        ),
        Operation(
            method="GET",
            path="/backends/{id}",
            says="one backend; ?wait=drained&timeout=30s waits for its drain",
            view=views.show,
            parameters=(given.UNTIL, given.WAIT_TIMEOUT, given.FORMAT),
            answers={200: one, 304: "It is at the revision in If-None-Match."},
            texts=(responses.TEXT,),
            problems=(404,),
        ),
        Operation(
            method="PUT",
            path="/backends/{id}",
            says="create it, or give it these settings",
            view=rehearsable(control, lambda stage: Backends(stage).put),
            parameters=(given.DRY_RUN,),
            fields=backend_input.BackendFields,
            answers={201: one, 200: one},
            problems=(409, 412),
        ),
        Operation(
            method="PATCH",
            path="/backends/{id}",
            says="change some settings: -d weight=5",
            view=rehearsable(control, lambda stage: Backends(stage).patch),
            parameters=(given.DRY_RUN,),
            fields=backend_input.BackendPatch,
            answers={200: one},
            problems=(404, 409, 412),
        ),
        Operation(
            method="DELETE",
            path="/backends/{id}",
            says="drain, then remove; ?wait=30s waits, ?force=true cuts",
            view=rehearsable(control, lambda stage: Backends(stage).delete),
            parameters=(given.DRAIN_TIMEOUT, given.WAIT, given.FORCE, given.KEEP_AVAILABLE, given.DRY_RUN),
            answers={204: "It is gone.", 202: one},
            problems=(404, 409, 412),
        ),
        Operation(
            method="POST",
            path="/backends/{id}/drain",
            says="no new request, let the running ones end; ?wait=30s&timeout=60s&then=remove",
            view=views.drain,
            reach=Scope.DRAIN,
            parameters=(given.TIMEOUT, given.THEN, given.WAIT, given.KEEP_AVAILABLE),
            posted_parameters=True,
            answers={200: one, 202: one},
            problems=(404, 409, 412),
        ),
        Operation(
            method="POST",
            path="/backends/{id}/ready",
            says="take requests again; undoes a drain",
            view=views.ready,
            reach=Scope.DRAIN,
            posted_parameters=True,
            answers={200: one},
            problems=(404, 412),
        ),
        Operation(
            method="POST",
            path="/backends/{id}/maintenance",
            says="out at once: what runs on it is cut",
            view=views.maintenance,
            parameters=(given.KEEP_AVAILABLE,),
            reach=Scope.DRAIN,
            posted_parameters=True,
            answers={200: one},
            problems=(404, 409, 412),
        ),
        Operation(
            method="POST",
            path="/backends/{id}/check",
            says="send a probe now, and judge by it",
            view=views.check,
            reach=Scope.DRAIN,
            posted_parameters=True,
            answers={200: one},
            problems=(404, 409),
        ),
    )
