"""What is wrong in a cluster, in sentences."""

from lb.core.cluster_trouble import of_cluster
from lb.core.cluster_view import OwnWish, Standing

WELL = Standing(
    name="lb-1",
    prefix="/lb/test",
    failure="",
    is_known=True,
    revision=7,
    newest=7,
    heard_at=1.0,
    is_heard=True,
    members=("lb-1", "lb-2"),
    configs=("aa",),
    secrets=("",),
    unfit={},
    held={},
    own=(),
    writes={},
    resyncs={},
    leases_lost=0,
)


def kinds(standing: Standing) -> list[tuple[str, str]]:
    return [(found.kind, found.subject) for found in of_cluster(standing)]


def test_of_a_cluster_that_is_well_nothing_is_said() -> None:
    assert kinds(WELL) == []


def test_each_thing_is_found() -> None:
    own = (OwnWish("web", "web1", "draining", "ann", "2026-11-27"), OwnWish("web", "", "settings", "", "now"))
    ill = WELL._replace(
        failure="no answer",
        held={"k": "gone"},
        own=own,
        unfit={"k": "why"},
        configs=("aa", "bb"),
        secrets=("x", "y"),
    )
    assert kinds(ill) == [
        ("alone", ""),
        ("held wishes", ""),
        ("local", "web web1"),
        ("local", "web "),
        ("unfit", "k"),
        ("unlike", "pools and routes"),
        ("unlike", "secrets"),
    ]
    backend, pool = [found for found in of_cluster(ill) if found.kind == "local"]
    assert backend.what.now == "backend web1 is otherwise here than on the other balancers (draining)"
    assert backend.advice == "DELETE /backends/web1/local follows the others again."
    assert (backend.why, pool.why) == ("ann wanted it so at 2026-11-27", "somebody wanted it so at now")
    assert pool.advice == "DELETE /pools/web/local follows the others again."


def test_one_that_waits_for_the_wishes_serves_nobody() -> None:
    [found] = of_cluster(WELL._replace(is_known=False, failure="no answer"))
    assert (found.kind, found.why) == ("unknown wishes", "no answer")
