"""What a probe is sent to, and the connection to it."""

from typing import NamedTuple

from lb.errors import NameNotResolved, TooManyDescriptors
from lb.net.connect import OUT_OF_DESCRIPTORS, connect
from lb.net.resolver import Address, Names
from lb.net.wire import Wire
from lb.settings.pool_settings import Probe


class ProbeFailed(Exception):
    """The backend failed the probe. The message says how, in words for people."""


class ProbeTarget(NamedTuple):
    """The host and port of a backend, and how its pool wants it probed."""

    probe: Probe
    host: str
    port: int

    @property
    def probed_port(self) -> int:
        return self.probe.port or self.port


async def connect_to(target: ProbeTarget, names: Names) -> Wire:
    """A new connection, which the caller closes.

    ProbeFailed where none can be made. TooManyDescriptors where this process is out of file descriptors,
    which says nothing about the backend.
    """
    try:
        # `names` knows the addresses of a backend by its own port, which may differ from the probed one.
        known = await names.addresses(target.host, target.port)
        return Wire(await connect([_with_port(target.probed_port, address) for address in known]))
    except NameNotResolved as exc:
        raise ProbeFailed(str(exc)) from exc
    except OSError as exc:
        if exc.errno in OUT_OF_DESCRIPTORS:
            raise TooManyDescriptors("this balancer is out of file descriptors") from exc
        raise ProbeFailed(in_words(exc)) from exc


def in_words(exc: OSError) -> str:
    """What went wrong, as the rest of a sentence: "connection refused"."""
    words = exc.strerror or str(exc)
    return words[:1].lower() + words[1:]


def _with_port(port: int, address: Address) -> Address:
    family, (host, _, *rest) = address
    return family, (host, port, *rest)
