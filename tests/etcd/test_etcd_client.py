"""Each call on a real etcd: what it does, who we are to it, and what is told when it fails.

etcd ignores a field that it does not know. So each field that is sent has a test here that fails without it.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from lb.etcd.back_off import BackOff
from lb.etcd.endpoint import Answer, Endpoint
from lb.etcd.etcd_client import PAGE, Etcd, keep, listing, look, state_of
from lb.etcd.etcd_failed import EtcdFailed, LeaseLost, NoAnswer, Refused, StaleToken, WatchEnded
from lb.etcd.etcd_messages import (
    Compare,
    Delete,
    Operation,
    Put,
    Range,
    Transaction,
    end_of,
    has_value,
    is_as_of,
    none_put_since,
    was_created_at,
)
from lb.etcd.login import Login
from lb.http_client.server_url import server_of
from tests.kit.balancer import open_sockets
from tests.kit.certificates import CLIENT, SERVER, authority, certificate
from tests.kit.etcd_servers import EtcdServers, etcd_servers, free_ports, needs_etcd
from tests.kit.relay import relay

pytestmark = needs_etcd


@asynccontextmanager
async def client(
    urls: Sequence[str],
    login: Login | None = None,
    *,
    seconds: float = 1.0,
    patience: float = 0.0,
    is_alone: bool = True,
) -> AsyncIterator[Etcd]:
    """It leaves no connection open, if the test is not the other end of them: then it is not alone."""
    before = open_sockets()
    servers = [server_of(url)[0] for url in urls]
    etcd = Etcd(servers, login=login or Login(), chance=lambda: 0.0, seconds=seconds, patience=patience)
    try:
        yield etcd
    finally:
        etcd.close()
    assert not is_alone or open_sockets() <= before


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[EtcdServers]:
    async with etcd_servers(tmp_path) as etcd:
        yield etcd


@pytest.fixture
async def etcd(servers: EtcdServers) -> AsyncIterator[Etcd]:
    async with client(servers.urls) as etcd:
        yield etcd


def put(key: bytes, value: bytes, lease: int = 0) -> Operation:
    return Operation(request_put=Put(key=key, value=value, lease=lease))


async def puts(etcd: Etcd, *keys: bytes, value: bytes = b"1", lease: int = 0) -> int:
    """Put them at once, and return the revision."""
    done = await etcd.transact(Transaction(success=tuple(put(key, value, lease) for key in keys)))
    assert done.succeeded
    return done.header.revision


# -- pure ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefix", "end"), [(b"/a/", b"/a0"), (b"a\xff", b"b"), (b"", b"\0"), (b"\xff\xff", b"\0")]
)
def test_the_end_of_a_prefix(prefix: bytes, end: bytes) -> None:
    assert end_of(prefix) == end


def test_pauses_become_longer_and_are_left_to_chance() -> None:
    longest, shortest = BackOff(lambda: 1.0), BackOff(lambda: 0.0)
    assert [longest.pause() for _ in range(9)] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert shortest.pause() == 0.025
    longest.well()
    assert longest.pause() == 0.05


def test_a_password_is_not_shown() -> None:
    assert repr(Login("lb", "secret")) == "Login('lb')"


# -- keys ------------------------------------------------------------------------------------------------


async def test_a_key_that_is_put_and_read(etcd: Etcd) -> None:
    assert await etcd.get(b"/a") is None
    revision = await puts(etcd, b"/a", value=b"\x00\xff")
    kv = await etcd.get(b"/a")
    assert kv is not None
    assert (kv.key, kv.value, kv.mod_revision, kv.version) == (b"/a", b"\x00\xff", revision, 1)


async def test_a_listing_has_all_pages_at_one_revision(etcd: Etcd, servers: EtcdServers) -> None:
    keys = [b"/%05d" % number for number in range(PAGE + 2)]
    for first in range(0, len(keys), 100):
        await puts(etcd, *keys[first : first + 100])
    before = (await etcd.listing(b"/"))[0].revision
    await puts(etcd, b"/00000", value=b"2")
    await puts(etcd, b"0")
    header, found = await etcd.listing(b"/")
    assert [kv.key for kv in found] == keys
    assert found[0].value == b"2"
    assert header.revision == before + 2
    _, former = await etcd.listing(b"/", before)
    assert former[0].value == b"1"
    assert await state_of(etcd.current, b"/") == (header, PAGE + 2, before + 1)
    assert len((await etcd.listing(b""))[1]) == PAGE + 3
    await look(etcd.current, b"/")


async def test_the_pages_of_a_listing_are_of_one_moment(etcd: Etcd) -> None:
    class Meanwhile(Endpoint):
        """After each page something changes."""

        async def call(self, path: str, request: msgspec.Struct, kind: type[Answer]) -> Answer:
            answer = await super().call(path, request, kind)
            await puts(etcd, b"/%05d" % PAGE, b"/x", value=b"late")
            return answer

    for first in range(0, PAGE + 1, 100):
        await puts(etcd, *(b"/%05d" % number for number in range(first, min(first + 100, PAGE + 1))))
    endpoint = Meanwhile(server_of(str(etcd.current))[0], Login(), 1.0)
    header, keys = await listing(endpoint, b"/")
    endpoint.close()
    assert {kv.value for kv in keys} == {b"1"}
    assert len(keys) == PAGE + 1
    assert max(kv.mod_revision for kv in keys) == header.revision


async def test_a_revision_that_is_compacted(etcd: Etcd, servers: EtcdServers) -> None:
    await puts(etcd, b"/a")
    revision = await puts(etcd, b"/a")
    await servers.ctl("compaction", str(revision))
    with pytest.raises(Refused, match="required revision has been compacted") as caught:
        await listing(etcd.current, b"/", revision - 1)
    assert caught.value.is_compacted


async def test_deletes(etcd: Etcd) -> None:
    await puts(etcd, b"/a", b"/b", b"/c")
    await etcd.transact(Transaction(success=(Operation(request_delete_range=Delete(key=b"/a")),)))
    assert [kv.key for kv in (await etcd.listing(b"/"))[1]] == [b"/b", b"/c"]
    all_of_them = Delete(key=b"/", range_end=end_of(b"/"))
    await etcd.transact(Transaction(success=(Operation(request_delete_range=all_of_them),)))
    assert (await etcd.listing(b"/"))[1] == []


COMPARES: list[tuple[str, Compare, bool]] = [
    ("as of then", is_as_of(b"/a", 2), False),
    ("as of now", is_as_of(b"/a", 3), True),
    ("there already", is_as_of(b"/a", 0), False),
    ("not there", is_as_of(b"/z", 0), True),
    ("the same key", was_created_at(b"/a", 2), True),
    ("another key", was_created_at(b"/a", 3), False),
    ("created", was_created_at(b"/a", 0), False),
    ("this value", has_value(b"/a", b"2"), True),
    ("another value", has_value(b"/a", b"1"), False),
    ("the value of none", has_value(b"/z", b""), False),
    ("put since", none_put_since(b"/", 3), False),
    ("none put since", none_put_since(b"/", 4), True),
    ("other prefix", none_put_since(b"/a", 3), True),
    ("no such key", none_put_since(b"/z", 1), True),
]


async def test_what_a_transaction_compares(etcd: Etcd) -> None:
    assert await puts(etcd, b"/a") == 2
    assert await puts(etcd, b"/a", value=b"2") == 3
    assert await puts(etcd, b"/b") == 4
    for name, compare, is_so in COMPARES:
        done = await etcd.transact(Transaction(compare=(compare,)))
        assert done.succeeded is is_so, name


async def test_a_transaction_does_all_or_the_other_thing(etcd: Etcd) -> None:
    request = Transaction(
        compare=(is_as_of(b"/a", 0), is_as_of(b"/b", 0)),
        success=(put(b"/a", b"1"), put(b"/b", b"1")),
        failure=(Operation(request_range=Range(key=b"/b")),),
    )
    first, second = await etcd.transact(request), await etcd.transact(request)
    assert first.succeeded
    assert not second.succeeded
    found = second.responses[0].response_range
    assert found is not None
    assert [kv.key for kv in found.kvs] == [b"/b"]


async def test_a_transaction_that_is_too_large(etcd: Etcd) -> None:
    assert await puts(etcd, *(b"/%d" % number for number in range(128))) == 2
    with pytest.raises(ValueError, match="at most 128 operations"):
        await puts(etcd, *(b"/%d" % number for number in range(129)))


# -- leases ----------------------------------------------------------------------------------------------


async def test_a_lease_holds_its_keys(etcd: Etcd) -> None:
    lease = await etcd.grant(60)
    assert lease.TTL == 60
    await puts(etcd, b"/a", lease=lease.ID)
    kv = await etcd.get(b"/a")
    assert kv is not None
    assert kv.lease == lease.ID
    assert await keep(etcd.current, lease.ID) == 60
    await etcd.revoke(lease.ID)
    assert await etcd.get(b"/a") is None


async def test_a_lease_that_is_gone(etcd: Etcd) -> None:
    with pytest.raises(LeaseLost, match="the lease is gone"):
        await keep(etcd.current, 12345)
    with pytest.raises(Refused, match="requested lease not found"):
        await etcd.revoke(12345)
    with pytest.raises(Refused, match="requested lease not found"):
        await puts(etcd, b"/a", lease=12345)


# -- a watch ---------------------------------------------------------------------------------------------


async def test_a_watch_tells_from_a_revision_on(etcd: Etcd) -> None:
    await puts(etcd, b"/a")
    revision = await puts(etcd, b"/b")
    async with etcd.current.open_watch(b"/", revision) as watch:
        with trio.fail_after(10):
            (event,) = (await watch.next()).events
            assert (event.type, event.kv.key, event.kv.value) == ("PUT", b"/b", b"1")
            await puts(etcd, b"elsewhere")
            await etcd.transact(Transaction(success=(Operation(request_delete_range=Delete(key=b"/a")),)))
            answer = await watch.next()
    (event,) = answer.events
    assert (event.type, event.kv.key, event.kv.mod_revision) == ("DELETE", b"/a", revision + 2)


async def test_a_watch_of_what_is_compacted_ends(etcd: Etcd, servers: EtcdServers) -> None:
    """etcd says so once, and leaves the connection open."""
    await puts(etcd, b"/a")
    revision = await puts(etcd, b"/a")
    await servers.ctl("compaction", str(revision))
    with (
        trio.fail_after(10),
        pytest.raises(WatchEnded, match="what was to be told next is compacted") as caught,
    ):
        async with etcd.current.open_watch(b"/", revision - 1) as watch:
            await watch.next()
    assert caught.value.reason == "compacted"


async def test_a_watch_without_rights_ends(etcd: Etcd, servers: EtcdServers) -> None:
    """So it is too: created, canceled, and silent."""
    await servers.protect()
    with trio.fail_after(10), pytest.raises(WatchEnded, match="it has canceled the watch: ") as caught:
        async with etcd.current.open_watch(b"/", 1):
            pass
    assert caught.value.reason == "canceled"


async def test_a_watch_without_a_leader_ends(tmp_path: Path) -> None:
    """Without the field that asks for this it goes on in silence."""
    async with etcd_servers(tmp_path, 3) as servers, client(servers.urls[:1]) as etcd:
        async with etcd.current.open_watch(b"/", 1) as watch:
            servers[1].stops()
            servers[2].stops()
            with trio.fail_after(20), pytest.raises(WatchEnded):
                await watch.next()


# -- who we are ------------------------------------------------------------------------------------------


async def test_a_password_is_shown_once_for_each_token(servers: EtcdServers) -> None:
    await servers.protect()
    login = Login("root", "root")
    async with client(servers.urls, login) as etcd:
        await puts(etcd, b"/a")
        token = login.token
        assert await etcd.get(b"/a") is not None
        assert login.token == token


async def test_a_token_that_has_ended_is_renewed(servers: EtcdServers) -> None:
    login = Login("root", "root")
    await servers.protect()
    async with client(servers.urls, login) as etcd:
        await puts(etcd, b"/a")
        token = login.token
        await servers.ctl("auth", "disable", user="root:root")
        await servers.ctl("auth", "enable")
        assert await etcd.get(b"/a") is not None
        assert login.token != token


async def test_a_new_password_is_shown_once_it_is_known(servers: EtcdServers) -> None:
    known = ["root"]
    await servers.protect()
    async with client(servers.urls, Login("root", "root", lambda: known[0])) as etcd:
        await puts(etcd, b"/a")
        await servers.ctl("user", "passwd", "root", "--interactive=false", user="root:root", stdin=b"new\n")
        with pytest.raises(Refused, match="authentication failed"):
            await etcd.get(b"/a")
        known[0] = "new"
        assert await etcd.get(b"/a") is not None


async def test_users_may_come_later(servers: EtcdServers) -> None:
    async with client(servers.urls, Login("root", "root")) as etcd:
        await puts(etcd, b"/a")
        await servers.protect()
        assert await etcd.get(b"/a") is not None


async def test_a_wrong_password(servers: EtcdServers) -> None:
    await servers.protect()
    async with client(servers.urls, Login("root", "guessed")) as etcd:
        with pytest.raises(Refused, match="authentication failed, invalid user ID or password") as caught:
            await etcd.get(b"/a")
    assert "guessed" not in str(caught.value)


async def test_users_where_we_are_nobody(servers: EtcdServers) -> None:
    await servers.protect()
    async with client(servers.urls) as etcd:
        with pytest.raises(StaleToken, match="user name is empty"):
            await etcd.get(b"/a")


async def test_what_a_user_must_not(servers: EtcdServers) -> None:
    await servers.protect()
    async with client(servers.urls, Login("reader", "secret")) as etcd:
        assert await etcd.get(b"/a") is None
        with pytest.raises(Refused, match="permission denied"):
            await puts(etcd, b"/a")


async def test_tls_with_our_certificate(tmp_path: Path) -> None:
    root = authority()
    (tmp_path / "ca.pem").write_text(root.pem)
    ca = str(tmp_path / "ca.pem")
    chain, key = certificate("127.0.0.1", by=root, usages=[SERVER, CLIENT]).write(tmp_path, "server")
    ours = certificate("lb", by=root, usages=[CLIENT]).write(tmp_path, "ours")
    flags = [f"--cert-file={chain}", f"--key-file={key}", f"--trusted-ca-file={ca}", "--client-cert-auth"]
    async with etcd_servers(tmp_path, 1, *flags, scheme="https") as servers:
        server = server_of(servers.urls[0], ca=ca, chain=ours[0], key=ours[1])[0]
        etcd = Etcd([server], login=Login(), chance=lambda: 0.0, patience=20)
        assert await puts(etcd, b"/a") == 2
        etcd.close()
        async with etcd.current.open_watch(b"/", 2) as watch:
            assert (await watch.next()).events[0].kv.key == b"/a"
        nobody = Etcd([server_of(servers.urls[0], ca=ca)[0]], login=Login(), chance=lambda: 0.0, patience=0)
        with pytest.raises(NoAnswer, match="certificate"):
            await nobody.get(b"/a")


# -- endpoints that fail ---------------------------------------------------------------------------------


async def test_the_next_endpoint_is_asked(servers: EtcdServers) -> None:
    (port,) = free_ports(1)
    nobody = f"http://127.0.0.1:{port}"
    async with client([nobody, nobody, *servers.urls]) as etcd:
        assert await puts(etcd, b"/a") == 2, "it was not done where nobody was reached"
        assert etcd.current is etcd.endpoints[2]
        assert await etcd.get(b"/a") is not None


async def test_one_that_is_silent_costs_one_deadline(servers: EtcdServers) -> None:
    async with (
        relay(servers[0].port) as line,
        client([line.url, *servers.urls], seconds=0.3, is_alone=False) as etcd,
    ):
        line.stalls()
        assert await etcd.get(b"/a") is None
        assert etcd.current is etcd.endpoints[1]


async def test_what_may_have_been_done_is_not_done_again(servers: EtcdServers) -> None:
    """The answer is lost, so nobody knows. Whoever asks for it compares, and may ask again."""
    request = Transaction(compare=(is_as_of(b"/a", 0),), success=(put(b"/a", b"1"),))
    async with (
        relay(servers[0].port) as line,
        client([line.url, *servers.urls], seconds=0.5, is_alone=False) as etcd,
    ):
        line.loses("down")
        with pytest.raises(NoAnswer) as caught:
            await etcd.transact(request)
        assert not caught.value.is_undone
        assert not (await etcd.transact(request)).succeeded, "it was done"


async def test_nor_on_a_new_connection_where_a_kept_one_has_ended(servers: EtcdServers) -> None:
    async with relay(servers[0].port) as line, client([line.url], is_alone=False) as etcd:
        await etcd.get(b"/a")
        line.loses("down")

        async def put_once() -> None:
            with pytest.raises(NoAnswer):
                await puts(etcd, b"/a")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(put_once)
            with trio.fail_after(10):
                while "/a" not in await servers.ctl("get", "/a"):
                    pass
            line.heals()  # which ends what has lost something
        kv = await etcd.get(b"/a")
        assert kv is not None
        assert kv.version == 1


async def test_all_are_tried_until_patience_ends(servers: EtcdServers) -> None:
    server = servers[0]
    server.dies()
    async with client(servers.urls * 2, patience=20) as etcd, trio.open_nursery() as nursery:
        nursery.start_soon(etcd.get, b"/a")
        await trio.testing.wait_all_tasks_blocked()
        server.start()


async def test_where_all_have_been_silent_for_long_each_is_tried_once(servers: EtcdServers) -> None:
    servers[0].dies()
    async with client(servers.urls * 2, patience=2.0) as etcd:
        for least, most in (2.0, 30.0), (0.0, 1.0):
            began = trio.current_time()
            with pytest.raises(NoAnswer, match="connection refused"):
                await etcd.get(b"/a")
            assert least <= trio.current_time() - began < most
        servers[0].start()
        with trio.fail_after(20):
            while any(endpoint.silent_since is not None for endpoint in etcd.endpoints):
                with suppress(NoAnswer):
                    await etcd.get(b"/a")
                    etcd.leave(etcd.current)
        servers[0].dies()
        began = trio.current_time()
        with pytest.raises(NoAnswer):
            await etcd.get(b"/a")
        assert trio.current_time() - began >= 2.0, "it had answered"


async def test_nobody_there(servers: EtcdServers) -> None:
    servers[0].dies()
    async with client(servers.urls) as etcd:
        with pytest.raises(NoAnswer, match="connection refused") as caught:
            await puts(etcd, b"/a")
    assert caught.value.is_undone


async def test_a_gateway_that_is_off(tmp_path: Path) -> None:
    async with (
        etcd_servers(tmp_path, 1, "--enable-grpc-gateway=false") as servers,
        client(servers.urls) as etcd,
    ):
        with pytest.raises(NoAnswer, match="its JSON gateway is switched off"):
            await etcd.get(b"/a")


async def test_something_that_is_not_etcd() -> None:
    async def answers(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        await stream.receive_some()  # until it is closed

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, answers, 0, host="127.0.0.1"))
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        async with client([url], is_alone=False) as etcd:
            with pytest.raises(EtcdFailed, match="what it answered is not etcd's"):
                await etcd.get(b"/a")
        nursery.cancel_scope.cancel()
