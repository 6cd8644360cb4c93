"""What is wrong with a balancer in its cluster: rules over its standing, as in `lb.core.trouble_rules`."""

from collections.abc import Iterator

from lb.core.cluster_view import OwnWish, Standing
from lb.core.tenses import ARE, IS, Tenses, clause
from lb.core.trouble_kinds import Found
from lb.suggestions import plural

LACK = Tenses("lacks", "has lacked", "lacked")
WISH = Tenses("wishes", "has wished", "wished")
CANNOT = Tenses("cannot", "cannot", "could not")


def of_cluster(standing: Standing) -> Iterator[Found]:
    """All that is wrong with it now."""
    if not standing.is_known:
        yield Found(
            "unknown wishes",
            "",
            what=clause("nobody ", IS, " served here, for the wishes of the cluster ", ARE, " not known"),
            why=standing.failure,
            advice='Start etcd; or give this balancer a cluster.cache, or cluster.start = "config".',
        )
    elif standing.failure:
        yield Found(
            "alone",
            "",
            what=clause("etcd ", Tenses("is not", "has not been", "was not"), " followed"),
            why=standing.failure,
            advice="Traffic goes on; changes are refused, and those of other balancers are not heard of. "
            "?local=true changes this balancer alone, until DELETE .../local.",
        )
    if standing.held:
        yield Found(
            "held wishes",
            "",
            what=clause(
                "etcd ",
                IS,
                " another one than before, and ",
                LACK,
                f" {plural(len(standing.held), 'change')}",
            ),
            why=next(f"{key}: {why}" for key, why in standing.held.items()),
            advice="POST /cluster/restore puts them back; POST /cluster/accept follows etcd as it is.",
        )
    for own in standing.own:
        yield _own(own)
    for key, why in standing.unfit.items():
        yield Found(
            "unfit",
            key,
            what=clause("the cluster ", WISH, " what ", CANNOT, f" be done here ({key})"),
            why=why,
            advice="Configure this balancer as the others are: GET /cluster shows whether they differ.",
        )
    if len(standing.configs) > 1:
        yield _unlike("pools and routes", len(standing.configs), "Reload the same lb.toml on all of them.")
    if len(standing.secrets) > 1:
        advice = "Share sticky.secret_file: clients lose their backend when they come to another balancer."
        yield _unlike("secrets", len(standing.secrets), advice)


def _own(own: OwnWish) -> Found:
    what = f"backend {own.backend_id}" if own.backend_id else f"pool {own.pool}"
    path = f"/backends/{own.backend_id}" if own.backend_id else f"/pools/{own.pool}"
    return Found(
        "local",
        f"{own.pool} {own.backend_id}",
        what=clause(f"{what} ", IS, f" otherwise here than on the other balancers ({own.wish})"),
        why=f"{own.by or 'somebody'} wanted it so at {own.at}",
        advice=f"DELETE {path}/local follows the others again.",
        pool=own.pool,
        backend=own.backend_id,
        lasts=False,
    )


def _unlike(what: str, kinds: int, advice: str) -> Found:
    return Found(
        "unlike",
        what,
        what=clause("the balancers of the cluster ", ARE, f" configured in {plural(kinds, 'way')} ({what})"),
        advice=advice,
    )
