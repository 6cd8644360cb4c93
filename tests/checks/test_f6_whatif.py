"""Fault f6.11: no request to the admin service holds the event loop, however long its body or its answer.

The longest stretch is measured in CPU time, as on a machine of usual speed, and is the best of a few.
"""

from typing import Any

import pytest

from lb.control import Control
from lb.core.exchange_record import AttemptRecord, ExchangeRecord
from lb.core.passed_over import NONE_PASSED_OVER
from lb.errors import Reason
from lb.settings.backend_spec import BackendSpec
from lb.settings.pool_settings import PoolSettings
from tests.admin.kit import Api
from tests.kit.held import holding

HELD_SECONDS = 0.010
ONE = {"url": "http://10.9.9.9:1"}
NAMES = [f"b{number}" for number in range(6000)]
URLS = [{"url": f"http://10.1.{number // 250}.{number % 250}:1"} for number in range(1800)]


@pytest.fixture
async def many(control: Control) -> Control:
    """600 backends, and a minute of requests, half of which failed."""
    with control.registry.together():
        for number in range(600):
            spec = BackendSpec(id=f"b{number}", url=f"http://10.0.{number // 250}.{number % 250}:80")
            control.registry.add(spec, source="config")
    members = [*control.registry.pool("default").backends]
    now = control.registry.now()
    for number in range(1000):
        exchange = ExchangeRecord(b"%d" % number, "127.0.0.1:8080", "192.0.2.1:5000", now - 40 + number / 100)
        exchange.method, exchange.target, exchange.pool = b"GET", b"/", "default"
        attempt = AttemptRecord(members[number % 600], NONE_PASSED_OVER, exchange.started)
        attempt.ended = exchange.ended = exchange.started + 0.1
        exchange.attempts.append(attempt)
        exchange.status = 502 if number % 2 else 200
        exchange.reason = attempt.reason = Reason.CONNECTION_REFUSED if number % 2 else None
        control.recorder.finished(exchange)
    return control


async def longest(api: Api, method: str, path: str, body: object = None, **headers: str) -> float:
    """The longest stretch that this request holds the loop; where it is too long, the best of many."""
    best = 1.0
    for _ in range(20):
        with holding() as held:
            answer = await api(method, path, json=body, headers=headers)
        assert answer.status in (200, 422)
        best = min(best, held.longest)
        if best < HELD_SECONDS:
            break
    return best


QUESTIONS: dict[str, Any] = {
    "one is removed": {"remove": ["b0"]},
    "others": {"items": URLS},
    "many more": {"add": URLS},
    "many are removed": {"remove": NAMES},
    "none of those is there": {"remove": [f"x{number}" for number in range(6000)]},
    "weights": {"weights": {name: 2 for name in NAMES[:600]}},
    "labels": {"add": [{**ONE, "labels": {f"k{number}": "" for number in range(3000)}}]},
    "unknown fields": {f"field{number}": 1 for number in range(4000)},
    "empty backends": {"items": [{}] * 15_000},
    "wrong addresses": {"items": [{"url": "x"}] * 4000},
    "the same address": {"items": [ONE] * 2000},
}


@pytest.mark.alone
@pytest.mark.parametrize("question", QUESTIONS)
async def test_f6_11_whatif_goes_on_in_slices(api: Api, many: Control, question: str) -> None:
    assert await longest(api, "POST", "/whatif", QUESTIONS[question]) < HELD_SECONDS


@pytest.mark.alone
async def test_f6_11_whatever_the_policy_looks_at(api: Api, many: Control) -> None:
    many.registry.configure(many.registry.pool("default"), PoolSettings(policy="hash"))
    assert await longest(api, "POST", "/whatif", QUESTIONS["many more"]) < HELD_SECONDS


@pytest.mark.alone
@pytest.mark.parametrize("body", ["empty backends", "wrong addresses"])
async def test_f6_11_nor_does_a_set_that_is_refused(api: Api, many: Control, body: str) -> None:
    assert await longest(api, "PUT", "/backends", QUESTIONS[body]["items"]) < HELD_SECONDS


@pytest.mark.alone
@pytest.mark.parametrize(
    "path",
    [
        "/", "/backends", "/backends?format=table", "/stats", "/metrics", "/config", "/pools",
        "/openapi.json", "/requests?limit=1000", "/requests?limit=1000&format=table",
        "/requests?failed=1&limit=1000", "/requests?kinds=1", "/audit",
    ],
)  # fmt: skip
async def test_f6_11_so_do_answers_about_many(api: Api, many: Control, path: str) -> None:
    assert await longest(api, "GET", path) < HELD_SECONDS


@pytest.mark.alone
async def test_f6_11_nor_does_an_accept_of_thousands_of_types(api: Api) -> None:
    assert await longest(api, "GET", "/", Accept="a/b;q=0.1," * 1200) < HELD_SECONDS
