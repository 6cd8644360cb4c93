"""/pools: the pools, their queues and their settings, which change while requests flow.

A client of the API may neither run code on this machine nor read its files: only the configuration file may
name a class to import or a secret to open.
"""

from collections.abc import Iterator, Sequence

import msgspec
from quart import Response

from admin.changes.dry_run import rehearsable
from admin.changes.persistence import save
from admin.input import parameters
from admin.input.pool_input import PoolPatch, patched
from admin.protocol import etags, responses
from admin.protocol.call import Call
from admin.protocol.mistakes import Mistake
from admin.protocol.operation import Operation
from admin.protocol.problems import Problem, invalid
from admin.security.redaction import hidden_settings
from admin.views import backend_json
from admin.views.backend_series import custom_policy
from lb.control import Control
from lb.core.pool import Pool
from lb.core.registry import NotThere
from lb.errors import ConfigError
from lb.settings.pool_settings import POLICIES, PoolSettings

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
            summary="list pools",
            handler=handlers.list,
            parameters=(parameters.FORMAT,),
            answers={200: PoolList, 304: known},
            media_types=(responses.TEXT,),
        ),
        Operation(
            method="GET",
            path="/pools/{name}",
            summary="one pool and its settings",
            handler=handlers.show,
            answers={200: PoolView, 304: known},
            problems=(404,),
        ),
        Operation(
            method="PATCH",
            path="/pools/{name}",
            summary="change settings: -d policy=ewma -d probe.path=/healthz",
            handler=rehearsable(control, lambda stage: Pools(stage).patch),
            parameters=(parameters.DRY_RUN,),
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
        items = [self._view(pool) for pool in self.registry.pools.values()]
        if call.get(parameters.FORMAT) is parameters.Format.TABLE:
            return responses.text(responses.table(COLUMNS, [_row(view) for view in items]))
        return self._unless_known(call, PoolList(items=items))

    async def show(self, call: Call, name: str) -> Response:
        return self._unless_known(call, self._view(self._there(name)))

    async def patch(self, call: Call, name: str) -> Response:
        body = await call.body()
        pool = self._there(name)
        etags.check(call.request, self.registry.revision)
        settings = patched(pool.settings, body)
        if mistakes := [*self._objections(pool.settings, settings)]:
            raise invalid(*mistakes)
        self._configure(pool, settings)
        persisted = await save(self.control)
        view = self._view(pool)
        view.persisted = persisted
        return responses.json(view, headers=self._tag())

    def _objections(self, now: PoolSettings, wanted: PoolSettings) -> Iterator[Mistake]:
        """A mistake for code or a file that the configuration does not name."""
        configured = self.control.config.pools.values()
        policies = {*POLICIES, *(pool.policy for pool in configured), now.policy}
        if wanted.policy not in policies:
            why = "the configuration names no such class, and code is not imported for the API"
            hint = f"there are: {', '.join(sorted(policies))}"
            yield Mistake(pointer="#/policy", detail=f"{why}: {wanted.policy}", hint=hint)
        if _secret_file(wanted) not in {None, _secret_file(now), *map(_secret_file, configured)}:
            detail = "the configuration names no such file, and no other one is read for the API"
            yield Mistake(pointer="#/sticky/secret_file", detail=detail)

    def _configure(self, pool: Pool, settings: PoolSettings) -> None:
        try:
            self.registry.configure(pool, settings)
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
        if etags.is_known(call.request, self.registry.revision):
            return responses.nothing(304, self._tag())
        return responses.json(body, headers=self._tag())

    def _tag(self) -> dict[str, str]:
        return {"ETag": etags.etag(self.registry.revision)}

    def _view(self, pool: Pool) -> PoolView:
        budget = pool.budget
        return PoolView(
            name=pool.name,
            policy=pool.settings.policy,
            totals=backend_json.totals(pool.backends),
            queue=Queue(length=pool.waiting, limit=pool.settings.queue),
            backends=[each.id for each in pool.backends],
            is_panicking=pool.is_panicking,
            retry_budget=RetryBudget(
                left=budget.left(self.registry.now()), spent=budget.spent, exhausted=budget.exhausted
            ),
            hedged=pool.hedged,
            policy_failures=_failures(pool),
            settings=hidden_settings(pool.settings),
        )


def _secret_file(settings: PoolSettings) -> str | None:
    return None if settings.sticky is None else settings.sticky.secret_file


def _failures(pool: Pool) -> PolicyFailures | None:
    policy = custom_policy(pool)
    return None if policy is None else PolicyFailures(total=policy.failures, last=policy.last_failure or None)


def _row(view: PoolView) -> Sequence[object]:
    totals = view.totals
    counts = totals.backends, totals.available, totals.in_flight, view.queue.length
    return view.name, view.policy, *counts, "yes" if view.is_panicking else ""
