"""The README's tables of what a backend and a client get of each field, held against a running balancer."""

import re
from pathlib import Path
from typing import Any

import pytest

from lb.http1.fields import HOP_BY_HOP, IDENTITY, REQUEST_CONTROL, RESPONSE_CONTROL
from tests.kit import Request, Response, running, virtual_time

README = (Path(__file__).parents[2] / "README.md").read_text()
NAME = re.compile(r"`([A-Za-z0-9_.~-]+)`(?!`)")
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
NOT_NAMES = {"X-Forwarded-", "Transfer-Encoding"}
"""The beginning of names, and what only stands in the place of Content-Length."""


def table(title: str) -> list[tuple[list[str], str, str]]:
    """(names, first word of the second cell, first word of the third) of each row of a table."""
    text = README.partition(f"| {title} |")[2].partition("\n\n")[0]
    rows = [re.split(r" \| ", line.strip("| ")) for line in text.splitlines()[2:]]
    return [(names_in(row[0]), *(first(cell) for cell in row[1:])) for row in rows]  # type: ignore[misc]


def names_in(cell: str) -> list[str]:
    return [*NAME.findall(cell), *(["X-Named"] if "names" in cell.replace("names that CGI", "") else [])]


def first(cell: str) -> str:
    return re.split(r"\W", cell, maxsplit=1)[0]


REQUESTS = table("field | sent by a client | sent by a trusted proxy")
ANSWERS = table("field | sent by a backend | an answer of our own")


def sent(rows: list[tuple[list[str], str, str]]) -> dict[str, str]:
    """Every field of the table with a value, and one that is not in it."""
    names = [name for names, *_ in rows for name in names if name not in NOT_NAMES]
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
            if name not in NOT_NAMES:
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
            if name not in NOT_NAMES:
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
    said = {name.lower().encode() for names, *_ in REQUESTS for name in names}
    assert said >= IDENTITY | REQUEST_CONTROL
    said = {name.lower().encode() for names, *_ in ANSWERS for name in names}
    assert said >= HOP_BY_HOP | RESPONSE_CONTROL
