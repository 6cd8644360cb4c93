"""The list of backends, its table, and one backend."""

from typing import cast

import trio

from lb.control import Control
from lb.core.cluster_view import Alone, OwnWish
from lb.observe.counters import NO_ANSWER
from tests.admin.kit import Add, Api, Hold

WEB1 = {"id": "web1", "url": "http://10.0.0.1:80"}


async def test_list_filters_and_sums(api: Api, add: Add, hold: Hold, control: Control) -> None:
    control.registry.add_pool("other")
    hold(add("web1"))
    add("web2", "other")
    await api("POST", "/backends/web1/drain")
    everything = (await api("GET", "/backends")).json
    assert [item["id"] for item in everything["items"]] == ["web1", "web2"]
    assert everything["totals"] == {"backends": 2, "available": 1, "in_flight": 1}
    for query, ids in {"pool=other": ["web2"], "state=draining": ["web1"], "state=drained": []}.items():
        items = (await api("GET", f"/backends?{query}")).json["items"]
        assert [item["id"] for item in items] == ids, query


async def test_a_table_for_terminals(api: Api, add: Add) -> None:
    add("web1", weight=10)
    add("a-longer-name")
    answer = await api("GET", "/backends?format=table")
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.body.decode().splitlines() == [
        "ID             POOL     URL                 STATE  WEIGHT  IN_FLIGHT  REQUESTS  5XX  FAILURES  "
        "SOURCE  WHY",
        "web1           default  http://10.0.0.1:80  ready      10          0         0    0         0  "
        "config",
        "a-longer-name  default  http://10.0.0.1:80  ready       1          0         0    0         0  "
        "config",
    ]
    assert b"web1 " in (await api("GET", "/backends/web1?format=table")).body


async def test_curl_gets_lines_and_others_do_not(api: Api, add: Add) -> None:
    add("web1")
    assert (await api("GET", "/backends", headers={"User-Agent": "curl/8.1"})).body.count(b"\n") > 10
    assert b"\n" not in (await api("GET", "/backends", headers={"User-Agent": "httpx"})).body


async def test_get_waits_until_drained(
    api: Api, add: Add, hold: Hold, control: Control, autojump_clock: trio.testing.MockClock
) -> None:
    backend = add("web1")
    holder = hold(backend)
    at_once = await api("GET", "/backends/web1?wait=drained")
    assert at_once.json["status"]["state"] == "ready"
    control.registry.drain(backend, 300)
    started = trio.current_time()
    await api("GET", "/backends/web1?wait=drained")
    assert trio.current_time() - started == 30
    answer = await api("GET", "/backends/web1?wait=drained&timeout=2.5")
    assert (answer.json["status"]["state"], trio.current_time() - started) == ("draining", 32.5)
    holder.end()
    assert (await api("GET", "/backends/web1?wait=drained")).json["status"]["state"] == "drained"


async def test_what_is_known_is_not_sent_again(api: Api, add: Add) -> None:
    add("web1")
    for path in ("/backends", "/backends/web1"):
        tag = (await api("GET", path)).headers["etag"]
        answer = await api("GET", path, headers={"If-None-Match": f"W/{tag}"})
        assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", tag)
    await api("PATCH", "/backends/web1", form="weight=2")
    assert (await api("GET", "/backends", headers={"If-None-Match": tag})).status == 200


async def test_failures_of_clients_are_not_held_against_a_backend(api: Api, add: Add) -> None:
    from lb.errors import Reason

    backend = add("web1")
    backend.codes[200] = 5
    backend.failures[Reason.CONNECTION_REFUSED] = 2
    backend.failures[Reason.CLIENT_DISCONNECTED] = 1
    status = (await api("GET", "/backends/web1")).json["status"]
    assert (status["requests_total"], status["failures_total"]) == (8, 2)


async def test_its_own_errors_are_counted_beside_attempts_without_an_answer(api: Api, add: Add) -> None:
    backend = add("web1")
    backend.codes.update({200: 5, 404: 4, 500: 3, 503: 1, NO_ANSWER: 7})
    status = (await api("GET", "/backends/web1")).json["status"]
    assert (status["requests_total"], status["responses_5xx_total"], status["failures_total"]) == (20, 4, 0)


class WithOwnWish:
    """A cluster in which this balancer alone has web1 otherwise; all else is as without a cluster."""

    def __getattr__(self, name: str) -> object:
        return getattr(Alone(), name)

    def own_wish(self, pool: str, backend_id: str) -> OwnWish | None:
        wish = OwnWish(pool, backend_id, "draining", "ops", "2027-01-15T08:00:00.000Z")
        return wish if backend_id == "web1" else None


async def test_what_holds_here_alone_is_marked(api: Api, add: Add, control: Control) -> None:
    control.cluster = cast("Alone", WithOwnWish())  # no subclass, as the compiled build allows none
    add("web1", weight=0)
    add("web2")
    _, first, second = (await api("GET", "/backends?format=table")).body.decode().splitlines()
    assert first.endswith("  draining here alone, by ops, weight 0")
    assert second.endswith("  config")
    whys = [item["status"]["why"] for item in (await api("GET", "/backends")).json["items"]]
    assert whys == ["draining here alone, by ops, weight 0", ""]


async def test_a_reason_repeats_neither_id_nor_url_and_is_told_in_full(
    api: Api, add: Add, control: Control
) -> None:
    web1, _ = add("web1"), add("web2")
    reason = "Connection refused, " * 10
    for _ in range(3):
        control.registry.pools["default"].failed(
            web1, f"web1 at {web1.spec.url}: {reason}", 0.1, control.registry.now()
        )
    assert (await api("GET", "/backends/web1")).json["status"]["why"] == reason
    row = (await api("GET", "/backends?format=table")).body.decode().splitlines()[1]
    assert row.endswith(f"  {reason[:60].rstrip()}")
