"""What is served to clients, and how that changes while connections live.

What each server name gets is decided when the table is made (`lb.tls.table`), so a handshake looks into dicts
only. Each pair of certificates and policy has one context.

A change is prepared, in a thread, and then applied by a plain call. Preparing reads the files and makes a
context for all that is new (`lb.tls.draft`), so nothing is half done where one file is bad. Session tickets
belong to a context: where certificate files changed and nothing else, the live context takes the new
certificate. The new context has proved that this works, and takes over if it does not.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from lb.settings.tls_settings import TlsSettings
from lb.tls.certificate import Certificate, Loaded, Read, warnings
from lb.tls.contexts import HTTP_1_1, show
from lb.tls.draft import Draft, OfAdmin, Pair, Parts, Reload
from lb.tls.pem_files import PemFile, read_pem
from lb.tls.table import NOTHING, Served, Table


class Change(NamedTuple):
    """One pair of files with the certificate in it before and after; None where it is not configured."""

    before: Certificate | None
    after: Certificate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would be served, and how it differs from what is served.

    `changes` are the certificates that come, go or are replaced; names are those of certificates, `*.` too.
    `warnings` are about what has not been served before. `refused` are sentences about files that cannot be
    used, for which what was served stays, and `refused_files` are these. `files` are those of all that would
    be served. `admin_table` is what operators get, who have a policy of their own. A plan is good until
    another one is applied.
    """

    certificates: tuple[Certificate, ...]
    changes: tuple[Change, ...]
    names_gained: tuple[str, ...]
    names_lost: tuple[str, ...]
    warnings: tuple[str, ...]
    refused: tuple[str, ...]
    refused_files: frozenset[str]
    files: Mapping[str, PemFile] = field(repr=False)
    table: Table
    admin_table: Table
    parts: Parts = field(repr=False)
    reloads: Sequence[Reload] = field(repr=False)
    revision: int


class Certificates:
    """What is served now, to operators by the `admin_table`. At first nothing is."""

    def __init__(self, protocols: Sequence[str] = HTTP_1_1, admin: OfAdmin | None = None) -> None:
        self.table = self.admin_table = NOTHING
        self._admin = admin
        self.revision = 0
        self._protocols = protocols
        self._parts = Parts()

    @property
    def all(self) -> tuple[Certificate, ...]:
        """Every certificate, in the order of the settings."""
        return tuple(each.certificate for each in self._parts.loaded.values())

    @property
    def files(self) -> Mapping[str, PemFile]:
        """What was read of each file for what is served. Any thread may ask."""
        return self._parts.files()

    def find(self, server_name: str) -> Served | None:
        """What this name gets; "" is that of a client that names none. None: it is refused."""
        return self.table.find(server_name)

    def prepare(
        self,
        settings: TlsSettings,
        now: float,
        read: Read = read_pem,
        *,
        fresh: bool = False,
        keeps_old: bool = False,
    ) -> Plan:
        """A plan for these settings and what their files hold now. It blocks; nothing changes.

        ConfigError, with every mistake, where one file cannot be used; but where it `keeps_old`, only if
        nothing is served of that file. With `fresh` no context is kept, so that session tickets get new keys:
        those of a context never change.
        """
        there = self._parts
        draft = Draft(settings, read, self._protocols, there, self._admin, keeps_old=keeps_old)
        draft.read()
        parts, reloads = draft.make({} if fresh else there.made)
        table = draft.table(parts.made)
        return Plan(
            certificates=tuple(each.certificate for each in parts.loaded.values()),
            changes=tuple(_changes(there.loaded, parts.loaded)),
            names_gained=tuple(name for name in table.names if name not in self.table.names),
            names_lost=tuple(name for name in self.table.names if name not in table.names),
            warnings=(*draft.warnings, *_warnings(there.loaded, parts.loaded, now)),
            refused=tuple(draft.refused),
            refused_files=frozenset(draft.refused_files),
            files=parts.files(),
            table=table,
            admin_table=draft.admin_table(parts.made),
            parts=parts,
            reloads=reloads,
            revision=self.revision,
        )

    def apply(self, plan: Plan) -> None:
        """Serve what the plan says from now on; connections that are open stay as they are.

        ValueError where another plan has been applied since this one was prepared.
        """
        for _ in self.applying(plan):
            pass

    def applying(self, plan: Plan) -> Iterator[None]:
        """`apply` in steps of about a millisecond, one for each context that takes other certificates.

        It is to be run to its end. Until then the names are those from before, and no other plan is applied.
        """
        if plan.revision != self.revision:
            raise ValueError("this plan is out of date")
        self.revision += 1
        for reload in plan.reloads:
            _reload(reload)
            yield
        self.table, self.admin_table, self._parts = plan.table, plan.admin_table, plan.parts
        self.revision += 1  # a plan that was prepared meanwhile is out of date too


def _reload(reload: Reload) -> None:
    """Let the live context take the new certificates. If it does not it may have half of them, and goes."""
    try:
        for pem in reload.pems:
            show(reload.old.context, pem)
    except OSError:  # ssl.SSLError is one
        reload.old.context = reload.new.context
    else:
        reload.new.context = reload.old.context


def _changes(before: Mapping[Pair, Loaded], after: Mapping[Pair, Loaded]) -> Iterator[Change]:
    for files in dict.fromkeys((*before, *after)):
        old, new = before.get(files), after.get(files)
        if old is not new and (old is None or new is None or old.pem != new.pem):
            yield Change(old.certificate if old else None, new.certificate if new else None)


def _warnings(before: Mapping[Pair, Loaded], after: Mapping[Pair, Loaded], now: float) -> Iterator[str]:
    for files, each in after.items():
        if each is not before.get(files):
            yield from warnings(each.certificate, now)
