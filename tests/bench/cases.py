"""The rows: a load, the setting that it needs, and what it is compared with."""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.bench.heads import AB, BEHIND_CDNS, BROWSER, JAVA, KEYS, POST, in_turn, over_routes
from tests.bench.loads import Load, download, handshakes, idle_connections, wrk
from tests.bench.setting import PLAIN, Setting

COUNTS = (100, 1000, 10000)
OTHER_POLICIES = ("least_requests", "two_choices", "ewma", "hash", "random")
MANY_ROUTES = Setting(routes=20000)


@dataclass(frozen=True)
class Case:
    """A row. With a `base`, ours is measured with that setting too, and the row says the ratio."""

    load: Load
    setting: Setting = PLAIN
    base: Setting | None = None
    not_for: frozenset[str] = frozenset()
    is_memory: bool = False
    """In place of CPU, and measured once: a program that has grown fills the same room again."""


def with_many(policy: str) -> Iterator[tuple[str, Case]]:
    """So many backends, against three."""
    load = wrk("/hello", script=KEYS) if policy == "hash" else wrk("/hello")
    suffix = "" if policy == PLAIN.policy else f" by {policy}"
    for count in COUNTS:
        yield f"{count} backends{suffix}", Case(load, Setting(count, policy), Setting(policy=policy))


def with_workers(count: int) -> Iterator[tuple[str, Case]]:
    """So many workers on one core, against as many balancers that do not know of each other, and against one.

    What they cost more than the former is what it costs to be one balancer. What they cost more than one
    process comes mostly from the core that they share, and from serving fewer connections each: less is ready
    at a time, so a turn of the event loop serves fewer requests.
    """
    for_each = wrk("/hello", for_each=True)
    yield f"{count} workers", Case(for_each, Setting(workers=count), Setting(copies=count))
    yield f"{count} workers at 32 connections", Case(SMALL, Setting(workers=count), PLAIN)


SMALL = wrk("/hello")
OVER_TLS: dict[str, Load] = {
    "small GET": SMALL,
    "16 KiB": wrk("/16k"),
    "1 MiB": wrk("/1m"),
    "a full handshake and a request": handshakes("/hello"),
    "idle connection": idle_connections,
}


def with_tls(name: str, load: Load) -> Case:
    """Over TLS 1.3, with a certificate on P-256."""
    return Case(
        load,
        Setting(tls=True),
        not_for=frozenset({"textbook", "ancestor"}),
        is_memory=name == "idle connection",
    )


CASES: dict[str, Case] = {
    "small GET": Case(SMALL),
    "browser head": Case(wrk("/hello", script=BROWSER)),
    "CDN head": Case(wrk("/hello", script=in_turn(BEHIND_CDNS))),
    "Java head": Case(wrk("/hello", script=in_turn(JAVA))),
    "POST 1 KiB": Case(wrk("/hello", script=POST)),
    "chunked response": Case(
        wrk("/page.css", options=("-H", "Accept-Encoding: gzip")), not_for=frozenset({"ancestor"})
    ),
    "16 KiB": Case(wrk("/16k")),
    "1 MiB": Case(wrk("/1m"), not_for=frozenset({"textbook"})),
    "1 GiB": Case(download, not_for=frozenset({"textbook"})),
    "a connection per request": Case(wrk("/hello", options=("-H", "Connection: close"))),
    "HTTP/1.0 and a connection per request": Case(
        wrk("/hello", script=in_turn(AB)), not_for=frozenset({"textbook"})
    ),
    "256 connections": Case(wrk("/hello", connections=256)),
    "one connection": Case(wrk("/hello", connections=1)),
    "idle connection": Case(
        idle_connections,
        not_for=frozenset(
            {"textbook", "ancestor", "HAProxy", "nginx"}
        ),  # HAProxy asks for twice the descriptors
        is_memory=True,
    ),
    "access log": Case(SMALL, Setting(logs=True), PLAIN),
    **{name: case for count in (2, 4) for name, case in with_workers(count)},
    **{f"TLS: {name}": with_tls(name, load) for name, load in OVER_TLS.items()},
    **dict(with_many(PLAIN.policy)),
    "20000 routes": Case(wrk("/", script=over_routes(MANY_ROUTES)), MANY_ROUTES, PLAIN),
    **{name: case for policy in OTHER_POLICIES for name, case in with_many(policy)},
}
