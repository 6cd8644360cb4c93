"""The metrics of sources of backends. Their labels are names of the configuration."""

from collections import Counter
from collections.abc import Iterator

from admin.views.metric_families import Family, counter, gauge, histogram
from lb.control import Control
from lb.core.discovery_view import SourceStanding

LABELS = ("pool", "source")


def of_sources(control: Control) -> Iterator[Family]:
    """Every family about sources."""
    standings = control.discovery.standings()
    now, keys = control.registry.now(), [(each.pool, each.name) for each in standings]
    pairs = [*zip(keys, standings, strict=True)]
    up = (((*key, each.kind), float(each.well_since is not None)) for key, each in pairs)
    yield gauge("discovery_up", "1 while the source says what there is.", (*LABELS, "kind"), up)
    ages = ((key, now - each.good_at) for key, each in pairs if each.good_at is not None)
    yield gauge("discovery_age_seconds", "How long the last good set is old.", LABELS, ages)
    results = (
        ((*key, result), float(each.results[result]))
        for key, each in pairs
        for result in ("success", "failure")
    )
    yield counter("discovery_refreshes", "Answers of the source.", (*LABELS, "result"), results)
    states = (((*key, state), count) for key, each in pairs for state, count in _states(each).items())
    yield gauge("discovery_backends", "Backends of the source by state.", (*LABELS, "state"), states)
    changes = (((*key, kind), float(count)) for key, each in pairs for kind, count in [*each.changes.items()])
    yield counter("discovery_changes", "Backends that a source has changed.", (*LABELS, "kind"), changes)
    held = ((key, float(len(each.held))) for key, each in pairs)
    yield gauge("discovery_held", "Backends that stay although the source does not want them.", LABELS, held)
    yield histogram(
        "discovery_apply_seconds",
        "From a set to its application, with pauses for others.",
        LABELS,
        ((key, each.applications) for key, each in pairs),
    )


def _states(standing: SourceStanding) -> Counter[str]:
    return Counter(
        here=standing.here - len(standing.missing),
        missing=len(standing.missing),
        shadowed=len(standing.shadowed),
        hidden=len(standing.hidden),
        waiting=len(standing.waiting),
    )
