"""The application: routes bound to operations, one way in (access) and one way out (headers, problems)."""

import logging
import re
import secrets

from quart import Response, g, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from admin.page import page
from admin.protocol import responses
from admin.protocol.dispatch import performed, refuse
from admin.protocol.operation import Operation
from admin.protocol.problems import Problem, of_http
from admin.resources import (
    about,
    alerting,
    audit,
    backends,
    balancer_drain,
    configuration,
    events,
    healthz,
    metrics,
    pools,
    recorded_requests,
    stats,
    whatif,
)
from admin.resources.about import VERSION
from admin.security import access
from admin.security.keyring import Keyring
from lb.control import Control
from lb.core.registry import Conflict, NotThere
from lb.observe.counters import METHODS

MAX_BODY = 64 * 1024
BODY_SECONDS = 10
PROBLEM = "application/problem+json"
PROBES = frozenset({"/healthz", "/readyz"})

log = logging.getLogger(__name__)


def create_app(control: Control, token: str | None) -> QuartTrio:
    """The admin API over this balancer. With tokens, all but the probes ask for one; `token` is one."""
    app = QuartTrio("admin", static_folder=None)
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False  # both would answer with a redirect that nobody asked for
    app.config.update(MAX_CONTENT_LENGTH=MAX_BODY, BODY_TIMEOUT=BODY_SECONDS)
    served = operations(control)
    for operation in served:
        _bind(app, control, operation)
    keyring = Keyring(token, control.config.admin.tokens_file, control.registry.now)
    _guard(app, control, keyring, {_rule(each) for each in served if each.is_open})
    _finish(app, control)
    _explain(app)
    return app


def operations(control: Control) -> tuple[Operation, ...]:
    """Everything that is served."""
    served: tuple[Operation, ...] = (
        *backends.operations(control),
        *pools.operations(control),
        *configuration.operations(control),
        *recorded_requests.operations(control),
        *stats.operations(control),
        *events.operations(control),
        *balancer_drain.operations(control),
        *healthz.operations(control),
        *metrics.operations(control, is_open=control.config.admin.metrics_open),
        *alerting.operations(is_open=control.config.admin.metrics_open),
        *audit.operations(control),
        *whatif.operations(control),
        *about.operations(control, lambda: served),
        *page.operations(),
    )
    return served


def _bind(app: QuartTrio, control: Control, operation: Operation) -> None:
    async def view(**path: str) -> Response:
        return await performed(control, operation, request, path)

    name = f"{operation.method} {operation.path}".replace(".", "_")  # a dot would name a blueprint
    app.add_url_rule(_rule(operation), name, view, methods=[operation.method])


def _rule(operation: Operation) -> str:
    return re.sub(r"\{(\w+)\}", r"<\1>", operation.path)


def _guard(app: QuartTrio, control: Control, keyring: Keyring, open_rules: set[str]) -> None:
    """Everybody is looked at before a view is; probes come by any name, for they learn nothing.

    Who is not let in may still have what is open; `/` then shows less.
    """

    @app.before_request
    async def check() -> None:
        g.request_id = secrets.token_hex(8)
        if request.path in PROBES:
            return
        access.check_host(request, (*control.config.admin.allowed_hosts, *_here()))
        if request.method not in ("GET", "HEAD", "OPTIONS"):
            _from_here(control)
        g.token = await access.bearer(request, keyring)
        g.is_let_in = g.token is not None
        if not g.is_let_in and (request.url_rule is None or request.url_rule.rule not in open_rules):
            raise refuse(control, request, access.unauthorized())


def _from_here(control: Control) -> None:
    """403 for what a page of another site wants to change, of which the operator should know."""
    try:
        access.check_origin(request)
    except Problem as exc:
        raise refuse(control, request, exc) from None


def _here() -> tuple[str, ...]:
    """The address that the client connected to."""
    server = request.scope.get("server")
    return () if server is None else (server[0],)


def _finish(app: QuartTrio, control: Control) -> None:
    @app.after_request
    async def finish(response: Response) -> Response:
        response.headers["Lb-Version"] = VERSION
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers["X-Content-Type-Options"] = "nosniff"
        route = "none" if request.url_rule is None else request.url_rule.rule
        method = METHODS.get(request.method.encode(), "OTHER")
        control.metrics.admin_requests[route, method, response.status_code] += 1
        return response


def _explain(app: QuartTrio) -> None:
    """Whatever a view raises is answered as a problem; what nobody foresaw is logged, and is a 500."""

    @app.errorhandler(Problem)
    async def known(problem: Problem) -> Response:
        return _answer(problem)

    @app.errorhandler(HTTPException)
    async def refused(error: HTTPException) -> Response:
        return _answer(of_http(error))

    @app.errorhandler(Conflict)
    async def conflict(error: Conflict) -> Response:
        return _answer(Problem("conflict", str(error)))

    @app.errorhandler(NotThere)
    async def not_there(error: NotThere) -> Response:
        return _answer(Problem("not-found", str(error)))

    @app.errorhandler(Exception)
    async def unforeseen(error: Exception) -> Response:
        log.error("request %s failed", g.request_id, exc_info=error)
        return _answer(Problem("internal"))


def _answer(problem: Problem) -> Response:
    headers = {**problem.headers, "X-Request-Id": g.request_id}
    return responses.json(problem.report(g.request_id), problem.status, headers, PROBLEM)
