"""Regression tests for faults in retries, hedges, trials and timeouts that a review found."""

import socket
from contextlib import suppress

import pytest
import trio
import trio.testing

from lb.core.health.probe_verdict import Check
from lb.errors import ClientStalled, Reason
from tests.kit import GET, OK, Backend, Refusing, answer, running, virtual_time
from tests.kit.balancer import Scene

pytestmark = virtual_time

HEDGING = {"default": {"hedge": {"at_least": "10ms"}}}
SICK = answer(b"sick", status="503 Service Unavailable")
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"


def used_to(lb: Scene, seconds: float = 0.1) -> None:
    now = trio.current_time()
    for backend in lb.registry.backends.values():
        for _ in range(100):
            backend.recent.observe(seconds, now)


def first_is(lb: Scene, *ids: str) -> None:
    for n, name in enumerate(ids):
        lb.gives_turn(name, (100 - n) << 60)


def jump(seconds: float) -> None:
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, trio.testing.MockClock)
    clock.jump(seconds)


# -- hedging ---------------------------------------------------------------------------------------------


async def test_maintenance_cuts_the_winner_of_a_race_that_was_second() -> None:
    async with running(Backend, Backend, pools=HEDGING) as lb:
        used_to(lb)
        client = await lb.asks(GET)
        await lb.backend.hears()
        other = await lb.backends[1].hears()
        await other.says(HALF)
        await client.hears_head(200)
        lb.registry.maintenance(lb["two"])  # cuts what runs on it
        await trio.testing.wait_all_tasks_blocked()
        assert lb["two"].in_flight == 0


async def test_drain_deadline_cuts_the_winner_of_a_race_that_was_second() -> None:
    async with running(Backend, Backend, pools=HEDGING) as lb:
        used_to(lb)
        client = await lb.asks(GET)
        await lb.backend.hears()
        other = await lb.backends[1].hears()
        await other.says(HALF)
        await client.hears_head(200)
        lb.registry.drain(lb["two"], 5.0)
        await trio.sleep(10)
        assert lb["two"].state == "drained", lb["two"].in_flight


async def test_loser_is_let_go_when_the_race_is_over() -> None:
    async with running(Backend, Backend, pools=HEDGING) as lb:
        used_to(lb)
        client = await lb.asks(GET)
        await lb.backend.hears()
        other = await lb.backends[1].hears()
        await other.says(HALF)
        await client.hears_head(200)
        await trio.sleep(1)
        assert lb["one"].in_flight == 0
        assert lb["one"].connections == 0


async def test_cutting_the_loser_does_not_end_the_answer_of_the_winner() -> None:
    async with running(Backend, Backend, pools=HEDGING) as lb:
        used_to(lb)
        client = await lb.asks(GET)
        await lb.backend.hears()
        other = await lb.backends[1].hears()
        await other.says(HALF)
        await client.hears_head(200)
        lb.registry.maintenance(lb["one"])  # it has lost the race, so nothing runs on it
        await trio.testing.wait_all_tasks_blocked()
        await other.says(b"others")
        await client.hears_exactly(b"halfothers")


async def test_a_hedge_that_finds_nobody_costs_no_budget() -> None:
    async with running(Backend, Backend, pools=HEDGING, each={"max_in_flight": 1}) as lb:
        used_to(lb)
        await lb.asks(GET.replace(b"GET", b"POST").replace(b"Host: a", b"Host: a\r\nContent-Length: 0"))
        await lb.backend.hears()
        await lb.asks(GET)
        await lb.backends[1].hears()
        await trio.sleep(1)
        pool = lb.registry.pools["default"]
        assert (pool.hedged, pool.budget.spent) == (0, 0)


async def test_a_hedged_attempt_that_timed_out_is_no_200() -> None:
    async with running(Backend, Backend, Backend, pools=HEDGING, timeouts={"response_head": 5}) as lb:
        used_to(lb)
        async with lb.backends[2].answering(OK):
            client = await lb.asks(GET)
            await lb.backend.hears()
            await lb.backends[1].hears()
            await client.hears(200)
            assert lb["two"].codes.get(200, 0) == 0, (lb["two"].codes, lb["two"].failures)


async def test_a_stale_attempt_replaced_in_a_race_that_timed_out_is_no_200() -> None:
    async with running(Backend, Backend, pools=HEDGING, timeouts={"response_head": 5}) as lb:
        client = await lb.asks(GET)
        stale = await lb.backend.hears()
        await stale.says(OK)
        await client.hears(200)
        now = trio.current_time()
        for _ in range(100):
            lb["one"].recent.observe(9.0, now)
        first_is(lb, "one")
        async with lb.backends[1].answering(OK):
            await client.says(GET)
            await stale.hears_request()
            stale.closes()
            await lb.backend.hears()  # the new one, and it never answers
            await client.hears(200)
            assert lb["one"].codes == {200: 1}, (lb["one"].codes, lb["one"].failures)


async def test_a_tied_client_is_not_moved_by_a_hedge() -> None:
    pools = {"default": {"hedge": {"at_least": "10ms"}, "sticky": {}}}
    async with running(Backend, Backend, pools=pools) as lb:
        async with lb.backends[0].answering(OK):
            client = await lb.asks(GET)
            cookie = (await client.hears(200))["Set-Cookie"].split(";")[0].encode()
        for peer in lb.backends[0].peers:
            peer.closes()
        used_to(lb)
        await client.says(GET.replace(b"Host: a", b"Host: a\r\nCookie: " + cookie))
        await lb.backend.hears()
        async with lb.backends[1].answering(OK):
            with trio.move_on_after(2):
                response = await client.hears(200)
                assert response.all("Set-Cookie") == [], lb.exchange.attempts[-1].backend.id


# -- retry after a refused answer, upload beside it ------------------------------------------------------


@pytest.mark.parametrize("n", range(12))
async def test_a_body_that_outgrew_the_bound_while_the_answer_was_refused_is_not_sent_in_part(n: int) -> None:
    pools = {"default": {"retry": {"statuses": [503], "body": 16}}}
    async with running(Backend, Backend, pools=pools) as lb:
        client = await lb.asks(
            b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
        )
        first = await lb.backend.accepts()
        await first.hears_head()
        await first.hears_exactly(b"5\r\nhello\r\n")
        await trio.testing.wait_all_tasks_blocked()
        # both in one turn of the event loop
        client.says_at_once(b"14\r\n" + b"x" * 20 + b"\r\n")
        first.says_at_once(SICK)
        await trio.testing.wait_all_tasks_blocked()
        await client.says(b"3\r\nend\r\n0\r\n\r\n")
        lb.backends[1]._listening.settimeout(0)
        with trio.move_on_after(1):
            second = await lb.backends[1].accepts()
            request = await second.hears_request()
            assert request.body == b"hello" + b"x" * 20 + b"end"
            await second.says(OK)


# -- two things in one turn ------------------------------------------------------------------------------


@pytest.mark.parametrize("n", range(12))
async def test_an_end_in_the_very_moment_of_the_timeout(n: int) -> None:
    """The event loop was late: it finds the end and the expired deadline in the same pass."""
    async with running(Backend, Backend, timeouts={"response_head": 7}) as lb:
        async with lb.backends[1].answering(OK):
            client = await lb.asks(GET)
            peer = await lb.backend.hears()
            await trio.testing.wait_all_tasks_blocked()
            peer.closes()
            jump(8)
            await client.hears_head(200)


@pytest.mark.parametrize("n", range(12))
async def test_an_answer_that_is_there_when_we_are_late_is_no_failure(n: int) -> None:
    """README: late results after a pause of the balancer mark no backend down."""
    pools = {"default": {"ejection": {"consecutive": 3}}}
    async with running(Backend, Backend, timeouts={"response_head": 7}, pools=pools) as lb:
        async with lb.backends[1].answering(OK):
            clients, peers = [], []
            for _ in range(4):
                first_is(lb, "one")
                clients.append(await lb.asks(GET))
                peers.append(await lb.backend.hears())
            await trio.testing.wait_all_tasks_blocked()
            for peer in peers:
                peer.says_at_once(answer(b"x" * 200))
            jump(8)  # as after SIGSTOP and SIGCONT
            for client in clients:
                await client.hears(200)
            assert lb["one"].state == "ready", lb["one"].outcomes.why


# -- drains, health --------------------------------------------------------------------------------------


async def test_a_draining_backend_that_is_down_does_not_get_its_clients() -> None:
    pools = {"default": {"sticky": {}, "probe": {"interval": "1h"}}}
    async with running(Backend, Backend, pools=pools) as lb:
        async with lb.backends[0].answering(OK), lb.backends[1].answering(OK):
            client = await lb.asks(GET)
            cookie = (await client.hears(200))["Set-Cookie"].split(";")[0].encode()
            lb.registry.drain(lb["one"], 60.0)
            for _ in range(3):
                lb.registry.checked(lb["one"], Check(False, "dead", 0.1, trio.current_time()))
            assert lb["one"].state == "draining"
            assert not lb["one"].is_fit
            await client.says(GET.replace(b"Host: a", b"Host: a\r\nCookie: " + cookie))
            await client.hears(200)
            assert lb.exchange.attempts[-1].backend.id == "two"


async def test_a_shorter_slow_start_counts_for_who_is_warming() -> None:
    async with running(Backend, Backend, pools={"default": {"slow_start": "1h"}}) as lb:
        pool = lb.registry.pools["default"]
        from msgspec.structs import replace

        lb.registry.configure(pool, replace(pool.settings, slow_start=10.0))
        await trio.sleep(60)
        assert lb["one"].state == "ready", (lb["one"].state, lb["one"].share)


# -- accounts --------------------------------------------------------------------------------------------


async def test_a_client_that_leaves_in_the_queue_does_not_rewrite_why_the_attempt_failed() -> None:
    async with running(Refusing, Backend, each={"max_in_flight": 1}) as lb:
        first_is(lb, "two")
        await lb.asks(GET)
        await lb.backend.hears()
        first_is(lb, "one")
        second = await lb.asks(GET)
        await trio.testing.wait_all_tasks_blocked()
        assert lb.registry.pools["default"].waiting == 1
        second.resets()
        await trio.sleep(2)
        assert lb["one"].failures == {Reason.CONNECTION_REFUSED: 1}


# -- the deadline ----------------------------------------------------------------------------------------


async def test_our_deadline_is_no_failure_of_the_backend() -> None:
    """The request got its backend after a long wait, so the backend had little time to answer."""
    pools = {"default": {"retry": {"deadline": 10}, "queue_timeout": 10, "ejection": {"consecutive": 1}}}
    async with running(Backend, Backend, pools=pools, each={"max_in_flight": 1}) as lb:
        await lb.asks(GET)
        one = await lb.backend.hears()
        await lb.asks(GET)
        two = await lb.backends[1].hears()
        await trio.sleep(1)
        third = await lb.asks(GET)
        await trio.sleep(8)
        await two.says(OK)
        await two.hears_request()  # it is given to the third, which has 2 s left
        await one.says(OK)
        await third.hears(504)
        assert lb["two"].state == "ready", lb["two"].outcomes.why


async def test_one_deadline_whether_the_body_came_with_the_head_or_behind_it() -> None:
    times = []
    for pieces in ((b"hi",), (b"h", b"i")):
        async with running(
            Backend, pools={"default": {"retry": {"deadline": 10}}}, timeouts={"response_head": 300}
        ) as lb:
            began = trio.current_time()
            client = await lb.asks(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n" + pieces[0])
            await trio.testing.wait_all_tasks_blocked()
            await client.says(*pieces[1:])
            await lb.backend.hears()
            await client.hears(504)
            times.append(trio.current_time() - began)
    assert times[0] == pytest.approx(times[1]), times


# -- the queue -------------------------------------------------------------------------------------------


async def test_who_may_be_served_is_not_behind_one_who_may_not() -> None:
    """A client with a sticky cookie may use its draining backend; the one before it in the queue may not."""
    pools = {"default": {"sticky": {}, "queue_timeout": 50}}
    async with running(Backend, Backend, pools=pools, each={"max_in_flight": 1}) as lb:
        first_is(lb, "one")
        tied = await lb.asks(GET)
        peer = await lb.backend.hears()
        await peer.says(OK)
        cookie = (await tied.hears(200))["Set-Cookie"].split(";")[0].encode()
        mine = GET.replace(b"Host: a", b"Host: a\r\nCookie: " + cookie)
        await tied.says(mine)
        await peer.hears_request()
        await lb.asks(GET)
        await lb.backends[1].hears()
        lb.registry.drain(lb["one"], 60.0)
        await lb.asks(GET)  # waits for two
        await trio.testing.wait_all_tasks_blocked()
        await lb.asks(mine)  # waits for either
        await trio.testing.wait_all_tasks_blocked()
        assert lb.registry.pools["default"].waiting == 2
        await peer.says(OK)
        await tied.hears(200)
        await trio.testing.wait_all_tasks_blocked()
        assert lb["one"].in_flight == 1
        assert lb.registry.pools["default"].waiting == 1


async def test_a_slow_client_does_not_hold_a_trial_for_ever() -> None:
    async with running(
        Backend, Backend, pools={"default": {"ejection": {"consecutive": 1, "base": 1}}}
    ) as lb:
        pool = lb.registry.pools["default"]
        pool.failed(lb["one"], "test", 0.1, trio.current_time())
        await trio.sleep(1.5)
        assert lb["one"].state == "trial"
        first_is(lb, "one")
        await lb.asks(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        await lb.backend.accepts()
        await trio.sleep(2)
        first_is(lb, "one")
        quick = await lb.asks(GET)
        await (await lb.backend.hears()).says(OK)
        await quick.hears(200)
        assert lb["one"].state == "ready"


# -- accounts of a race ----------------------------------------------------------------------------------


async def test_the_access_log_names_the_winner() -> None:
    from lb.observe.access_log import record

    async with running(Backend, Backend, pools=HEDGING) as lb:
        used_to(lb)
        client = await lb.asks(GET)
        slow = await lb.backend.hears()
        await lb.backends[1].hears()
        await slow.says(OK)
        await client.hears(200)
        await trio.testing.wait_all_tasks_blocked()
        line = record(lb.exchange, lambda moment: moment)
        assert line.backend == "one"
        assert line.first_byte_ms is not None


async def test_a_winner_that_breaks_off_is_blamed_and_not_the_loser() -> None:
    async with running(Backend, Backend, pools=HEDGING) as lb:
        used_to(lb)
        client = await lb.asks(GET)
        slow = await lb.backend.hears()
        await lb.backends[1].hears()
        await slow.says(HALF)
        await client.hears_head(200)
        slow.closes()
        await client.hears_all()
        await trio.testing.wait_all_tasks_blocked()
        assert not lb["two"].failures, (lb["one"].failures, lb["one"].codes, lb["two"].failures)


# -- bytes -----------------------------------------------------------------------------------------------


async def test_no_answer_begins_in_the_middle_of_an_interim_one() -> None:
    """The client does not read, and an interim head is sent in part: an answer would end up within it."""
    async with running(
        Backend,
        Backend,
        limits={"response_head": 4 << 20, "fields": 2000},
        timeouts={"response_head": 5, "send": 100},
    ) as lb:
        client = await lb.client()
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await client.says(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nh")
        peer = await lb.backend.accepts()
        await peer.hears_head()
        links = b"".join(b"Link: <%04d%b>\r\n" % (n, b"x" * 2000) for n in range(1500))
        async with trio.open_nursery() as nursery:

            async def hints() -> None:
                with suppress(OSError):
                    for _ in range(4):
                        await peer.says(b"HTTP/1.1 103 Early Hints\r\n" + links + b"\r\n")

            nursery.start_soon(hints)
            await trio.sleep(0.5)
            (served,) = lb.connections
            assert served.guard.down.error is ClientStalled  # a part of it has gone
            await client.says(b"i")  # the upload ends, and sets a deadline of its own
            await trio.sleep(20)
            attempts = served.record.attempts if served.record else lb.exchange.attempts
            nursery.cancel_scope.cancel()
        client.resets()
        assert [attempt.backend.id for attempt in attempts] == ["one"]
