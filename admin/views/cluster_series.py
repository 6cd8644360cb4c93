"""The metrics of a cluster, where there is one."""

from collections.abc import Callable, Iterator

from admin.views.metric_families import Family, counter, gauge
from lb.control import Control
from lb.core.cluster_view import Standing

GAUGES: tuple[tuple[str, str, Callable[[Standing], int]], ...] = (
    ("cluster_up", "1 while etcd is followed.", lambda it: not it.failure),
    ("cluster_heard", "1 while the others cannot have lost this balancer.", lambda it: it.is_heard),
    ("cluster_members", "Balancers that are there.", lambda it: len(it.members)),
    ("cluster_configs", "Different configurations among them.", lambda it: len(it.configs)),
    ("cluster_revision", "All wishes until this revision are done here.", lambda it: it.revision),
    ("cluster_newest", "The revision of the newest wish that is known.", lambda it: it.newest),
    ("cluster_unfit", "Wishes that cannot be done here.", lambda it: len(it.unfit)),
    ("cluster_local_overrides", "What this balancer alone has otherwise.", lambda it: len(it.own)),
)
WRITES = ("made", "overtaken", "failed", "unknown")


def of_cluster(control: Control) -> Iterator[Family]:
    """Every family about the cluster; without one they have no series."""
    standing = control.cluster.standing()
    there = () if standing is None else (standing,)
    for name, help_text, read in GAUGES:
        yield gauge(name, help_text, (), [((), float(read(each))) for each in there])
    ages = (((), control.registry.now() - it.heard_at) for it in there if it.heard_at is not None)
    yield gauge("cluster_age_seconds", "How long ago etcd was last heard.", (), ages)
    writes = (((result,), float(it.writes.get(result, 0))) for it in there for result in WRITES)
    yield counter("cluster_writes", "Changes of operators by what became of them.", ("result",), writes)
    ends = (((reason,), float(count)) for it in there for reason, count in [*it.resyncs.items()])
    yield counter("cluster_resyncs", "Watches that have ended; all was listed again.", ("reason",), ends)
    lost = (((), float(it.leases_lost)) for it in there)
    yield counter("cluster_leases_lost", "How often etcd has let this balancer go.", (), lost)
