"""A balancer that does not run, for what is made of a balancer and is to be described only."""

from lb.control import Control
from lb.core.backend import Backend
from lb.core.health.probe_verdict import Check
from lb.core.registry import Registry
from lb.observe.counters import Metrics
from lb.observe.recorder import Recorder
from lb.settings.balancer_settings import Config


async def _not_saved() -> bool:
    return False


async def _not_checked(backend: Backend) -> Check:
    raise LookupError(f"nobody probes {backend.id}")


def no_balancer() -> Control:
    """It has the default configuration, no backend, and a clock that stands still."""
    return Control(
        config=Config(),
        registry=Registry(now=lambda: 0.0, chance=lambda: 0.0, secret=lambda _file: b""),
        metrics=Metrics(),
        recorder=Recorder(),
        save=_not_saved,
        check=_not_checked,
        wall=lambda moment: moment,
    )
