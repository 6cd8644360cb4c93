"""The file of the audit trail: a line of JSON for each act, appended without holding up the traffic.

The program's log has the acts too, but loses lines where nobody reads it. This file is opened anew for each
batch of lines, so it may be renamed or removed at any time, and a rotation needs no signal.
"""

import os
from collections import deque

import msgspec
import structlog
import trio

from lb.observe.access_log import rfc3339
from lb.observe.audit_trail import Entry
from lb.observe.program_log import dropped

QUEUE_LINES = 1000
FLUSH_SECONDS = 2.0
"""How long the lines that wait at the end may take."""
LABEL = "audit_file"

log = structlog.get_logger()


class AuditFile:
    """Appends what it is told to the file at `path`. `run` is its task; `write` may be called before."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._waiting: deque[bytes] = deque()
        self._woken = trio.Event()
        self._ending = trio.Event()
        self._one_at_a_time = trio.CapacityLimiter(1)
        self._lost = 0
        self._is_torn = False

    def write(self, entry: Entry) -> None:
        """Have an entry written soon. It is lost, and counted, where too many wait."""
        if len(self._waiting) >= QUEUE_LINES:
            self._lose(1)
            return
        self._waiting.append(msgspec.json.encode(_told(entry)) + b"\n")
        self._woken.set()

    async def run(self) -> None:
        """Write until cancelled; then write what waits, for FLUSH_SECONDS at most."""
        shielded = trio.CancelScope(shield=True)  # else a cancellation could lose what a thread writes
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write_all, shielded)
            try:
                await trio.sleep_forever()
            finally:
                shielded.deadline = trio.current_time() + FLUSH_SECONDS
                self._ending.set()
                self._woken.set()

    async def _write_all(self, shielded: trio.CancelScope) -> None:
        with shielded:
            while self._waiting or not self._ending.is_set():
                await self._woken.wait()
                if not self._ending.is_set():
                    self._woken = trio.Event()
                if self._waiting:
                    await self._write_batch()

    async def _write_batch(self) -> None:
        lines = list(self._waiting)
        data = b"".join([b"\n" if self._is_torn else b"", *lines])
        try:
            await trio.to_thread.run_sync(
                append, self._path, data, abandon_on_cancel=True, limiter=self._one_at_a_time
            )
        except OSError as exc:
            self._failed(len(lines), exc)
        else:
            self._worked()
        for _ in lines:
            self._waiting.popleft()

    def _failed(self, count: int, why: OSError) -> None:
        if not self._lost:
            log.error("the audit file cannot be written", path=self._path, why=why.strerror or str(why))
        self._is_torn = True
        self._lose(count)

    def _worked(self) -> None:
        if self._lost:
            log.warning("lines of the audit file were lost", path=self._path, count=self._lost)
        self._lost, self._is_torn = 0, False

    def _lose(self, count: int) -> None:
        dropped[LABEL] += count
        self._lost += count


def _told(entry: Entry) -> dict[str, object]:
    return {**msgspec.structs.asdict(entry), "at": rfc3339(entry.at)}


def append(path: str, data: bytes = b"") -> None:
    """Append to the file, which is made for its owner alone if there is none. It blocks."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
    finally:
        os.close(handle)
