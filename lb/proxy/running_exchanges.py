"""The exchanges that run now, listed, and ended by their ids. Nothing is recorded for it beforehand."""

from collections.abc import Collection, Iterator, Sequence

from lb.core.running_exchange import WAITING, RunningExchange, Waiter
from lb.http1.response_head import SWITCHING_PROTOCOLS
from lb.proxy.client_side.connection import ClientConnection
from lb.proxy.exchange.exchange import Exchange


class RunningExchanges:
    """Looks at the open client connections on each call (`lb.core.running_exchange.Running`)."""

    def __init__(self, clients: Collection[ClientConnection]) -> None:
        self._clients = clients

    def list(self) -> Sequence[RunningExchange]:
        """Every exchange from the end of its request's head until it is told to the observers."""
        return [described(exchange) for exchange in self._running()]

    def waiting(self) -> Iterator[Waiter | None]:
        """Those that wait for a response; one client with each step, None for one that does not."""
        for client in [*self._clients]:
            yield None if client.exchange is None else _waiter(client.exchange)

    def end(self, exchange_id: bytes, why: str) -> bool:
        """Cut the exchange with this id; False if none has it.

        The client gets 503 if no response has begun.
        """
        for exchange in self._running():
            if exchange.record.id == exchange_id:
                exchange.cut(why)
                return True
        return False

    def _running(self) -> Iterator[Exchange]:
        return (client.exchange for client in self._clients if client.exchange is not None)


def described(exchange: Exchange) -> RunningExchange:
    """A copy of what an exchange looks like now."""
    record, attempt = exchange.record, exchange.attempt
    phase, since = phase_of(exchange)
    return RunningExchange(
        id=record.id,
        client=record.client,
        listener=record.listener,
        method=record.method,
        target=record.target,
        pool=record.pool,
        backend=None if attempt is None else attempt.backend.id,
        phase=phase,
        since=record.started,
        phase_since=since,
        attempts=len(record.attempts),
        request_bytes=record.request_bytes,
        response_bytes=record.response_bytes,
    )


def _waiter(exchange: Exchange) -> Waiter | None:
    phase, since = phase_of(exchange)
    if phase != WAITING or exchange.attempt is None:
        return None
    return Waiter(exchange.record.pool, exchange.attempt.backend.id, since)


def phase_of(exchange: Exchange) -> tuple[str, float]:
    """What the exchange does or waits for, in words, and since when on Trio's clock.

    Between two attempts it is "queued", since the end of the last one.
    """
    record, attempt = exchange.record, exchange.attempt
    if attempt is None:
        before = record.attempts[-1].ended if record.attempts else None
        return _phase_without_backend(exchange), before or record.started
    tried = attempt.record
    if exchange.response is not None:
        phase = "tunnel" if exchange.response.status == SWITCHING_PROTOCOLS else "sending response"
        return phase, tried.first_byte or tried.started
    if tried.connected is None:
        return "connecting", tried.started
    if tried.sent is None:
        return "sending request", tried.connected
    return WAITING, tried.sent


def _phase_without_backend(exchange: Exchange) -> str:
    if exchange.response is not None:
        return "delivering"
    is_gathered = exchange.holding is not None and exchange.holding.request is not None
    return "receiving body" if is_gathered and not exchange.client.has_received_all else "queued"
