"""/requests: which exchanges are shown, in what order, and everything that is shown of one."""

from typing import Any

import pytest

from lb.control import Control
from lb.core.backend import Backend
from lb.core.exchange_record import AttemptRecord, ExchangeRecord
from lb.core.passed_over import NONE_PASSED_OVER, PassedOver
from lb.errors import Reason
from tests.admin.kit import Add, Api


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
    monkeypatch.setattr("admin.slices.SLICE_SECONDS", 0.0001)
    monkeypatch.setattr("admin.slices.trio.sleep", meanwhile)
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
    assert set(ExchangeRecord.__slots__).isdisjoint(
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
