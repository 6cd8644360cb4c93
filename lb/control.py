"""What the operator's side is handed: it sees the registry and the numbers, never a socket."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lb.config import Config
    from lb.core.backend import Backend
    from lb.core.health import Check
    from lb.core.registry import Registry
    from lb.metrics import Metrics


@dataclass(slots=True, kw_only=True)
class Control:
    """One running balancer, as an operator may see and steer it.

    `save` writes the runtime changes to the state file and says whether there is one; it raises `OSError`
    where the file cannot be written. `check` probes a backend now and judges it by that; LookupError where
    its pool has no probe. `wall` turns a time of the registry's clock into seconds since 1970.
    """

    config: "Config"
    registry: "Registry"
    metrics: "Metrics"
    save: Callable[[], Awaitable[bool]]
    check: "Callable[[Backend], Awaitable[Check]]"
    wall: Callable[[float], float]
    listening: list[str] = field(default_factory=list)
    started: float = 0.0
    stopping: bool = False
