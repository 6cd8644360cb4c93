"""/backends: look at backends, add, change and remove them, and take them out or back in.

backend_listing     the list, and one backend
backend_settings    add, change, or replace the set of a pool
backend_states      drain, ready, maintenance, remove, check
backend_answer      what the answers have in common
"""

from admin.changes.changeable import changeable
from admin.input import backend_input, parameters
from admin.protocol import responses
from admin.protocol.operation import Operation
from admin.resources.backends.backend_listing import BackendListing
from admin.resources.backends.backend_settings import BackendSettings
from admin.resources.backends.backend_states import BackendStates
from admin.views.backend_history import BackendHistory
from admin.views.backend_json import BackendList, BackendView
from lb.config.token_scope import Scope
from lb.control import Control


def operations(control: Control) -> tuple[Operation, ...]:
    """All that can be done with backends."""
    return *_of_settings(control), *_of_states(control)


def _of_settings(control: Control) -> tuple[Operation, ...]:
    listing = BackendListing(control)
    return (
        Operation(
            method="GET",
            path="/backends",
            counts=True,
            summary="list backends",
            handler=listing.list,
            parameters=(parameters.POOL, parameters.STATE, parameters.FORMAT),
            answers={200: BackendList, 304: "It is at the revision in If-None-Match."},
            media_types=(responses.TEXT,),
        ),
        Operation(
            method="POST",
            path="/backends",
            summary="add a backend: -d url=http://127.0.0.1:8084 -d weight=2",
            handler=changeable(control, lambda stage: BackendSettings(stage).add),
            parameters=(parameters.LOCAL, parameters.DRY_RUN),
            body_type=backend_input.BackendFields,
            answers={201: BackendView, 200: BackendView},
            problems=(409, 412),
        ),
        Operation(
            method="PUT",
            path="/backends",
            summary="replace the whole set of a pool; those that vanish drain and leave",
            handler=changeable(control, lambda stage: BackendSettings(stage).replace),
            parameters=(
                parameters.TARGET,
                parameters.DRAIN_TIMEOUT,
                parameters.KEEP_AVAILABLE,
                parameters.LOCAL,
                parameters.DRY_RUN,
            ),
            body_type=backend_input.PoolFields,
            body_schemas={responses.JSON: backend_input.WHOLE_SET},
            answers={200: BackendList, 202: BackendList},
            problems=(409, 412),
        ),
        Operation(
            method="GET",
            path="/backends/{id}",
            counts=True,
            summary="one backend; ?wait=drained&timeout=30s waits for its drain",
            handler=listing.show,
            parameters=(parameters.UNTIL, parameters.WAIT_TIMEOUT, parameters.FORMAT),
            answers={200: BackendView, 304: "It is at the revision in If-None-Match."},
            media_types=(responses.TEXT,),
            problems=(404, 409),
        ),
        Operation(
            method="GET",
            path="/backends/{id}/history",
            summary="its last five minutes: rates, failures, latencies, requests in flight",
            handler=listing.history,
            answers={200: BackendHistory},
            problems=(404,),
        ),
        Operation(
            method="PUT",
            path="/backends/{id}",
            summary="create it, or give it these settings",
            handler=changeable(control, lambda stage: BackendSettings(stage).put),
            parameters=(parameters.LOCAL, parameters.DRY_RUN),
            body_type=backend_input.BackendFields,
            answers={201: BackendView, 200: BackendView},
            problems=(409, 412),
        ),
        Operation(
            method="PATCH",
            path="/backends/{id}",
            summary="change some settings: -d weight=5",
            handler=changeable(control, lambda stage: BackendSettings(stage).patch),
            parameters=(parameters.LOCAL, parameters.DRY_RUN),
            body_type=backend_input.BackendPatch,
            answers={200: BackendView},
            problems=(404, 409, 412),
        ),
    )


def _of_states(control: Control) -> tuple[Operation, ...]:
    states = BackendStates(control)
    return (
        Operation(
            method="DELETE",
            path="/backends/{id}",
            counts=True,
            summary="drain, then remove; ?wait=30s waits, ?force=true cuts",
            handler=changeable(control, lambda stage: BackendStates(stage).delete),
            parameters=(
                parameters.DRAIN_TIMEOUT,
                parameters.WAIT,
                parameters.FORCE,
                parameters.KEEP_AVAILABLE,
                parameters.LOCAL,
                parameters.DRY_RUN,
            ),
            answers={204: "It is gone.", 202: BackendView},
            problems=(404, 409, 412),
        ),
        Operation(
            method="POST",
            path="/backends/{id}/drain",
            counts=True,
            summary="no new request, let the running ones end; ?wait=30s&timeout=60s&then=remove",
            handler=changeable(control, lambda stage: BackendStates(stage).drain),
            needs=Scope.DRAIN,
            parameters=(
                parameters.TIMEOUT,
                parameters.THEN,
                parameters.WAIT,
                parameters.KEEP_AVAILABLE,
                parameters.LOCAL,
            ),
            posted_parameters=True,
            answers={200: BackendView, 202: BackendView},
            problems=(404, 409, 412),
        ),
        Operation(
            method="POST",
            path="/backends/{id}/ready",
            summary="take requests again; undoes a drain",
            handler=changeable(control, lambda stage: BackendStates(stage).ready),
            needs=Scope.DRAIN,
            parameters=(parameters.LOCAL,),
            posted_parameters=True,
            answers={200: BackendView},
            problems=(404, 412),
        ),
        Operation(
            method="POST",
            path="/backends/{id}/maintenance",
            counts=True,
            summary="out at once: what runs on it is cut",
            handler=changeable(control, lambda stage: BackendStates(stage).maintenance),
            parameters=(parameters.KEEP_AVAILABLE, parameters.LOCAL),
            needs=Scope.DRAIN,
            posted_parameters=True,
            answers={200: BackendView},
            problems=(404, 409, 412),
        ),
        Operation(
            method="POST",
            path="/backends/{id}/check",
            summary="send a probe now, and judge by it",
            handler=states.check,
            needs=Scope.DRAIN,
            posted_parameters=True,
            answers={200: BackendView},
            problems=(404, 409),
        ),
    )
