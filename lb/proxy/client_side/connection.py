"""One client connection that speaks HTTP/1, from its first byte to its last: its state, and its plain steps.

It begins on the fast path (`lb.proxy.client_side.fast_path`). A task of its own (`lb.proxy.client_side.
connection_task`) is started once there is something that the fast path cannot do; where all is plain, there
never is. What ends an exchange early (a deadline, a drain that cuts, a client that left, a shutdown) goes
through the guard (`lb.proxy.guard`): it cancels the task, or starts one that is cancelled.
"""

from typing import NamedTuple, Protocol

from lb.core.exchange_record import Announced, ExchangeRecord
from lb.core.secured import Secured
from lb.errors import Abandoned, AttemptCut, BackendError, ClientGone, LBError
from lb.http1.error_answer import challenge_answer, options_answer, redirect_answer
from lb.http1.fields import is_event_stream
from lb.http1.request_head import RequestHead
from lb.http1.response_head import SWITCHING_PROTOCOLS
from lb.net.wire import Wire
from lb.observe.counters import ListenerCounts
from lb.proxy.client_side.fast_path import FastPath
from lb.proxy.client_side.http1_client import LEFT, Http1Client
from lb.proxy.context import Context
from lb.proxy.exchange.exchange import CUT, Exchange
from lb.proxy.guard import Guard


class OurAnswer(NamedTuple):
    """A response of ours that is no error: its head but for the last lines, and its body."""

    lines: bytes
    body: bytes = b""


class Owner(Protocol):
    """Who has accepted client connections, and keeps them."""

    def start_task(self, client: "ClientConnection") -> None:
        """Start the task of a connection (`lb.proxy.client_side.connection_task`)."""
        ...

    def ended(self, client: "ClientConnection") -> None:
        """The connection has been closed without a task."""
        ...


class ClientConnection:
    """A client connection, which begins with `attend`, and closes its wire on every way out.

    `cut`, `gone`, `close_soon`, `make_room`, `has_ended_its_side`, `ask_identity` and the questions may be
    called from any task; the other steps only by the connection's task and its fast path. `record` belongs to
    the request that is being received or served, and is None between two requests. `exchange` is set from the
    end of the head on, unless the request is answered here. `host` stands in for the Host that an HTTP/1.0
    request need not have. `fast` is the fast path on which the connection began, until the task takes it.
    `secured` is what its handshake has agreed on; None without TLS. `announced` is what a PROXY header has
    said of it beside the `peer`; None without one.
    """

    __slots__ = (
        "_has_task",
        "_is_used",
        "_longest_idle",
        "_owner",
        "address",
        "announced",
        "client",
        "context",
        "counts",
        "exchange",
        "fast",
        "guard",
        "host",
        "is_idle",
        "listener",
        "peer",
        "record",
        "secured",
        "wire",
    )

    def __init__(
        self,
        context: Context,
        wire: Wire,
        listener: str,
        peer: tuple[str, str],
        host: bytes,
        owner: Owner,
        secured: Secured | None = None,
        announced: Announced | None = None,
    ) -> None:
        self.address, self.peer = peer
        self.announced = announced
        self.secured = secured
        self.wire = wire
        self.context = context
        self.listener = listener
        self.counts: ListenerCounts = context.metrics.listener(listener)
        self.record: ExchangeRecord | None = None
        self.exchange: Exchange | None = None
        self.is_idle = False
        self._is_used = False
        self._longest_idle = 0.0
        self.host = host
        self._owner = owner
        self._has_task = False
        self.fast: FastPath | None = None
        self.guard = Guard(context.deadlines, self)
        identity = context.identity(self.address, secured, announced)
        self.client = Http1Client(
            context, self.guard, wire, self.address, identity, is_secured=secured is not None
        )

    def attend(self, received: bytes = b"") -> None:
        """Begin to serve, without a task where the wire can be watched. Called once, by its owner.

        `received` has come already.
        """
        if self.wire.can_be_watched:
            self.become_idle()
            self.fast = FastPath(self)
            self.fast.attend(received)
        else:
            if received:
                self.wire.unread(received)
            self.call_task()

    def call_task(self) -> None:
        """Start the task, unless there is one; it goes on from wherever the connection is."""
        if not self._has_task:
            self._has_task = True
            if self.fast is not None:
                self.fast.stop()
            self._owner.start_task(self)

    def abandon(self) -> None:
        """End a connection that has no task, at once: none can be started any more."""
        if self._has_task:
            return
        if self.fast is not None:
            self.fast.stop()
        if self.exchange is not None:
            self.exchange.let_go(self.exchange.attempt)
        self.close()
        self._owner.ended(self)

    def close_now(self) -> bool:
        """For the fast path, without a task: close the connection. False if it has to linger first."""
        if not self.may_close():
            return False
        self.close()
        self._owner.ended(self)
        return True

    def close(self) -> None:
        self.fast = None
        self.wire.close()
        self.guard.close()
        self.finish(self.guard.why or Abandoned("the balancer was ended at once"))

    # -- from outside ------------------------------------------------------------------------------------

    def cut(self, why: str = CUT) -> None:
        """Cancel what runs, for this reason: 503 if no response has begun."""
        self.guard.end(AttemptCut(why))

    def gone(self) -> None:
        """Cancel what runs: the client has closed both directions, so no response can reach it."""
        self.guard.end(ClientGone(LEFT))

    def close_soon(self) -> None:
        """End the connection within `Context.last_chance` if it is idle: the balancer shuts down."""
        if self.is_idle:
            self.guard.end_by(self.context.now() + self.context.last_chance)

    def idle_for(self, now: float) -> float:
        """Seconds that an idle connection has waited for a request, computed from its deadline."""
        return self._longest_idle - (self.guard.down.at - now)

    def make_room(self) -> None:
        """Close an idle connection, or one that lingers, now: another client needs its place."""
        if self.is_idle:
            self.guard.end_by(self.context.now())

    def has_ended_its_side(self) -> None:
        """The client sends no more: it has left, or it still reads, which its end does not tell.

        A client of an event stream has left, as no such client ends only its side. What else the end means is
        a setting. By default it means nothing (RFC 9112 section 9.6), but the client is asked where it can
        be.
        """
        exchange, meaning = self.exchange, self.context.half_close
        if exchange is None or meaning == "reads":
            return
        if meaning == "left" or (exchange.response is not None and is_event_stream(exchange.response.lines)):
            self.gone()
        else:
            self.client.ask_now()

    def is_waiting_since(self, moment: float) -> bool:
        """An exchange, but no tunnel, has been running since before this time on Trio's clock."""
        record = self.record
        return record is not None and record.started < moment and record.status != SWITCHING_PROTOCOLS

    def ask_identity(self) -> None:
        """The configuration has changed, and perhaps whether this client's address is trusted."""
        self.client.identity = self.context.identity(self.address, self.secured, self.announced)

    # -- a request ---------------------------------------------------------------------------------------

    def become_idle(self) -> None:
        """Await the next request; missing this deadline ends the connection without an error."""
        timeouts = self.context.timeouts
        self.wait_idle(timeouts.keepalive if self._is_used else timeouts.request_head)

    def wait_idle(self, longest: float) -> None:
        """Wait for the client; the connection ends early where its place is needed, or at a shutdown."""
        self.is_idle, self._longest_idle = True, longest
        self.guard.down.expect(longest, None)
        if self.context.closing:
            self.close_soon()

    def may_close(self) -> bool:
        """Closing draws no reset: the client has ended its side, or was to send no more and has not.

        Everything that is there is received, and what the client has sent after its last word is kept, so
        that the answer stays False.
        """
        data = self.wire.receive_now()
        if data:
            self.client.buffer = data
        return data == b"" or (data is None and self.client.is_done)

    def begin(self, head: RequestHead, behind: bytes) -> Exchange:
        """For the fast path: begin the exchange of a request that arrived whole.

        Raises as `Exchange.begin`.
        """
        self.begin_record()
        return self.forward(head, behind)

    def answer_of_ours(self, head: RequestHead) -> OurAnswer | None:
        """The answer to a request that no backend is to see; None for all others.

        Such is OPTIONS for this balancer itself, the question of a certificate authority, and what is to be
        asked again with TLS. An authority may have been sent to https by somebody before us.
        """
        rules, date = self.context.front_rules, self.context.date
        if head.answer_here:
            return OurAnswer(options_answer(date.now()))
        if rules is None:
            return None
        if (proof := rules.proof(head)) is not None:
            return OurAnswer(challenge_answer(date.now(), proof), proof)
        if self.secured is not None:
            return None
        place = rules.place_with_tls(head, self.client.identity.is_trusted)
        return None if place is None else OurAnswer(redirect_answer(date.now(), place))

    def forward(self, head: RequestHead, behind: bytes) -> Exchange:
        record = self.record
        assert record is not None
        record.method, record.target = head.method, head.target
        self.begin_request(record, head, behind)
        if (rules := self.context.front_rules) is not None:
            rules.judge(head, self.secured, self.client.identity.is_trusted)
        exchange = self.exchange = Exchange(self.context, self.client, record, self.guard)
        exchange.begin()
        return exchange

    def begin_request(self, record: ExchangeRecord, head: RequestHead, behind: bytes) -> None:
        self.client.begin(head, behind)
        if head.claims is not None and self.client.address != self.address:
            record.client = self.client.address
        if (names := self.context.noted_fields) is not None:
            record.noted = head.noted(names)

    def begin_record(self) -> None:
        now = self.context.now()
        self.record = ExchangeRecord(self.context.ids.new(), self.listener, self.peer, now, self.secured)
        self.record.announced = self.announced
        self.counts.in_flight += 1
        self.is_idle, self._is_used = False, True

    # -- accounts ----------------------------------------------------------------------------------------

    def finish(self, error: LBError | None) -> None:
        """Tell the observers that the exchange has ended, with this error. Does nothing without a record."""
        record, self.record, self.exchange = self.record, None, None
        if record is None:
            return
        self.counts.in_flight -= 1
        record.ended = self.context.now()
        if error is not None:
            record.reason, record.detail = error.reason, str(error)
            answered = self.client.has_head and not isinstance(error, BackendError)
            if record.deciding is not None and not answered:
                record.deciding.reason = record.deciding.reason or error.reason
            record.status = record.status or error.status
        self.context.finished(record)

    def forget_record(self) -> None:
        """Drop the record: the client ended its side within a head, so there was no request."""
        if self.record is not None:
            self.record = None
            self.counts.in_flight -= 1
