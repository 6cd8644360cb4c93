"""Load that keeps exact books: every request either got its whole answer or is on the list of failures."""

from collections import Counter

import h11
import trio

from tests.system.program import until


class Load:
    """Kept-alive clients that ask as fast as they are answered, until told to stop."""

    def __init__(self, address: str, path: bytes = b"/") -> None:
        host, _, port = address.rpartition(":")
        self.host, self.port, self.path = host, int(port), path
        self.answered: Counter[int] = Counter()
        self.failures: list[str] = []
        self.refused = 0
        self._stop = False

    def stop(self) -> None:
        self._stop = True

    @property
    def total(self) -> int:
        return sum(self.answered.values())

    async def reaches(self, count: int) -> None:
        """Wait until so many requests have been answered."""

        async def reached() -> bool:
            return self.total >= count or bool(self.failures)

        await until(reached, seconds=60)

    async def run(self, clients: int) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(clients):
                nursery.start_soon(self._client)

    async def _client(self) -> None:
        """Until told to stop, or nobody accepts any more."""
        while not self._stop:
            try:
                stream = await trio.open_tcp_stream(self.host, self.port)
            except OSError:
                self.refused += 1
                return
            async with stream:
                await self._converse(stream)

    async def _converse(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.CLIENT)
        while not self._stop:
            try:
                status = await self._ask(stream, connection)
            except (OSError, trio.BrokenResourceError, h11.ProtocolError) as exc:
                self.failures.append(repr(exc))
                return
            self.answered[status] += 1
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return
            connection.start_next_cycle()

    async def _ask(self, stream: trio.SocketStream, connection: h11.Connection) -> int:
        request = h11.Request(method="GET", target=self.path, headers=[("Host", self.host)])
        data = (connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b"")
        await stream.send_all(data)
        status = 0
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some(65536))
            elif isinstance(event, h11.Response):
                status = event.status_code
        return status
