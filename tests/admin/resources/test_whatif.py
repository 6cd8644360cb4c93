"""POST /whatif."""

from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest
import trio

from lb.control import Control
from lb.core.exchange_record import AttemptRecord, ExchangeRecord
from lb.core.passed_over import NONE_PASSED_OVER
from lb.core.simulation.forecast import Forecast
from tests.admin.kit import Add, Api


@pytest.fixture
async def busy(control: Control, add: Add) -> None:
    """A minute of a pool with two backends: a request a second, each lasting two; and others."""
    backend, _ = add("web1"), add("web2")
    now = control.registry.now() + 0.5
    for number in range(-90, 0):
        for pool in ("default", "other"):
            made = ExchangeRecord(b"x", "127.0.0.1:8080", "[2001:db8::1]:5000", now + number)
            made.pool, made.status, made.target = pool, 200, b"/"
            made.attempts = [AttemptRecord(backend, NONE_PASSED_OVER, now + number)] if number % 10 else []
            made.ended = now + number + 2.0
            control.recorder.finished(made)


async def ask(api: Api, **body: Any) -> Any:
    answer = await api("POST", "/whatif", json=body)
    assert answer.status == 200, answer.body
    return answer.json


async def test_as_it_is(api: Api, busy: None) -> None:
    answer = await ask(api)
    assert (answer["requests"], answer["queued"], answer["refused"]) == (60, 0, 0)
    assert answer["items"][0] == {
        "id": "web1",
        "weight": 1,
        "requests": 30,
        "share": 0.5,
        "peak_in_flight": 1,
    }


async def test_the_window_is_what_is_remembered(api: Api, busy: None, control: Control) -> None:
    assert (await ask(api))["window_seconds"] == 60
    now = control.registry.now()
    for number in range(1000):
        made = ExchangeRecord(b"x", "127.0.0.1:8080", "192.0.2.1:5000", now - 3 + number * 0.003)
        made.pool, made.ended = "default", made.started
        control.recorder.finished(made)
    assert (await ask(api))["window_seconds"] == pytest.approx(3, abs=0.5)


@pytest.mark.parametrize(
    ("body", "requests"),
    [
        ({"remove": ["web1"]}, {"web2": 60}),
        ({"weights": {"web1": 2}}, {"web1": 40, "web2": 20}),
        ({"add": [{"id": "web3", "url": "http://10.0.0.3"}]}, {"web1": 20, "web2": 20, "web3": 20}),
        ({"items": [{"id": "new", "url": "http://10.0.0.3"}]}, {"new": 60}),
        ({"items": []}, {}),
        ({"remove": ["web1"], "add": [{"url": "http://10.0.0.3", "admin_state": "draining"}]}, {"web2": 60}),
    ],
)
async def test_as_it_would_be(
    api: Api, busy: None, control: Control, body: Any, requests: dict[str, int]
) -> None:
    revision = control.registry.revision
    answer = await ask(api, **body)
    assert {each["id"]: each["requests"] for each in answer["items"]} == requests
    assert answer["refused"] == 60 - sum(requests.values())
    assert control.registry.revision == revision


async def test_who_is_out_is_not_there(api: Api, busy: None) -> None:
    await api("POST", "/backends/web1/maintenance")
    assert [each["id"] for each in (await ask(api))["items"]] == ["web2"]
    capped = [{"id": "a", "url": "http://10.0.0.1", "max_in_flight": 1}]
    assert (await ask(api, items=capped))["queued"] > 0


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"remov": []}, "#/remov"),
        ({"remove": "web1"}, "#/remove"),
        ({"remove": ["nope"]}, "#/remove/0"),
        ({"weights": {"a/b": 1}}, "#/weights/a~1b"),
        ({"weights": {"web1": -1}}, "#/weights/web1"),
        ({"weights": {"web1": 10**30}}, "#/weights/web1"),
        ({"add": [{"id": "web1", "url": "http://10.0.0.1"}]}, "#/add"),
        ({"add": [{"url": "ftp://x"}]}, "#/add/0/url"),
        ({"items": [], "remove": []}, "#/items"),
        ({"items": "all"}, "#/items"),
        ({"pool": "nope"}, "#/pool"),
        ({"pool": None}, "#/pool"),
    ],
)
async def test_mistakes_are_named(api: Api, add: Add, body: Any, pointer: str) -> None:
    add("web1")
    sent = str(body).replace("'", '"').replace("None", "null").encode()
    answer = await api("POST", "/whatif", body=sent, headers={"Content-Type": "application/json"})
    assert answer.status == 422
    assert answer.pointers[0] == pointer


async def test_one_question_is_thought_about_at_a_time(
    api: Api, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    add("web1")
    thinking = Counter[str]()

    def slowly(*_args: object) -> Generator[None, None, Forecast]:
        thinking["now"] += 1
        thinking["most"] = max(thinking["most"], thinking["now"])
        for _ in range(10):
            yield
        thinking["now"] -= 1
        return Forecast()

    monkeypatch.setattr("lb.slices.SLICE_SECONDS", 0.0)
    monkeypatch.setattr("admin.resources.whatif.simulation", slowly)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(api, "POST", "/whatif")
    assert thinking["most"] == 1
