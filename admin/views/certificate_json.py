"""From certificates to JSON: what they say, how much of their life is left, and what they serve.

Of thousands of routes each is looked at once, in slices: the table of names says which certificate its host
gets. A route for `*.example.com` takes every name below, so it is served by each certificate that has one.
"""

import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from admin.views.times import timestamp
from lb.control import Control
from lb.core.renewal_view import Standing
from lb.settings.balancer_settings import Route
from lb.slices import listed, sliced
from lb.tls.certificate_ids import by_id
from lb.tls.remaining_life import Stage, stage_of

if TYPE_CHECKING:
    from lb.certificate_files.termination import Termination
    from lb.tls.certificate import Certificate
    from lb.tls.certificates import Change, Plan
    from lb.tls.table import Table

FEW = 20
"""So many routes, or hosts without a certificate, are named in lists."""


class CertificateFacts(msgspec.Struct, kw_only=True):
    """What a certificate says. `fingerprint` is the SHA-256 of the leaf.

    `chain` has the subjects of the certificates behind the leaf. `lifetime_left` is the share of its lifetime
    that is left. By that it is `expiring` below a quarter and `critical` below a tenth, or when two days are
    left.
    """

    names: list[str]
    subject: str
    issuer: str
    serial: str
    fingerprint: str
    key_type: str
    key_bits: int
    not_before: str
    not_after: str
    stage: Stage
    days_left: float
    lifetime_left: float
    chain: list[str]
    chain_file: str
    key_file: str


class RenewalView(msgspec.Struct, kw_only=True):
    """How it is with the order of one name.

    `next_attempt` is null where its files cannot be read. `error` is the sentence of the last failure, null
    after a success. `directory` has issued what there is. `is_running`: it is being ordered now.
    """

    name: str
    directory: str
    next_attempt: str | None
    failures_in_a_row: int
    error: str | None
    is_running: bool


class CertificateView(CertificateFacts, kw_only=True):
    """One certificate that is served.

    `id` is its first name, and more where others have that too. `source` is where it comes from: a file that
    others renew, or an order of ours, of which `renewal` has more. All `listeners` with TLS serve it.
    `routes` are those whose host gets it, `routes_count` how many they are; lists have only the first of
    them. `error` is what is wrong with its files now, so that they are not served.
    """

    id: str
    source: Literal["file", "acme"]
    renewal: RenewalView | None
    listeners: list[str]
    routes: list[str]
    routes_count: int
    warnings: list[str]
    error: str | None


class CertificateList(msgspec.Struct, kw_only=True):
    """Certificates, those that end first before the others; `total` counts all.

    `listeners` are the addresses where clients speak TLS; where there are none, no certificate is read.
    `uncovered` are hosts that have a route and no certificate, `uncovered_count` how many there are.
    `ordered` are names whose certificate is ordered and not there yet. `error` is what is wrong with the
    files now, a mistake a line.
    """

    items: list[CertificateView]
    total: int
    listeners: list[str]
    uncovered: list[str]
    uncovered_count: int
    ordered: list[RenewalView]
    error: str | None


class CertificateChange(msgspec.Struct, kw_only=True):
    """One pair of files, and the certificate in it before and after; null where it is not configured.

    `routes` are those whose host gets the one after.
    """

    chain_file: str
    before: CertificateFacts | None
    after: CertificateFacts | None
    routes: list[str]
    routes_count: int


class CertificatesReloaded(msgspec.Struct, kw_only=True):
    """What reading the files again has changed or, where `applied` is false, would change.

    Names are those of certificates. `uncovered` are hosts that have a route and then no certificate.
    """

    applied: bool
    summary: str
    changes: list[CertificateChange]
    names_gained: list[str]
    names_lost: list[str]
    listeners: list[str]
    uncovered: list[str]
    uncovered_count: int
    warnings: list[str]


class Serving:
    """Which routes get which certificate (by its fingerprint), and which hosts get none."""

    def __init__(self) -> None:
        self._routes: dict[str, list[str]] = {}
        self.uncovered: dict[str, None] = {}

    def of(self, certificate: "Certificate") -> Sequence[str]:
        """The routes of this one, as host and path."""
        return self._routes.get(certificate.fingerprint, ())

    def add(self, route: Route, host: str, certificates: Iterable["Certificate"]) -> None:
        """This route is served by these; by none, its host is uncovered."""
        has_any = False
        for each in certificates:
            has_any = True
            self._routes.setdefault(each.fingerprint, []).append(f"{host}{route.path}")
        if not has_any:
            self.uncovered[host] = None


async def serving(table: "Table", routes: Iterable[Route]) -> Serving:
    """What these certificates serve of these routes; those for any host are left out."""
    return await sliced(_serving(table, routes))


def _serving(table: "Table", routes: Iterable[Route]) -> Generator[None, None, Serving]:
    found, below = Serving(), dict[str, dict[str, "Certificate"]]()
    for name, served in table.names.items():
        for at in range(1, name.count(".") + 1):
            domain = below.setdefault(name.split(".", at)[-1], {})
            domain.update({each.fingerprint: each for each in served.certificates})
        yield
    for route in routes:
        if (host := route.host) is not None:
            served_by = table.named(host)
            exact = {} if served_by is None else {each.fingerprint: each for each in served_by.certificates}
            wild = below.get(host.removeprefix("*."), {}) if host.startswith("*.") else {}
            found.add(route, host, (exact | wild).values())
        yield
    return found


def facts(certificate: "Certificate", now: float) -> CertificateFacts:
    """What it says; `now` is in seconds since 1970."""
    return CertificateFacts(
        names=[*certificate.names],
        subject=certificate.subject,
        issuer=certificate.issuer,
        serial=certificate.serial,
        fingerprint=certificate.fingerprint,
        key_type=certificate.key_type,
        key_bits=certificate.key_bits,
        not_before=timestamp(certificate.not_before),
        not_after=timestamp(certificate.not_after),
        stage=stage_of(certificate, now),
        days_left=round(certificate.days_left(now), 3),
        lifetime_left=round(certificate.lifetime_left(now), 4),
        chain=[*certificate.chain],
        chain_file=certificate.chain_file,
        key_file=certificate.key_file,
    )


class CertificateViews:
    """Shows the certificates of one moment. `most` routes of each are named, or all."""

    def __init__(self, control: Control, tls: "Termination", serves: Serving, most: int | None = FEW) -> None:
        self._now = control.wall(control.registry.now())
        self._listeners = control.tls_listening
        self._mistakes = [line.strip() for line in tls.trouble.splitlines()]
        self._serves = serves
        self._most = most
        self._ordered = tls.ordered
        self._renewals = {each.name: renewal_view(each) for each in control.renewals.standings()}
        self.all = by_id(tls.certificates.all)

    def waiting(self) -> list[RenewalView]:
        """The orders of names that have no certificate yet."""
        there = {self.order_of(each) for each in self.all.values()}
        return [each for name, each in self._renewals.items() if name not in there]

    def order_of(self, certificate: "Certificate") -> str | None:
        """The name that a certificate was ordered for; None for one from a file."""
        return certificate.names[0] if certificate.chain_file in self._ordered else None

    def in_order(self, most: int | None = None) -> Iterator[CertificateView]:
        """So many, or all: those that end first before the others."""
        order = sorted(self.all.items(), key=lambda each: each[1].not_after)
        return (self.view(name, certificate) for name, certificate in order[:most])

    def view(self, name: str, certificate: "Certificate") -> CertificateView:
        from lb.tls.certificate import warnings  # there is one, so what reads it is installed

        routes, order = self._serves.of(certificate), self.order_of(certificate)
        return CertificateView(
            **msgspec.structs.asdict(facts(certificate, self._now)),
            id=name,
            source="file" if order is None else "acme",
            renewal=None if order is None else self._renewals.get(order),
            listeners=[*self._listeners],
            routes=[*routes[: self._most]],
            routes_count=len(routes),
            warnings=[*warnings(certificate, self._now)],
            error="; ".join(each for each in self._mistakes if _is_about(each, certificate)) or None,
        )


async def certificates(
    control: Control, tls: "Termination | None", most: int | None = None
) -> CertificateList:
    """So many of them, or all; none without TLS."""
    if tls is None:
        return CertificateList(
            items=[], total=0, listeners=[], uncovered=[], uncovered_count=0, ordered=[], error=None
        )
    serves = await serving(tls.certificates.table, control.config.routes)
    views = CertificateViews(control, tls, serves)
    return CertificateList(
        items=await listed(views.in_order(most)),
        total=len(views.all),
        listeners=[*control.tls_listening],
        uncovered=[*serves.uncovered][:FEW],
        uncovered_count=len(serves.uncovered),
        ordered=views.waiting(),
        error=tls.trouble or None,
    )


def renewal_view(standing: Standing) -> RenewalView:
    return RenewalView(
        name=standing.name,
        directory=standing.directory,
        next_attempt=None if standing.next_attempt is None else timestamp(standing.next_attempt),
        failures_in_a_row=standing.failures_in_a_row,
        error=standing.why or None,
        is_running=standing.is_running,
    )


def _is_about(mistake: str, certificate: "Certificate") -> bool:
    """Whether a sentence names one of its files."""
    files = {certificate.chain_file, certificate.key_file}
    return any(re.search(rf"(?<!\S){re.escape(file)}(?=[:\s]|$)", mistake) for file in files)


def reloaded(control: Control, plan: "Plan", serves: Serving, *, applied: bool) -> CertificatesReloaded:
    """What this plan changes; `serves` is of its table."""
    from lb.certificate_files.termination import summary_of  # there is a plan, so it is imported already

    now = control.wall(control.registry.now())
    return CertificatesReloaded(
        applied=applied,
        summary=summary_of(plan),
        changes=[_change(each, serves, now) for each in plan.changes],
        names_gained=[*plan.names_gained],
        names_lost=[*plan.names_lost],
        listeners=[*control.tls_listening],
        uncovered=[*serves.uncovered][:FEW],
        uncovered_count=len(serves.uncovered),
        warnings=[*plan.warnings],
    )


def _change(change: "Change", serves: Serving, now: float) -> CertificateChange:
    before, after = change
    there = after or before
    assert there is not None
    routes = [] if after is None else serves.of(after)
    return CertificateChange(
        chain_file=there.chain_file,
        before=None if before is None else facts(before, now),
        after=None if after is None else facts(after, now),
        routes=[*routes[:FEW]],
        routes_count=len(routes),
    )
