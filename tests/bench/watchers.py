"""Who watches a balancer: python -m tests.bench.watchers ADMIN_PORT READERS

So many read `/events`, all but one of them as fast as it comes; one more reads `/metrics` each second as
Prometheus does. They run in one process that does nothing but drain sockets, and gives way to whoever else
wants the core, so that what is measured is what they cost the balancer. An empty line says that all have been
let in; whatever comes from stdin ends it, and then it tells what has come.
"""

import json
import os
import select
import socket
import sys
import time

EVENTS = b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
METRICS = (
    b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Prometheus/2.42.0\r\n"
    b"Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3\r\n\r\n"
)
SCRAPE_SECONDS = 1.0
SMALL_BUFFER = 4096


class Watchers:
    """Connected readers; the first of them never reads."""

    def __init__(self, port: int, readers: int) -> None:
        self._poll = select.epoll()
        self._silent = self._connect(port, EVENTS, SMALL_BUFFER)
        self._readers = [self._connect(port, EVENTS) for _ in range(readers - 1)]
        self._scraper = self._connect(port)
        self._expected = set(self._readers)
        self._all = {sock.fileno(): sock for sock in (*self._readers, self._scraper)}
        for fd in self._all:
            self._poll.register(fd, select.EPOLLIN)
        self._poll.register(sys.stdin.fileno(), select.EPOLLIN)
        self.events = self.scrapes = self.event_bytes = self.metric_bytes = 0

    def _connect(self, port: int, says: bytes = b"", buffer: int = 0) -> socket.socket:
        sock = socket.socket()
        if buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        sock.connect(("127.0.0.1", port))
        sock.sendall(says)
        return sock

    def come(self) -> None:
        """Until the balancer has answered everybody; to be let in costs more than to be told something."""
        while self._expected:
            for fd, _ in self._poll.poll():
                self._drain(self._all[fd])
                self._expected.discard(self._all[fd])
        time.sleep(1)  # noqa: TID251 - a script; what has gathered in the meantime is dealt with

    def run(self) -> None:
        scrape_at = time.monotonic() + SCRAPE_SECONDS / 2
        while True:
            for fd, _ in self._poll.poll(max(0.0, scrape_at - time.monotonic())):
                if fd == sys.stdin.fileno():
                    return
                self._drain(self._all[fd])
            if time.monotonic() >= scrape_at:
                scrape_at += SCRAPE_SECONDS
                self.scrapes += 1
                self._scraper.sendall(METRICS)

    def _drain(self, sock: socket.socket) -> None:
        data = sock.recv(1 << 18)
        if not data:
            raise RuntimeError("the balancer hung up on somebody who reads")
        if sock is self._scraper:
            self.metric_bytes += len(data)
        else:
            self.event_bytes += len(data)
            self.events += data.count(b"event: stats\n")


def main(port: str, readers: str) -> None:
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.setpriority(os.PRIO_PROCESS, 0, 19)
    watchers = Watchers(int(port), int(readers))
    watchers.come()
    sys.stdout.write("\n")
    sys.stdout.flush()
    watchers.run()
    names = ("events", "event_bytes", "scrapes", "metric_bytes")
    sys.stdout.write(json.dumps({name: getattr(watchers, name) for name in names}))


if __name__ == "__main__":
    main(*sys.argv[1:])
