"""What is known of each name: what the folder has of it, and what this program has learnt since.

The folder is read again when a certificate's file was replaced, by another balancer or an operator, and
before each attempt. A name whose files cannot be read is broken: it gets no attempt, and nothing of it is
written, until they can be read.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from lb.acme import issued
from lb.acme.issued import Issued
from lb.acme.issuing import Got, InThread
from lb.acme.storage import Origin, Pair, Storage, StorageError
from lb.core.renewal import NO_FAILURES, Failures, due
from lb.tls.pem_files import Stamp

Mark = Stamp | None


@dataclass(slots=True, eq=False)
class Known:
    """What we know of one name.

    `mark` is that of the file that was read, `broken` says why its files cannot be. `is_wished` where an
    operator wants an attempt now; `is_kept` is False while the folder lacks the certificate.
    """

    name: str
    pair: Pair | None = None
    facts: Issued | None = None
    origin: Origin = field(default_factory=Origin)
    failures: Failures = NO_FAILURES
    mark: Mark = None
    broken: str = ""
    is_wished: bool = False
    is_kept: bool = True

    @property
    def due(self) -> float:
        """When a certificate is to be there, or to be renewed."""
        return 0.0 if self.facts is None else due(self.facts.validity, self.origin.suggestion)

    @property
    def got(self) -> Got | None:
        return None if self.pair is None else Got(self.pair, self.origin.directory)

    def have(self, pair: Pair, facts: Issued, origin: Origin) -> None:
        self.pair, self.facts, self.origin = pair, facts, origin


class Stock:
    """All wanted names. `installed` takes a certificate that is new to us."""

    def __init__(self, storage: Storage, in_thread: InThread, installed: Callable[[Known], None]) -> None:
        self._storage = storage
        self._in_thread = in_thread
        self._installed = installed
        self._known: dict[str, Known] = {}

    def __iter__(self) -> Iterator[Known]:
        return iter(self._known.values())

    def __getitem__(self, name: str) -> Known:
        return self._known[name]

    def want(self, names: Iterable[str]) -> None:
        """Know of these names from now on, and of no others."""
        self._known = {name: self._known.get(name) or Known(name) for name in dict.fromkeys(names)}

    async def look(self) -> list[Known]:
        """Read what has changed in the folder; the names that have become broken."""
        marks = {known.name: None if known.broken else known.mark for known in self if known.is_kept}
        changed = await self._in_thread(_changed, self._storage, marks)
        return await self._read([self._known[name] for name in changed])

    async def read(self, known: Known) -> None:
        """Read all that the folder has of the name. StorageError where that cannot be."""
        if known.is_kept and await self._read([known]):
            raise StorageError(known.broken)

    async def _read(self, several: Collection[Known]) -> list[Known]:
        found = await self._in_thread(_loaded, self._storage, [known.name for known in several])
        broken = []
        for known in several:
            loaded = found[known.name]
            if isinstance(loaded, str):
                if loaded != known.broken:
                    broken.append(known)
                known.broken = loaded
            else:
                self._have(known, loaded)
        return broken

    def _have(self, known: Known, loaded: Known) -> None:
        is_new = loaded.pair is not None and loaded.pair != known.pair
        known.pair, known.facts, known.origin = loaded.pair, loaded.facts, loaded.origin
        known.failures = max(loaded.failures, known.failures, key=_last)  # ours may be one that was not kept
        known.mark, known.broken = loaded.mark, ""
        if is_new:
            self._installed(known)

    async def keep_failures(self, known: Known, failures: Failures) -> None:
        """Write these failures of the name, unless its files cannot be read."""
        if not known.broken:
            await self._in_thread(self._storage.keep_failures, known.name, failures)

    async def keep_origin(self, known: Known) -> None:
        if known.is_kept:
            await self._in_thread(self._storage.keep_origin, known.name, known.origin)

    async def keep(self, known: Known) -> None:
        """Write a certificate that the folder lacks."""
        if known.is_kept or known.pair is None:
            return
        await self._in_thread(self._storage.keep_certificate, known.name, known.pair, known.origin)
        known.mark = await self._in_thread(self._storage.mark, known.name)
        known.is_kept = True


def _last(failures: Failures) -> float:
    return failures.times[-1] if failures.times else 0.0


def _changed(storage: Storage, marks: Mapping[str, Mark]) -> list[str]:
    """The names whose file is not the one that was read; and those of which none was."""
    return [name for name, mark in marks.items() if mark is None or storage.mark(name) != mark]


def _loaded(storage: Storage, names: Iterable[str]) -> dict[str, Known | str]:
    """What the folder has of each name, or why it cannot be read."""
    found: dict[str, Known | str] = {}
    for name in names:
        try:
            found[name] = _load(storage, name)
        except StorageError as exc:
            found[name] = str(exc)
    return found


def _load(storage: Storage, name: str) -> Known:
    mark = storage.mark(name)
    pair = storage.certificate(name)
    return Known(
        name,
        pair=pair,
        facts=None if pair is None else _facts(storage, name, pair),
        origin=storage.origin(name),
        failures=storage.failures(name),
        mark=mark,
    )


def _facts(storage: Storage, name: str, pair: Pair) -> Issued:
    path = storage.certificate_file(name)
    try:
        facts = issued.read(pair)
    except ValueError as exc:
        raise StorageError(f"{path}: {exc}. Mend it from a copy, or move it away to have another") from exc
    if name not in facts.names:
        raise StorageError(
            f"{path} is a certificate of {', '.join(facts.names)}, not of {name}: move it away"
        )
    return facts
