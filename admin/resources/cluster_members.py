"""/cluster: the balancers that share what operators wish; and local overrides, until they are withdrawn."""

from functools import partial

from quart import Response

from admin.input import parameters
from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.operation import Operation
from admin.protocol.problems import Problem
from admin.views.cluster_json import ClusterView, DrainInCluster, cluster_view, drain_in_cluster
from lb.config.token_scope import Scope
from lb.control import Control


def operations(control: Control) -> tuple[Operation, ...]:
    """Look at the cluster, and let this balancer follow it again."""

    async def show(call: Call) -> Response:
        return responses.json(await cluster_view(control))

    async def drain(call: Call, backend_id: str) -> Response:
        _in_a_cluster(control)
        everywhere = await control.cluster.drained(backend_id, 0, call.get(parameters.WAIT) or 0.0)
        return responses.json(drain_in_cluster(everywhere))

    async def forget(call: Call, name: str) -> Response:
        _in_a_cluster(control)
        if not await control.cluster.forget(name):
            raise Problem("not-found", f"there is no lost balancer {name!r}: GET /cluster shows which are")
        return responses.json(await cluster_view(control))

    async def go_on(call: Call, *, with_ours: bool) -> Response:
        await call.take_posted_parameters()
        _in_a_cluster(control)
        await control.cluster.go_on(with_ours=with_ours)
        return responses.json(await cluster_view(control))

    async def withdraw_backend(call: Call, backend_id: str) -> Response:
        for own in control.cluster.own_wishes():
            if own.backend_id == backend_id:
                return await withdraw(own.pool, backend_id)
        raise Problem("not-found", f"backend {backend_id!r} has no local override here")

    async def withdraw_pool(call: Call, name: str) -> Response:
        return await withdraw(name, "")

    async def withdraw(pool: str, backend_id: str) -> Response:
        if not await control.cluster.withdraw(pool, backend_id):
            raise Problem("not-found", f"pool {pool!r} has no local override here")
        return responses.json(await cluster_view(control))

    return (
        Operation(
            method="GET",
            path="/cluster",
            summary="the balancers that share operators' wishes, and how far each is",
            handler=show,
            answers={200: ClusterView},
        ),
        Operation(
            method="GET",
            path="/cluster/drains/{id}",
            summary="how far the drain of a backend is on all balancers; ?wait=30s",
            handler=drain,
            parameters=(parameters.WAIT,),
            answers={200: DrainInCluster},
            problems=(404, 503),
        ),
        Operation(
            method="DELETE",
            path="/cluster/members/{name}",
            summary="forget a balancer that is lost and will not come back",
            handler=forget,
            answers={200: ClusterView},
            problems=(404, 503),
        ),
        Operation(
            method="POST",
            path="/cluster/restore",
            summary="etcd was wiped: put the wishes back that are held here, and follow it again",
            handler=partial(go_on, with_ours=True),
            posted_parameters=True,
            answers={200: ClusterView},
            problems=(404, 503, 504),
        ),
        Operation(
            method="POST",
            path="/cluster/accept",
            summary="etcd was wiped or restored: follow it as it is; held wishes are lost",
            handler=partial(go_on, with_ours=False),
            posted_parameters=True,
            answers={200: ClusterView},
            problems=(404, 503),
        ),
        Operation(
            method="DELETE",
            path="/backends/{id}/local",
            summary="in a cluster: withdraw what ?local=true has changed",
            handler=withdraw_backend,
            needs=Scope.DRAIN,
            answers={200: ClusterView},
            problems=(404,),
        ),
        Operation(
            method="DELETE",
            path="/pools/{name}/local",
            summary="in a cluster: the same of the settings of a pool",
            handler=withdraw_pool,
            answers={200: ClusterView},
            problems=(404,),
        ),
    )


def _in_a_cluster(control: Control) -> None:
    """404 where there is none."""
    if not control.cluster.is_shared:
        raise Problem("not-found", "this balancer is in no cluster: its configuration has no [cluster]")
