"""/requests: which exchanges are shown, in what order, and everything that is shown of one."""

from typing import Any

import pytest

from lb.control import Control
from lb.core.backend import Backend
from lb.core.client_address import UNIX
from lb.core.exchange_record import Announced, AttemptRecord, ExchangeRecord
from lb.core.passed_over import NONE_PASSED_OVER, PassedOver
from lb.core.proxy_tlvs import ALPN
from lb.errors import Reason
from lb.observe.recorder import RECORDS
from lb.remote.why import described
from tests.admin.kit import Add, Api
from tests.kit.classes import attributes


class Tape:
    """Exchanges as the proxy would record them, one a second."""

    def __init__(self, control: Control) -> None:
        self.recorder = control.recorder
        self.began = control.started

    def plays(self, request_id: str, *backends: Backend, **facts: Any) -> ExchangeRecord:
        made = ExchangeRecord(request_id.encode(), "127.0.0.1:8080", "192.0.2.1:5000", self.began)
        made.method, made.target, made.pool, made.status = b"GET", b"/cart", "default", 200
        made.attempts = [AttemptRecord(each, NONE_PASSED_OVER, self.began) for each in backends]
        made.ended = self.began + 0.25
        for name, fact in facts.items():
            setattr(made, name, fact)
        self.began += 1
        self.recorder.finished(made)
        return made


@pytest.fixture
async def tape(control: Control) -> Tape:
    return Tape(control)


async def shown(api: Api, query: str = "") -> list[str]:
    answer = await api("GET", f"/requests{query}")
    assert answer.status == 200, answer.body
    return [item["id"] for item in answer.json["items"]]


async def test_everything_of_one_request(api: Api, add: Add, tape: Tape) -> None:
    refused, slow = add("web2"), add("web3")
    exchange = tape.plays(
        "0193",
        refused,
        slow,
        queued=0.02,
        status=504,
        reason=Reason.HTTP_RESPONSE_TIMEOUT,
        detail="the backend did not answer in time",
        request_bytes=3,
        target=b"/cart?\xff" + b"x" * 600,
    )
    (first, second), began = exchange.attempts, exchange.started
    first.started, first.ended, first.reason = began + 0.02, began + 0.021, Reason.CONNECTION_REFUSED
    first.passed_over = PassedOver((("web9", "draining"),))
    second.started, second.connected, second.ended = began + 0.03, began + 0.031, began + 0.25
    second.reason = Reason.HTTP_RESPONSE_TIMEOUT
    answer = await api("GET", "/requests/0193")
    view = answer.json
    assert (view["target"][:14], len(view["target"])) == (r"/cart?\xffxxxx", 512)
    del view["target"]
    assert view == {
        "id": "0193",
        "listener": "127.0.0.1:8080",
        "client": "192.0.2.1:5000",
        "peer": "192.0.2.1:5000",
        "proxy_header": None,
        "method": "GET",
        "pool": "default",
        "policy": "round_robin",
        "status": 504,
        "error": "http_response_timeout",
        "detail": "the backend did not answer in time",
        "request_bytes": 3,
        "response_bytes": 0,
        "started": "2027-01-15T08:00:00.000Z",
        "ended": "2027-01-15T08:00:00.250Z",
        "timings_ms": {"queue": 20.0, "connect": 1.0, "first_byte": None, "total": 250.0},
        "spent_ms": {
            **{"gathering": 0.0, "queueing": 20.0, "trying": 10.0, "connecting": 1.0, "sending": 0.0},
            **{"waiting": 219.0, "answering": 0.0, "reading": 0.0},
        },
        "usual_ms": None,
        "buffered": {"request_ms": None, "response_bytes": 0},
        "client_left": False,
        "attempts": [
            {
                "backend": "web2",
                "reused": False,
                "error": "connection_refused",
                "is_beaten": False,
                "started_ms": 20.0,
                "connected_ms": None,
                "first_byte_ms": None,
                "ended_ms": 21.0,
                "passed_over": [{"backend": "web9", "why": "draining"}],
                "passed_over_count": 1,
            },
            {
                "backend": "web3",
                "reused": False,
                "error": "http_response_timeout",
                "is_beaten": False,
                "started_ms": 30.0,
                "connected_ms": 31.0,
                "first_byte_ms": None,
                "ended_ms": 250.0,
                "passed_over": [],
                "passed_over_count": 0,
            },
        ],
        "passed_over": [],
        "explain": "2 of 2 attempts failed: web2 refused the connection,"
        " then web3 did not answer within 0.219 s (timeouts.response_head)."
        " Every backend of the pool was tried. web2 and web3 are both available now."
        " Look what the server was busy with; timeouts.response_head says how long it may take.",
    }
    assert (await api("GET", "/requests")).json["items"] == [answer.json]


async def test_those_of_which_an_attempt_failed_are_listed_and_explained(
    api: Api, add: Add, tape: Tape
) -> None:
    web1, web3 = add("web1"), add("web3")
    tape.plays("answered", web3, web1).attempts[0].reason = Reason.CONNECTION_REFUSED
    tape.plays("fine", web3)
    failed = tape.plays("failed", web1, status=502, reason=Reason.CONNECTION_REFUSED)
    failed.attempts[0].reason = Reason.CONNECTION_REFUSED
    assert await shown(api, "?attempt_failed=1") == ["failed", "answered"]
    assert await shown(api, "?attempt_failed=1&backend=web3") == ["answered"]
    assert await shown(api, "?attempt_failed=1&backend=web1&status=5xx") == ["failed"]
    [told] = (await api("GET", "/requests?attempt_failed=1&backend=web3")).json["items"]
    assert told["explain"].startswith(
        "web1 answered 200 in 250 ms. Before that, web3 refused the connection."
    )


@pytest.mark.parametrize("query", ["failed=1", "status=502", "status=5xx", "attempt_failed=1"])
async def test_it_is_said_since_when_failures_are_remembered(api: Api, tape: Tape, query: str) -> None:
    for number in range(RECORDS):
        tape.plays(str(number), status=502, reason=Reason.CONNECTION_REFUSED)
    assert (await api("GET", f"/requests?{query}&limit=1")).json["remembered_since"] is None
    tape.plays("one more", status=502, reason=Reason.CONNECTION_REFUSED)
    answer = await api("GET", f"/requests?{query}&limit=1")
    assert answer.json["remembered_since"] == "2027-01-15T08:00:00.250Z"
    for other in ("kinds=1", "slow=1"):
        assert (await api("GET", f"/requests?{other}&limit=1")).json["remembered_since"] is None


async def test_a_request_that_came_nowhere(api: Api, tape: Tape) -> None:
    tape.plays("1", method=b"", target=b"", pool="", status=499, reason=Reason.CLIENT_DISCONNECTED)
    view = (await api("GET", "/requests/1")).json
    assert (view["pool"], view["policy"], view["attempts"], view["client_left"]) == (None, None, [], True)


async def test_nobody_is_remembered_by_that_id(api: Api) -> None:
    answer = await api("GET", "/requests/no%0Asuch")
    assert (answer.status, answer.json["type"]) == (404, "/problems/not-found")


async def test_the_newest_come_first_and_can_be_chosen(api: Api, add: Add, tape: Tape) -> None:
    web1, web2 = add("web1"), add("web2")
    tape.plays("1", web1)
    tape.plays("2", web1, web2, status=502, reason=Reason.CONNECTION_REFUSED)
    tape.plays("3", web2, pool="other")
    tape.plays("a/b", web2, status=500)
    tape.plays("a/b", status=400, pool="", reason=Reason.HTTP_REQUEST_ERROR)
    assert await shown(api) == ["a/b", "a/b", "3", "2", "1"]
    assert await shown(api, "?failed=1") == ["a/b", "a/b", "2"]
    assert await shown(api, "?failed=false&limit=2") == ["a/b", "a/b"]
    assert await shown(api, "?backend=web1") == ["2", "1"]
    assert await shown(api, "?backend=web2&failed=1&limit=1") == ["a/b"]
    assert await shown(api, "?pool=other") == ["3"]
    assert await shown(api, "?pool=never-was") == []
    assert await shown(api, "?id=a/b") == ["a/b", "a/b"]


async def test_a_status_finds_failures_that_the_last_thousand_have_pushed_out(
    api: Api, add: Add, tape: Tape
) -> None:
    web1 = add("web1")
    tape.plays("bad", web1, status=502, reason=Reason.CONNECTION_REFUSED)
    tape.plays("own", web1, status=500)
    for number in range(1000):
        tape.plays(f"fine{number}", web1)
    for number in range(200):
        tape.plays(f"scan{number}", pool="", status=400, reason=Reason.HTTP_REQUEST_ERROR)
    assert await shown(api, "?status=5xx") == ["own", "bad"]
    assert await shown(api, "?status=502") == ["bad"]
    assert await shown(api, "?status=5xx&backend=web1&limit=1") == ["own"]
    assert await shown(api, "?status=503") == []
    assert await shown(api, "?kinds=1&status=502") == ["bad"]
    assert (await shown(api, "?failed=1&limit=1000"))[-2:] == ["own", "bad"]


async def test_the_time_of_those_that_are_wanted(api: Api, control: Control, tape: Tape) -> None:
    """They end at 0.25 s behind each second from 08:00:00Z on; it is a quarter of an hour later now."""
    for number in range(5):
        tape.plays(str(number))
    control.registry.now = lambda: control.started + 900.0
    assert await shown(api, "?since=2027-01-15T08:00:03Z") == ["4", "3"]
    assert await shown(api, "?since=2027-01-15T09:00:03%2B01:00") == ["4", "3"]
    assert await shown(api, "?until=2027-01-15T08:00:01.300") == ["1", "0"]
    assert await shown(api, "?since=899s&until=898s") == ["1"]
    assert await shown(api, "?since=2027-01-15 08:00:04Z&until=2027-02-31") == ["4"]
    assert await shown(api, "?until=2027-01-15") == []
    assert await shown(api, "?since=1h") == ["4", "3", "2", "1", "0"]
    assert await shown(api, "?since=5m") == []


@pytest.mark.parametrize(
    "query",
    [
        "status=6xx",
        "status=50",
        "status=5x",
        "since=x",
        "since=2026-13-01",
        "since=2026-01-32",
        "until=",
        "slow=2",
    ],
)
async def test_a_filter_that_cannot_be_read_is_named(api: Api, query: str) -> None:
    answer = await api("GET", f"/requests?{query}")
    assert (answer.status, answer.json["errors"][0]["parameter"]) == (422, query.partition("=")[0])


async def test_the_slowest_are_found_when_they_are_forgotten_otherwise(
    api: Api, add: Add, tape: Tape
) -> None:
    web1 = add("web1")
    slow = tape.plays("slow", web1)
    for number in range(1300):  # one a second, so there were several minutes
        tape.plays(str(number), web1)
    assert "slow" in await shown(api, "?slow=1&limit=1000")
    assert slow.id not in {each.id for each in tape.recorder.newest()}
    assert (await api("GET", "/requests/slow")).json["target"] == "/cart"
    assert await shown(api, "?slow=1&status=5xx") == []
    table = (await api("GET", "/requests?slow=1&limit=2&format=table")).body.decode()
    assert len(table.splitlines()) == 3


async def test_fifty_are_shown_unless_more_are_asked_for(api: Api, tape: Tape) -> None:
    for number in range(120):
        tape.plays(str(number))
    assert await shown(api) == [str(number) for number in range(119, 69, -1)]
    assert len(await shown(api, "?limit=1000")) == 120


@pytest.mark.parametrize("limit", ["0", "1001", "99999", "x", "-1", "1.5", "", "%C2%B2"])
async def test_a_limit_is_a_number_from_1_to_1000(api: Api, limit: str) -> None:
    answer = await api("GET", f"/requests?limit={limit}")
    assert (answer.status, answer.json["errors"][0]["parameter"]) == (422, "limit")


async def test_what_ends_while_others_are_rendered_is_not_in_the_way(
    api: Api, tape: Tape, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def meanwhile(_seconds: float) -> None:
        tape.plays("new")

    for number in range(50):
        tape.plays(str(number))
    monkeypatch.setattr("lb.slices.SLICE_SECONDS", 0.0001)
    monkeypatch.setattr("lb.slices.trio.sleep", meanwhile)
    assert "new" not in await shown(api)
    assert "new" in await shown(api)


async def test_the_table(api: Api, add: Add, tape: Tape) -> None:
    tape.plays("1", add("web1"))
    tape.plays("2", add("web2"), status=502, reason=Reason.CONNECTION_REFUSED, target=b"/" + b"x" * 80)
    tape.plays("3", status=408, method=b"", target=b"", reason=Reason.HTTP_REQUEST_ERROR)
    assert (await api("GET", "/requests?format=table")).body.decode().splitlines() == [
        f"TIME                      ID  STATUS  METHOD  {'TARGET':<60}  BACKEND         MS  ERROR",
        f"2027-01-15T08:00:02.250Z  3      408  -       {'-':<60}  -            250.0  http_request_error",
        f"2027-01-15T08:00:01.250Z  2      502  GET     /{'x' * 56}...  web2         250.0"
        "  connection_refused",
        f"2027-01-15T08:00:00.250Z  1      200  GET     {'/cart':<60}  web1         250.0",
    ]


async def test_no_secret_is_in_a_record() -> None:
    """What a record can hold at all: no field of a request and no body is among it."""
    assert set(attributes(ExchangeRecord)).isdisjoint(
        {"head", "fields", "headers", "lines", "body", "forwarding"}
    )


async def test_of_failures_alike_the_newest_speaks_for_all(api: Api, add: Add, tape: Tape) -> None:
    web1, web2 = add("web1"), add("web2")
    tape.plays("cause", web1, status=502, reason=Reason.CONNECTION_REFUSED)
    for number in range(3):
        tape.plays(f"storm{number}", status=503, reason=Reason.DESTINATION_UNAVAILABLE)
    tape.plays("fine", web2)
    tape.plays("own", web2, status=500)
    items = (await api("GET", "/requests?kinds=1")).json["items"]
    assert [(each["id"], each["alike"]) for each in items] == [("own", 1), ("storm2", 3), ("cause", 1)]
    first = (await api("GET", "/requests/storm0")).json
    assert items[1]["alike_since"] == first["ended"]
    assert "alike" not in first
    assert await shown(api, "?kinds=1&backend=web1") == ["cause"]
    assert await shown(api, "?kinds=1&limit=1") == ["own"]


async def test_what_a_proxy_header_said(api: Api, add: Add, tape: Tape) -> None:
    exchange = tape.plays("0193", add("web2"))
    exchange.announced = Announced("10.0.0.1:4000", ("2001:db8::9", 443), ((ALPN, b"h2"), (0xE1, b"\0\xff")))
    view = (await api("GET", "/requests/0193")).json
    assert view["proxy_header"] == {
        "sent_by": "10.0.0.1:4000",
        "destination": "[2001:db8::9]:443",
        "told": {"alpn": "h2", "0xe1": "00ff"},
    }
    assert "PROXY header from 10.0.0.1:4000, for [2001:db8::9]:443: alpn h2, 0xe1 00ff" in [*described(view)]
    exchange.announced = Announced("10.0.0.1:4000", (UNIX, 0), ())
    view = (await api("GET", "/requests/0193")).json
    assert "PROXY header from 10.0.0.1:4000, for unix" in [*described(view)]
