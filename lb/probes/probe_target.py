"""What a probe is sent to, and the connection to it."""

from typing import NamedTuple

from lb.errors import NameNotResolved, NoPortLeft, TooManyDescriptors
from lb.net.connect import NO_PORT_LEFT, OUT_OF_DESCRIPTORS, connect
from lb.net.resolver import Names
from lb.net.wire import Wire
from lb.settings.pool_settings import Probe


class ProbeFailed(Exception):
    """The backend failed the probe. The message says how, in words for people."""


class ProbeTarget(NamedTuple):
    """The host and port of a backend, and how its pool wants it probed. A Unix socket has no other port."""

    probe: Probe
    host: str
    port: int

    @property
    def probed_port(self) -> int:
        return self.probe.port or self.port


async def connect_to(target: ProbeTarget, names: Names) -> Wire:
    """A new connection, made as one for requests is. The caller closes it.

    ProbeFailed where none can be made. What says nothing about the backend is another error:
    TooManyDescriptors where this process is out of file descriptors, NoPortLeft where this machine has no
    port left, NameUnanswered where no resolver answered.
    """
    try:
        sock = await connect(await names.addresses(target.host, target.probed_port))
    except NameNotResolved as exc:
        raise ProbeFailed(str(exc)) from exc
    except OSError as exc:
        if exc.errno in OUT_OF_DESCRIPTORS:
            raise TooManyDescriptors("this balancer is out of file descriptors") from exc
        if exc.errno == NO_PORT_LEFT:
            raise NoPortLeft("no local port is left to connect from") from exc
        raise ProbeFailed(in_words(exc)) from exc
    names.worked(target.host, target.probed_port, sock)
    return Wire(sock)


def in_words(exc: OSError) -> str:
    """What went wrong, as the rest of a sentence: "connection refused"."""
    words = exc.strerror or str(exc)
    return words[:1].lower() + words[1:]
