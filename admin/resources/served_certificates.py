"""/certificates: what TLS listeners show to clients, and reading the files again.

The files of the configuration are read, whoever asks; a call names none. What is in them is applied whole, or
not at all.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from quart import Response

from admin.input import parameters
from admin.input.config_mistakes import of_config
from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.operation import Operation
from admin.protocol.problems import Problem
from admin.views.certificate_json import (
    CertificateList,
    CertificatesReloaded,
    CertificateView,
    CertificateViews,
    RenewalView,
    certificates,
    reloaded,
    renewal_view,
    serving,
)
from lb.control import Control
from lb.errors import ConfigError
from lb.tls.certificate_ids import by_id

if TYPE_CHECKING:
    from lb.certificate_files.termination import Termination
    from lb.tls.certificate import Certificate

MOST = 1000
LIMIT = parameters.limit("all", MOST)
COLUMNS = ("ID", "STAGE", "DAYS LEFT", "LEFT", "UNTIL", "KEY", "ISSUER", "ROUTES", "WARNINGS")
NO_TLS = "no listener of this balancer speaks TLS; `listen` needs an address that begins with https://"


def operations(control: Control) -> tuple[Operation, ...]:
    """All that can be done with certificates."""
    handlers = CertificateHandlers(control)
    return (
        Operation(
            method="GET",
            path="/certificates",
            summary="the certificates that are served, and what is left of their life; ?format=table",
            handler=handlers.list,
            parameters=(LIMIT, parameters.FORMAT),
            answers={200: CertificateList},
            media_types=(responses.TEXT,),
        ),
        Operation(
            method="GET",
            path="/certificates/{id}",
            summary="one of them, with all of its routes",
            handler=handlers.show,
            answers={200: CertificateView},
            problems=(404,),
        ),
        Operation(
            method="POST",
            path="/certificates/reload",
            summary="read their files again: all of them, or nothing changes; ?dry_run=true",
            handler=handlers.reload,
            parameters=(parameters.DRY_RUN,),
            posted_parameters=True,
            answers={200: CertificatesReloaded},
            problems=(409,),
        ),
        Operation(
            method="POST",
            path="/certificates/{id}/renew",
            summary="order a new one in its place, as soon as its authorities allow; for [tls.acme]",
            handler=handlers.renew,
            posted_parameters=True,
            answers={202: RenewalView},
            problems=(404, 409),
        ),
    )


class CertificateHandlers:
    """The handlers."""

    def __init__(self, control: Control) -> None:
        self.control = control

    async def list(self, call: Call) -> Response:
        found = await certificates(self.control, self.control.tls, call.get(LIMIT))
        if call.get(parameters.FORMAT) is parameters.Format.TABLE:
            return await responses.long_table(COLUMNS, map(_row, found.items))
        return await responses.long_json(found, {"items": found.items})

    async def show(self, call: Call, certificate_id: str) -> Response:
        tls = self.control.tls
        if tls is not None:
            serves = await serving(tls.certificates.table, self.control.config.routes)
            views = CertificateViews(self.control, tls, serves, most=None)
            if (found := views.all.get(certificate_id)) is not None:
                return responses.json(views.view(certificate_id, found))
        raise Problem("not-found", f"there is no certificate {certificate_id!r}")

    async def renew(self, call: Call, certificate_id: str) -> Response:
        await call.take_posted_parameters()
        name = self._ordered_name(certificate_id)
        next_attempt = self.control.renewals.renew(name)
        standing = next(each for each in self.control.renewals.standings() if each.name == name)
        if next_attempt is None:
            raise Problem("conflict", f"{name} cannot be ordered: {standing.why}")
        return responses.json(renewal_view(standing._replace(next_attempt=next_attempt)), 202)

    def _ordered_name(self, certificate_id: str) -> str:
        """The name whose order is meant: by itself, or by the id of a certificate."""
        ordered = {each.name for each in self.control.renewals.standings()}
        if certificate_id in ordered:
            return certificate_id
        tls = self.control.tls
        found = None if tls is None else by_id(tls.certificates.all).get(certificate_id)
        if tls is None or found is None:
            raise Problem("not-found", f"there is no certificate {certificate_id!r}")
        if found.chain_file in tls.ordered and found.names[0] in ordered:
            return found.names[0]
        raise Problem("conflict", f"{found.chain_file} is renewed by who writes it; it is not ordered here")

    async def reload(self, call: Call) -> Response:
        await call.take_posted_parameters()
        if self.control.tls is None:
            raise Problem("conflict", NO_TLS)
        is_rehearsed = call.get(parameters.DRY_RUN) or False
        try:
            answer = await self._reloaded(self.control.tls, is_rehearsed)
        except ConfigError as exc:
            problem = of_config(exc) if exc.mistakes else Problem("conflict", str(exc))
            if not is_rehearsed:
                self.control.audit.failed(problem.status, str(exc))
            raise problem from exc
        headers = {responses.DRY_RUN_FIELD: "true"} if is_rehearsed else {}
        return responses.json(answer, headers=headers)

    async def _reloaded(self, tls: "Termination", is_rehearsed: bool) -> CertificatesReloaded:
        if is_rehearsed:
            plan = await tls.rehearse()
        else:
            plan = await tls.reload()
            for before, after in plan.changes:
                there = after or before
                assert there is not None
                key = f"certificates.{there.chain_file}"
                self.control.audit.changed(key, _in_audit(before), _in_audit(after))
        serves = await serving(plan.table, self.control.config.routes)
        return reloaded(self.control, plan, serves, applied=not is_rehearsed)


def _row(view: CertificateView) -> Sequence[object]:
    return (
        view.id,
        view.stage,
        f"{view.days_left:9.1f}",
        f"{view.lifetime_left:4.0%}",
        view.not_after[:10],
        f"{view.key_type} {view.key_bits}",
        view.issuer,
        view.routes_count,
        "; ".join([*([f"not served any more: {view.error}"] if view.error else []), *view.warnings]),
    )


def _in_audit(certificate: "Certificate | None") -> str | None:
    if certificate is None:
        return None
    return f"{', '.join(certificate.names)} (serial {certificate.serial})"
