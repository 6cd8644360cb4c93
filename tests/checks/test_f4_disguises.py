"""Fault f4.5: names that a backend would take for a proxy's, and fields of proxies that we do not know."""

import pytest

from tests.kit import GET, OK, Request, running, virtual_time

pytestmark = virtual_time

FOLDED = ("X{}Forwarded{}For", "X{}Forwarded{}Proto", "X{}Real{}IP", "X{}Forwarded{}User", "x{}request{}id")
FRAMES = ("Content{}Length", "Transfer{}Encoding", "Proxy{}Authorization", "Keep{}Alive", "Max{}Forwards")
UNKNOWN = (
    "X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Client-Cert", "X-Forwarded-Scheme",
    "X-Forwarded-By",
    "X-Forwarded-Uri", "X-Forwarded-Protocol", "X-Forwarded-", "Forwarded", "X-Real-IP", "X-Client-IP",
    "X-Cluster-Client-IP", "Client-IP", "True-Client-IP", "CF-Connecting-IP", "Fastly-Client-IP",
    "X-Original-URL", "X-Rewrite-URL", "X-Original-Forwarded-For", "SCRIPT_NAME", "PATH_INFO",
    "X-Script-Name", "X-Scheme", "X-Forwarded", "Forwarded-For", "WL-Proxy-Client-IP",
)  # fmt: skip
OTHERS = (
    "X-Forwarder",
    "X-Forwards",
    "X_Api_Key",
    "My.Field",
    "X-Content-Length",
    "A~B",
    "X-Tenant-Id",
    "Date",
)


async def heard_by_backend(name: str, *trusted: str) -> Request:
    """What the backend gets of a request with this field, whose value is 6.6.6.6."""
    async with running(trusted_proxies=[*trusted]) as lb, lb.backend.answering(OK) as heard:
        client = await lb.asks(GET[:-2] + f"{name}: 6.6.6.6\r\n\r\n".encode())
        await client.hears(200)
        return heard[0]


@pytest.mark.parametrize("mark", ["_", ".", "~", "!", "*", "'", "|"])
@pytest.mark.parametrize("form", FOLDED + FRAMES)
async def test_f4_5_names_in_disguise_are_dropped(form: str, mark: str) -> None:
    got = await heard_by_backend(form.replace("{}", mark))
    assert b"6.6.6.6" not in got.head
    assert got.framing == "none"


@pytest.mark.parametrize(
    "name", ["X~Forwarded~For", "X-Forwarded_User", "Content_Length", "Transfer.Encoding"]
)
async def test_f4_5_a_trusted_proxy_may_have_passed_them_on(name: str) -> None:
    assert b"6.6.6.6" not in (await heard_by_backend(name, "127.0.0.1")).head


@pytest.mark.parametrize("name", [*UNKNOWN, "Proxy", "x-FORWARDED-user"])
async def test_f4_5_what_only_proxies_may_say_is_dropped_from_others(name: str) -> None:
    assert b"6.6.6.6" not in (await heard_by_backend(name)).head


@pytest.mark.parametrize("name", UNKNOWN)
async def test_f4_5_a_trusted_proxy_may_say_it(name: str) -> None:
    assert "6.6.6.6" in (await heard_by_backend(name, "127.0.0.1"))[name]


@pytest.mark.parametrize("name", OTHERS)
async def test_f4_5_other_names_pass(name: str) -> None:
    assert (await heard_by_backend(name))[name] == "6.6.6.6"


@pytest.mark.parametrize(
    "name", ["X_Forwarded_For", "X-Forwarded-User", "CF-Connecting-IP", "Content_Length"]
)
async def test_f4_5_nor_do_they_come_as_trailers(name: str) -> None:
    async with running() as lb, lb.backend.answering(OK) as heard:
        head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        await (await lb.asks(head + f"1\r\na\r\n0\r\n{name}: 6.6.6.6\r\nA: b\r\n\r\n".encode())).hears(200)
        assert heard[0].trailers == [("A", "b")]
