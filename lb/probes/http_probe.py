"""A probe of kind http: one request, and whether the response is the one that the settings expect.

Reading stops as early as possible: at the final head where the settings name no body, otherwise after the
first `body_bytes` of the body. The connection is not used again.
"""

import trio

from lb.errors import BadResponse
from lb.http1.body import BadBody, reader_for
from lb.http1.head_reader import ResponseHeadReader
from lb.http1.response_head import ResponseHead
from lb.net.wire import Wire
from lb.probes.probe_target import ProbeFailed, ProbeTarget, in_words
from lb.settings.pool_settings import codes

HEAD_LIMIT = 64 * 1024
MOST_FIELDS = 100


class HttpProbe:
    """One request and its response. `awaited` says what has not come yet, for the message of a timeout."""

    def __init__(self, target: ProbeTarget) -> None:
        self.awaited = "no answer"
        self._target = target
        self._probe = target.probe

    async def run(self, wire: Wire) -> str:
        """How the probe passed, in words; ProbeFailed otherwise. The caller closes the wire."""
        try:
            return await self._exchange(wire)
        except (BadResponse, BadBody) as exc:
            raise ProbeFailed(f"not HTTP: {str(exc).removeprefix('the answer is not HTTP: ')}") from exc
        except OSError as exc:
            raise ProbeFailed(in_words(exc)) from exc

    async def _exchange(self, wire: Wire) -> str:
        await wire.send(request(self._target))
        head, data = await self._receive_final_head(wire)
        if head.status not in codes(self._probe.status):
            raise ProbeFailed(f"status {head.status}, expected {', '.join(self._probe.status)}")
        if self._probe.body is not None:
            self.awaited = "the body did not come"
            body = await self._receive_body(wire, head, data)
            if not has_text(body.decode(errors="replace"), self._probe.body):
                raise ProbeFailed(f"the body has no {self._probe.body!r}")
        return f"ok {head.status}"

    async def _receive_final_head(self, wire: Wire) -> tuple[ResponseHead, bytes]:
        """The first head that is not interim, and the bytes after it."""
        method = self._probe.method.encode()
        reader = ResponseHeadReader(method, head_limit=HEAD_LIMIT, field_limit=MOST_FIELDS)
        data = b""
        while True:
            if (found := reader.feed(data)) is not None:
                head, data = found
                if head.is_final:
                    return head, data
                await trio.lowlevel.checkpoint()  # perhaps the next one is here, so nothing was waited for
            elif not (data := await wire.receive()):
                where = "in the head of its" if reader.has_begun else "without an"
                raise ProbeFailed(f"closed the connection {where} answer")

    async def _receive_body(self, wire: Wire, head: ResponseHead, data: bytes) -> bytes:
        """The first `body_bytes` of the body, or the whole body where it is shorter."""
        reader, size = reader_for(head.length, is_strict=False), self._probe.body_bytes
        content = reader.feed(data)
        while not reader.done and len(content) < size:
            data = reader.rest or await wire.receive()
            if data:
                content += reader.feed(data)
            elif not reader.ends_with_connection():
                raise ProbeFailed("closed the connection in the middle of its answer")
        return content[:size]


def request(target: ProbeTarget) -> bytes:
    """The head of a probe's request. It has no body and asks the backend to close the connection."""
    probe = target.probe
    lines = [f"{probe.method} {probe.path} HTTP/1.1", f"Host: {probe.host or _authority(target)}"]
    if "user-agent" not in {name.lower() for name in probe.fields}:
        lines.append("User-Agent: lb-probe")
    lines += [f"{name}: {value}" for name, value in probe.fields.items()]
    return "\r\n".join((*lines, "Connection: close", "", "")).encode()


def has_text(body: str, wanted: str) -> bool:
    """Whether the parts of `wanted` between its stars occur in `body`, in that order. Linear in the body."""
    at = 0
    for part in wanted.split("*"):
        found = body.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return True


def _authority(target: ProbeTarget) -> str:
    """What Host names: neither a path nor the zone of an address, which mean nothing to the backend."""
    if target.host.startswith("/"):
        return "localhost"
    host = f"[{target.host.partition('%')[0]}]" if ":" in target.host else target.host
    default = 80 if target.tls is None else 443
    return host if target.probed_port == default else f"{host}:{target.probed_port}"
