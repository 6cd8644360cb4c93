"""What the reference says of each field of requests and answers, held against a running balancer."""

import re
from collections.abc import Sequence
from typing import Any

import pytest

from admin.reference import field_reference
from lb.http1.fields import HOP_BY_HOP, IDENTITY, REQUEST_CONTROL, RESPONSE_CONTROL
from tests.kit import Request, Response, running, virtual_time

VALUES = {
    "Connection": "X-Named",
    "TE": "gzip",
    "Upgrade": "echo",
    "Expect": "100-continue",
    "Max-Forwards": "7",
    "Content-Length": "2",
    "Via": "1.1 before",
    "Forwarded": "for=192.0.2.7",
    "X-Forwarded-For": "192.0.2.7",
    "Host": "a.test",
    "Date": "Thu, 01 Jan 2026 00:00:00 GMT",
}
"""The values to send; others are "theirs"."""
NOT_SENT = {"Transfer-Encoding"}
"""It stands in the place of Content-Length, and both together are refused."""


def sendable(names: Sequence[str]) -> list[str]:
    return [name for name in names if name not in NOT_SENT]


def first(cell: str) -> str:
    return re.split(r"\W", cell, maxsplit=1)[0]


REQUESTS = [(sendable(row.names), first(row.first), first(row.second)) for row in field_reference.REQUESTS]
ANSWERS = [(sendable(row.names), first(row.first), first(row.second)) for row in field_reference.ANSWERS]


def sent(rows: Sequence[tuple[Sequence[str], str, str]]) -> dict[str, str]:
    """Every field of the table with a value, and one that is not in it."""
    names = [name for names, *_ in rows for name in names]
    return {name: VALUES.get(name, "theirs") for name in (*names, "X-Other")}


def lines(fields: dict[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode()


def became(got: Request | Response, name: str, value: str) -> set[str]:
    """The words of the table that are true of this field, which was sent with this value."""
    there = ", ".join(got.all(name))
    if not there:
        return {"cut", "absent"}
    if there == value:
        return {"kept", "anew"}
    return {"extended"} if there.startswith(f"{value}, ") else {"ours"}


@pytest.mark.parametrize("place", [1, 2], ids=["client", "proxy"])
@virtual_time
async def test_f4_5_a_backend_gets_what_the_table_says(place: int) -> None:
    config: dict[str, Any] = {"trusted_proxies": ["127.0.0.1"] if place == 2 else []}
    fields = sent(REQUESTS)
    async with running(**config) as lb:
        client = await lb.asks(b"POST / HTTP/1.1\r\n" + lines(fields) + b"\r\nhi")
        peer = await lb.backend.accepts()
        got = await peer.hears_request()
        await peer.says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await client.hears(200)
    for names, *words in REQUESTS:
        for name in names:
            assert words[place - 1] in became(got, name, fields[name]), (name, got.head)
    assert became(got, "X-Other", "theirs") == {"kept", "anew"}
    assert {name.lower() for name in got.names} <= {name.lower() for name in fields}


@virtual_time
async def test_f4_5_a_client_gets_what_the_table_says() -> None:
    fields = sent(ANSWERS)
    async with running() as lb:
        client = await lb.asks(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        peer = await lb.backend.hears()
        await peer.says(b"HTTP/1.1 200 OK\r\n" + lines(fields) + b"\r\nhi")
        got = await client.hears(200)
        await client.says(b"rubbish\r\n\r\n")
        ours = await client.hears(400)
    for names, of_backend, of_ours in ANSWERS:
        for name in names:
            assert of_backend in became(got, name, fields[name]), (name, got.head)
            is_there = name in ours and name != "Connection"
            assert is_there is (of_ours == "ours"), (name, ours.head)
    assert {name.lower() for name in (*got.names, *ours.names)} <= {name.lower() for name in fields}


@virtual_time
async def test_f4_5_what_is_added_where_nothing_was_sent() -> None:
    async with running(
        forwarded=True, trusted_proxies=["127.0.0.1"], pools={"default": {"sticky": {}}}
    ) as lb:
        client = await lb.asks(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        peer = await lb.backend.accepts()
        asked = await peer.hears_request()
        await peer.says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        answered = await client.hears(200)
    ours = {names[0] for names, of_client, _ in REQUESTS if of_client == "ours"}
    assert ours | {"X-Forwarded-Host", "X-Request-Id", "Forwarded", "Via", "Host"} == set(asked.names)
    assert set(answered.names) == {"Content-Length", "Date", "Set-Cookie"}


def test_the_tables_have_every_name_that_is_treated_in_a_way_of_its_own() -> None:
    said = {name.lower().encode() for row in field_reference.REQUESTS for name in row.names}
    assert said >= IDENTITY | REQUEST_CONTROL
    said = {name.lower().encode() for row in field_reference.ANSWERS for name in row.names}
    assert said >= HOP_BY_HOP | RESPONSE_CONTROL
