"""Clients that connect, shake hands and ask once: python -m tests.bench.handshakes PORT PATH SECONDS

wrk takes up the session of its connection before, so it measures resumed handshakes, and the shortest ones
with whom speaks TLS 1.2 only. Here each handshake is a full one of TLS 1.3, and one that is not ends it. A
few clients take each step together, so that the program has as much to do at a time as with wrk.

It says at its end how many requests were answered, in the words of wrk.
"""

import socket
import ssl
import sys
import time

CLIENTS = 16
PIECE = 64 * 1024
REQUEST = "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


def context() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.set_alpn_protocols(["http/1.1"])
    return made


class Client:
    """One connection. Its steps are to be called in their order."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._tls = context.wrap_socket(self._sock, do_handshake_on_connect=False)
        self._tls.setblocking(False)
        self._shake()

    def _shake(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def ask(self, request: bytes) -> None:
        """End the handshake, and ask."""
        self._tls.settimeout(10)
        self._tls.do_handshake()
        if self._tls.session_reused:
            raise SystemExit("Socket errors: this handshake was no full one")
        self._tls.sendall(request)

    def hear(self) -> None:
        """The whole answer; then the connection ends."""
        answer = b""
        while data := self._tls.recv(PIECE):
            answer += data
        if not answer.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"Non-2xx: {answer!r}")
        self._tls.close()


def main() -> None:
    port, path, seconds = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    request, trusting, done = REQUEST.format(path=path).encode(), context(), 0
    began = time.monotonic()
    while not done or time.monotonic() < began + seconds:
        clients = [Client(port, trusting) for _ in range(CLIENTS)]
        for client in clients:
            client.ask(request)
        for client in clients:
            client.hear()
        done += len(clients)
    sys.stdout.write(f"{done} requests in {time.monotonic() - began:.2f}s\n")


if __name__ == "__main__":
    main()
