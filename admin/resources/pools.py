"""/pools: the pools, their queues and their settings, which change while requests flow.

A client of the API may neither run code on this machine nor read its files: only the configuration file may
name a class to import or a secret to open.
"""

from collections.abc import Iterator, Sequence

import msgspec
from quart import Response

from admin.changes.changeable import changeable
from admin.changes.persistence import check_everywhere, save
from admin.input import parameters
from admin.input.pool_input import PoolPatch, patched
from admin.protocol import etags, responses
from admin.protocol.call import Call
from admin.protocol.mistakes import Mistake
from admin.protocol.operation import Operation
from admin.protocol.problems import Problem, invalid
from admin.resources.backends.backend_answer import revision_of_all, tag_of_all
from admin.security.redaction import hidden_settings
from admin.views import backend_json
from lb.control import Control
from lb.core.policies.catalogue import own_policy
from lb.core.pool import Pool
from lb.core.registry import NotThere
from lb.errors import ConfigError
from lb.settings.named_code import known_policies, unknown_files
from lb.settings.pool_settings import PoolSettings
from lb.slices import listed, made, to_the_end

COLUMNS = ("POOL", "POLICY", "BACKENDS", "AVAILABLE", "IN_FLIGHT", "WAITING", "PANIC")


class Queue(msgspec.Struct, kw_only=True):
    """Requests that wait because every backend is at its cap."""

    length: int
    limit: int


class RetryBudget(msgspec.Struct, kw_only=True):
    """The retries that the budget has left now, and those granted and refused since the start."""

    left: int
    spent: int
    exhausted: int


class PolicyFailures(msgspec.Struct, kw_only=True):
    """How often a custom policy has failed, and the text of its last error."""

    total: int
    last: str | None


class PoolView(msgspec.Struct, kw_only=True):
    """One pool with its settings and the ids of its backends.

    `hedged` counts second attempts beside slow first ones. A pool panics while too few of its backends are
    fit: all ready backends are used then. `policy_failures` is null unless the policy is a custom one.
    """

    name: str
    policy: str
    totals: backend_json.Totals
    queue: Queue
    backends: list[str]
    is_panicking: bool
    retry_budget: RetryBudget
    hedged: int
    policy_failures: PolicyFailures | None
    settings: PoolSettings
    persisted: bool | msgspec.UnsetType = msgspec.UNSET


class PoolList(msgspec.Struct, kw_only=True):
    """Every pool."""

    items: list[PoolView]


def operations(control: Control) -> tuple[Operation, ...]:
    """All that can be done with pools."""
    handlers = Pools(control)
    known = "It is at the revision in If-None-Match."
    return (
        Operation(
            method="GET",
            path="/pools",
            counts=True,
            summary="list pools",
            handler=handlers.list,
            parameters=(parameters.FORMAT,),
            answers={200: PoolList, 304: known},
            media_types=(responses.TEXT,),
        ),
        Operation(
            method="GET",
            path="/pools/{name}",
            counts=True,
            summary="one pool and its settings",
            handler=handlers.show,
            answers={200: PoolView, 304: known},
            problems=(404,),
        ),
        Operation(
            method="PATCH",
            path="/pools/{name}",
            summary="change settings: -d policy=ewma -d probe.path=/healthz",
            handler=changeable(control, lambda stage: Pools(stage).patch),
            parameters=(parameters.LOCAL, parameters.DRY_RUN),
            body_type=PoolPatch,
            answers={200: PoolView},
            problems=(404, 412),
        ),
    )


class Pools:
    """The handlers. The revision of a pool is that of the whole registry."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.registry = control.registry

    async def list(self, call: Call) -> Response:
        items = [await self._view(pool) for pool in [*self.registry.pools.values()]]
        if call.get(parameters.FORMAT) is parameters.Format.TABLE:
            return responses.text(responses.table(COLUMNS, [_row(view) for view in items]))
        return self._unless_known(call, PoolList(items=items))

    async def show(self, call: Call, name: str) -> Response:
        return self._unless_known(call, await self._view(self._there(name)))

    async def patch(self, call: Call, name: str) -> Response:
        body = await call.body()
        async with self.control.one_set_at_a_time:
            pool = self._there(name)
            etags.check(call.request, revision_of_all(self.control))
            settings = patched(pool.settings, body)
            if mistakes := [*self._objections(pool.settings, settings)]:
                raise invalid(*mistakes)
            await self._configure(pool, settings)
        saved = await save(self.control)
        check_everywhere(saved.control, f"settings of pool {pool.name}")
        there = Pools(saved.control)
        view = await there._view(there._there(name))
        view.persisted = saved.is_kept
        return responses.json(view, headers=tag_of_all(saved.control))

    def _objections(self, now: PoolSettings, wanted: PoolSettings) -> Iterator[Mistake]:
        """A mistake for code or a file that the configuration does not name."""
        known = now, *self.control.config.pools.values()
        policies = known_policies(known)
        if wanted.policy not in policies:
            why = "the configuration names no such class, and code is not imported for the API"
            hint = f"there are: {', '.join(sorted(policies))}"
            yield Mistake(pointer="#/policy", detail=f"{why}: {wanted.policy}", hint=hint)
        for pointer in unknown_files(wanted, known):
            detail = "the configuration names no such file, and no other one is read for the API"
            yield Mistake(pointer=pointer, detail=detail)

    async def _configure(self, pool: Pool, settings: PoolSettings) -> None:
        try:
            await to_the_end(made(self.registry.configuring(pool, settings)))
        except ConfigError as exc:
            raise invalid(Mistake(pointer="#/sticky", detail=str(exc))) from exc
        except ValueError as exc:
            raise invalid(Mistake(pointer="#/policy", detail=str(exc))) from exc

    def _there(self, name: str) -> Pool:
        try:
            return self.registry.pool(name)
        except NotThere as exc:
            raise Problem("not-found", str(exc)) from exc

    def _unless_known(self, call: Call, body: PoolList | PoolView) -> Response:
        headers = tag_of_all(self.control)
        if etags.is_known(call.request, revision_of_all(self.control)):
            return responses.nothing(304, headers)
        return responses.json(body, headers=headers)

    async def _view(self, pool: Pool) -> PoolView:
        ids = await listed(each.id for each in [*pool.backends])
        totals = await backend_json.totals(pool.backends)
        budget = pool.budget
        return PoolView(
            name=pool.name,
            policy=pool.settings.policy,
            totals=totals,
            queue=Queue(length=pool.waiting, limit=pool.settings.queue),
            backends=ids,
            is_panicking=pool.is_panicking,
            retry_budget=RetryBudget(
                left=budget.left(self.registry.now()), spent=budget.spent, exhausted=budget.exhausted
            ),
            hedged=pool.hedged,
            policy_failures=_failures(pool),
            settings=hidden_settings(pool.settings),
        )


def _failures(pool: Pool) -> PolicyFailures | None:
    policy = own_policy(pool.policy)
    return None if policy is None else PolicyFailures(total=policy.failures, last=policy.last_failure or None)


def _row(view: PoolView) -> Sequence[object]:
    totals = view.totals
    counts = totals.backends, totals.available, totals.in_flight, view.queue.length
    return view.name, view.policy, *counts, "yes" if view.is_panicking else ""
