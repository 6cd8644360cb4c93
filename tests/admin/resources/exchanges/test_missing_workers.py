"""What is said where a worker does not answer in time: who is missing, in JSON, in the head and in words."""

from typing import Any

import pytest

from lb.control import Control
from lb.core.exchange_record import ExchangeRecord
from lb.core.running_exchange import RunningExchange
from lb.observe.all_exchanges import Found, OwnExchanges, Wanted
from lb.observe.failure_kind import Kind
from tests.admin.kit import Api

ONE = (2,), "worker 2 did not answer in time"
THREE = (1, 2, 4), "workers 1, 2 and 4 did not answer in time"


class Incomplete(OwnExchanges):
    """The exchanges of a balancer of which some workers do not answer."""

    def __init__(self, control: Control, missing: tuple[int, ...]) -> None:
        super().__init__(control.recorder, lambda: control.running, control.registry)
        self.missing = missing

    async def newest(self, wanted: Wanted) -> Found[ExchangeRecord]:
        return (await super().newest(wanted))._replace(missing=self.missing)

    async def slowest(self, wanted: Wanted) -> Found[ExchangeRecord]:
        return (await super().slowest(wanted))._replace(missing=self.missing)

    async def kinds(self, wanted: Wanted) -> Found[Kind]:
        return self.kinds_now(wanted)._replace(missing=self.missing)

    async def running(self, wanted: Wanted) -> Found[RunningExchange]:
        return self.running_now(wanted)._replace(missing=self.missing)

    async def find(self, exchange_id: bytes) -> Found[ExchangeRecord | RunningExchange]:
        return self.find_now(exchange_id)._replace(missing=self.missing)

    async def end(self, exchange_id: bytes, why: str) -> Found[RunningExchange]:
        return self.end_now(exchange_id, why)._replace(missing=self.missing)


def call(method: str, path: str, **json: object) -> tuple[str, str, Any]:
    return method, path, json or None


LISTS = [
    call("GET", "/requests"),
    call("GET", "/requests?kinds=1"),
    call("GET", "/requests?slow=1"),
    call("GET", "/requests?running=1"),
    call("POST", "/whatif", items=[{"id": "web1", "url": "http://10.0.0.1:80"}]),
]


@pytest.mark.parametrize(("missing", "words"), [ONE, THREE])
@pytest.mark.parametrize(("method", "path", "body"), LISTS)
async def test_who_is_missing_in_a_list_is_named(
    api: Api, control: Control, missing: tuple[int, ...], words: str, method: str, path: str, body: Any
) -> None:
    control.exchanges = Incomplete(control, missing)
    answer = await api(method, path, json=body)
    assert (answer.status, answer.json["missing_workers"]) == (200, [*missing])
    assert answer.headers["lb-warning"] == words


@pytest.mark.parametrize(("method", "path", "body"), LISTS)
async def test_nobody_is_named_where_nobody_is_missing(api: Api, method: str, path: str, body: Any) -> None:
    answer = await api(method, path, json=body)
    assert answer.status == 200
    assert "missing_workers" not in answer.json
    assert "lb-warning" not in answer.headers


@pytest.mark.parametrize("which", ["", "&running=1", "&kinds=1"])
async def test_who_is_missing_in_a_table_is_named_in_the_head(api: Api, control: Control, which: str) -> None:
    control.exchanges = Incomplete(control, ONE[0])
    answer = await api("GET", f"/requests?format=table{which}")
    assert answer.headers["lb-warning"] == ONE[1]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_what_is_not_found_may_be_with_who_is_missing(api: Api, control: Control, method: str) -> None:
    control.exchanges = Incomplete(control, ONE[0])
    answer = await api(method, "/requests/nobody")
    assert answer.status == 404
    assert answer.json["detail"].endswith(f"; {ONE[1]}")
