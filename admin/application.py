"""The application: each operation bound to its route, and what every request passes before and after it.

Before the handler: the checks of host and origin, and the token. After it: the fields that every answer has;
and each error, whatever raised it, becomes a problem.
"""

import logging
import secrets
from collections.abc import Sequence

from quart import Response, g, request
from quart.wrappers import BaseRequestWebsocket
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter

from admin.dispatch import dispatched, refused
from admin.page import assets, home
from admin.protocol import responses
from admin.protocol.near_paths import near_path
from admin.protocol.operation import PLACE, Operation
from admin.protocol.problems import Problem, of_http
from admin.reference import served_docs
from admin.resources import (
    alerting,
    api_docs,
    audit,
    backends,
    balancer_drain,
    cluster_members,
    configuration,
    events,
    exchanges,
    handshakes,
    healthz,
    info,
    log_levels,
    metrics,
    pool_routes,
    pool_sources,
    pools,
    program_upgrade,
    route_finding,
    served_certificates,
    stats,
    troubles,
    whatif,
    worker_processes,
)
from admin.resources.healthz import PROBES
from admin.security.authentication import secured, token_of, unauthorized
from admin.security.host_check import check_host, check_origin
from admin.security.keyring import Keyring
from lb.about import VERSION, VERSION_FIELD
from lb.control import Control
from lb.core.cluster_view import MaybeShared, NotShared
from lb.core.registry import Conflict, NotThere
from lb.observe.counters import METHODS

MAX_BODY = 64 * 1024
BODY_SECONDS = 10
PROBLEM = "application/problem+json"

log = logging.getLogger(__name__)


def create_app(control: Control, token: str | None) -> QuartTrio:
    """The admin API over this balancer. It blocks, and may be called from a thread: it only reads.

    `token`, if it is one, is needed for all but the open operations, as are those of `admin.tokens_file`.
    """
    app = _App("admin", static_folder=None)
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False  # either would answer such a path with a redirect
    app.config.update(MAX_CONTENT_LENGTH=MAX_BODY, BODY_TIMEOUT=BODY_SECONDS)
    served = operations(control)
    for operation in served:
        _bind(app, control, operation)
    keyring = Keyring(token, control.config.admin.tokens_file, control.registry.now)
    _guard(app, control, keyring, {_rule(each) for each in served if each.is_open})
    _finish(app, control)
    _handle_errors(app, [each.path for each in served])
    return app


class _App(QuartTrio):
    """Quart, but that an operation is found by method and path alone, whatever is in Host.

    Quart encodes Host before anything of ours has looked at it, and logs a traceback where it cannot.
    """

    def create_url_adapter(self, request: BaseRequestWebsocket | None) -> MapAdapter | None:
        if request is None:
            return None
        return self.url_map.bind("localhost", default_method=request.method, path_info=request.path)


def operations(control: Control) -> tuple[Operation, ...]:
    """Every operation that is served."""
    page_assets = assets.load_assets()
    served: tuple[Operation, ...] = (
        *backends.operations(control),
        *pools.operations(control),
        *pool_sources.operations(control),
        *configuration.operations(control),
        *exchanges.operations(control),
        *stats.operations(control),
        *troubles.operations(control),
        *pool_routes.operations(control),
        *worker_processes.operations(control),
        *cluster_members.operations(control),
        *served_certificates.operations(control),
        *handshakes.operations(control),
        *events.operations(control),
        *balancer_drain.operations(control),
        *program_upgrade.operations(control),
        *healthz.operations(control),
        *metrics.operations(control, is_open=control.config.admin.metrics_open),
        *alerting.operations(is_open=control.config.admin.metrics_open),
        *audit.operations(control),
        *whatif.operations(control),
        *route_finding.operations(control),
        *home.operations(control, page_assets, lambda: served),
        *log_levels.operations(control),
        *info.operations(control),
        *api_docs.operations(lambda: served),
        *served_docs.operations(lambda: served),
        *assets.operations(page_assets),
    )
    return served


def _bind(app: QuartTrio, control: Control, operation: Operation) -> None:
    async def view(**path: str) -> Response:
        values = [path[name] for name in operation.path_parameters]
        return await dispatched(control, operation, request, values)

    name = f"{operation.method} {operation.path}".replace(".", "_")  # Quart takes a dot for a blueprint's
    app.add_url_rule(_rule(operation), name, view, methods=[operation.method])


def _rule(operation: Operation) -> str:
    return PLACE.sub(r"<\1>", operation.path)


def _guard(app: QuartTrio, control: Control, keyring: Keyring, open_rules: set[str]) -> None:
    """Check each request before its handler runs; refusals go into the audit.

    Open operations run without a token too; `g.is_let_in` tells them whether there is one, and / shows less
    where there is none. The probes may come under any Host, for load balancers use addresses of their own.
    """

    @app.before_request
    async def check() -> None:
        g.request_id = secrets.token_hex(8)
        if request.path in PROBES:
            return
        check_host(request, (*control.config.admin.allowed_hosts, *_own_address(), *_certified(control)))
        _check_origin(control)
        g.token = await token_of(request, keyring)
        g.is_let_in = g.token is not None
        if not g.is_let_in and (request.url_rule is None or request.url_rule.rule not in open_rules):
            raise refused(control, request, unauthorized(request))


def _check_origin(control: Control) -> None:
    """403 for what a page of another site asks for; the operator finds it in the audit."""
    try:
        check_origin(request)
    except Problem as exc:
        raise refused(control, request, exc) from None


def _own_address() -> tuple[str, ...]:
    """The address that the client connected to."""
    server = request.scope.get("server")
    return () if server is None else (server[0],)


def _certified(control: Control) -> tuple[str, ...]:
    """The server name of the handshake, if it stands in a certificate, whole.

    A page of another site would have no such certificate. One that begins with `*` may be for that site too.
    """
    agreed = secured(request)
    if agreed is None or control.tls is None:
        return ()
    names = control.tls.certificates.admin_table.names
    return (agreed.server_name,) if agreed.server_name in names else ()


def _finish(app: QuartTrio, control: Control) -> None:
    @app.after_request
    async def finish(response: Response) -> Response:
        response.headers[VERSION_FIELD] = VERSION
        if control.handed_over.is_set():
            response.headers["Connection"] = "close"  # the next request is for another program
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers["X-Content-Type-Options"] = "nosniff"
        route = "none" if request.url_rule is None else request.url_rule.rule
        method = METHODS.get(request.method.encode(), "OTHER")
        control.metrics.admin_requests[route, method, response.status_code] += 1
        return response


def _handle_errors(app: QuartTrio, served: Sequence[str]) -> None:
    """Answer every exception of a handler as a problem; an unexpected one is logged, and is a 500."""

    @app.errorhandler(Problem)
    async def problem(problem: Problem) -> Response:
        return _answer(problem)

    @app.errorhandler(HTTPException)
    async def http_error(error: HTTPException) -> Response:
        problem = of_http(error)
        if request.url_rule is None and problem.slug == "not-found":
            meant = near_path(request.path, served)
            problem.detail = f"{'' if meant is None else f'did you mean {meant}? '}GET / lists every path"
        return _answer(problem)

    @app.errorhandler(Conflict)
    async def conflict(error: Conflict) -> Response:
        return _answer(Problem("conflict", str(error)))

    @app.errorhandler(NotShared)
    async def not_shared(error: NotShared) -> Response:
        return _answer(Problem("cluster-unavailable", f"nothing was changed: {error}"))

    @app.errorhandler(MaybeShared)
    async def maybe_shared(error: MaybeShared) -> Response:
        return _answer(Problem("cluster-unknown", f"it is not known whether it was changed: {error}"))

    @app.errorhandler(NotThere)
    async def not_there(error: NotThere) -> Response:
        return _answer(Problem("not-found", str(error)))

    @app.errorhandler(Exception)
    async def unexpected(error: Exception) -> Response:
        log.error("request %s failed", g.request_id, exc_info=error)
        return _answer(Problem("internal"))


def _answer(problem: Problem) -> Response:
    headers = {**problem.headers, "X-Request-Id": g.request_id}
    return responses.json(problem.report(g.request_id), problem.status, headers, PROBLEM)
