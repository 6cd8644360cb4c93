"""Which request `lb why --backend` explains: one that failed, or of which an attempt failed there."""

from typing import Any

from tests.remote.kit import Terminal, request

KINDS = "GET /requests?kinds=true&limit=50&backend=web2"
FAILED = "GET /requests?failed=true&limit=1&backend=web2"
TRIED = "GET /requests?attempt_failed=true&limit=6&backend=web2"


def requests(*found: dict[str, Any], since: str | None = None) -> dict[str, Any]:
    return {"items": [*found], "remembered_since": since}


def tried(name: str, at: str, **more: Any) -> dict[str, Any]:
    """One that web2 refused, and web3 answered."""
    first, second = request()["attempts"]
    attempts = [first, {**second, "error": None}]
    return request(id=name, ended=f"2026-11-22T{at}.040Z", status=200, error=None, attempts=attempts, **more)


def line(name: str, at: str) -> str:
    told = "tried web2: connection refused; then web3: 200"
    return f"  2026-11-22T{at}.040Z  {told}  GET /cart  40.0 ms  id {name}"


def test_one_that_was_answered_elsewhere_is_explained_and_others_are_listed(lb: Terminal) -> None:
    lb.balancer.says(requests()).says(requests())
    newest, *others = [tried(f"r{at}", f"10:00:0{at}") for at in range(6, 0, -1)]
    lb.balancer.says(requests(newest, *others, since="2026-11-22T09:59:58.123Z")).says(newest)
    lines = lb("why", "--backend", "web2").splitlines()
    assert lines[0] == "GET /cart: 200 in 40.0 ms"
    assert lines[-7:] == [
        "attempts on web2 that failed too:",
        *[line(f"r{at}", f"10:00:0{at}") for at in range(5, 0, -1)],
        "remembered since 2026-11-22T09:59:58Z; older ones are forgotten",
    ]
    assert lb.balancer.asked == [KINDS, FAILED, TRIED, "GET /requests/r6"]


def test_a_newer_failure_that_clients_saw_comes_first(lb: Terminal) -> None:
    failed = request(id="r9", ended="2026-11-22T10:00:09.040Z")
    lb.balancer.says(requests(failed)).says(requests(failed, tried("r1", "10:00:01"))).says(failed)
    lines = lb("why", "--backend", "web2").splitlines()
    assert lines[-2:] == ["attempts on web2 that failed too:", line("r1", "10:00:01")]
    assert lb.balancer.asked == [KINDS, TRIED, "GET /requests/r9"]


def test_an_older_failure_that_clients_saw_is_named_once(lb: Terminal) -> None:
    failed, newest = request(id="r0"), tried("r1", "10:00:01")
    lb.balancer.says(requests(failed)).says(requests(newest)).says(newest)
    assert lb("why", "--backend", "web2").splitlines()[-2:] == [
        "failed before:",
        "  2026-11-22T10:00:00.040Z  502 connection_refused  GET /cart  web3  40.0 ms  id r0",
    ]
    lb.balancer.says(requests({**failed, "alike": 3})).says(requests(newest, failed)).says(newest)
    told = "tried web2: connection refused; then web3: http response incomplete"
    assert lb("why", "--backend", "web2").splitlines()[-2:] == [
        "attempts on web2 that failed too:",
        f"  2026-11-22T10:00:00.040Z  {told}  GET /cart  40.0 ms  id r0",
    ]


def test_clients_that_leave_hide_no_attempt_that_failed(lb: Terminal) -> None:
    left = request(id="r9", ended="2026-11-22T10:00:09.040Z", error="client_disconnected", status=499)
    lb.balancer.says(requests(left)).says(requests(tried("r1", "10:00:01"))).says(tried("r1", "10:00:01"))
    assert lb("why", "--backend", "web2").splitlines()[0] == "GET /cart: 200 in 40.0 ms"
    lb.balancer.says(requests(left)).says(requests()).says(left)
    assert "499 client_disconnected" in lb("why", "--backend", "web2")


def test_a_slower_attempt_is_no_failure(lb: Terminal) -> None:
    newest, other = tried("r2", "10:00:02"), tried("r1", "10:00:01")
    other["attempts"][1]["is_beaten"] = True
    lb.balancer.says(requests()).says(requests()).says(requests(newest, other)).says(newest)
    assert "web2: connection refused; then web3: slower  GET" in lb("why", "--backend", "web2")


def test_where_none_is_found_it_says_since_when_it_would_know(lb: Terminal) -> None:
    since = "2026-11-22T09:59:58.123Z"
    lb.balancer.says(requests()).says(requests(since=since))
    lb("why", code=3)
    assert lb.err.splitlines() == [
        "lb: no such request has failed lately; lb why ID explains another one",
        "remembered since 2026-11-22T09:59:58Z; older ones are forgotten",
    ]
    for answer in (requests(), requests(), requests(since=since), requests()):
        lb.balancer.says(answer)
    lb("why", "--backend", "web2", code=3)
    assert lb.err.endswith("older ones are forgotten\n")


def test_an_older_one_of_a_kind_is_found_where_the_newest_is_not_wanted(lb: Terminal) -> None:
    lb.balancer.says(requests()).says(requests(request())).says(request())
    lb("why", "--until", "2026-11-22T10:30")
    assert lb.balancer.asked == [
        "GET /requests?kinds=true&limit=50&until=2026-11-22T10%3A30",
        "GET /requests?failed=true&limit=1&until=2026-11-22T10%3A30",
        "GET /requests/r1",
    ]
