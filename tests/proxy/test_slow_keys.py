"""Handshakes whose key takes long hold up nobody: their steps are taken in a thread."""

import ssl
import threading
from dataclasses import replace

import trio

from tests.kit import GET, OK, running
from tests.kit.wires import Wires, among, client_context, files


async def test_the_step_that_signs_is_taken_in_a_thread() -> None:
    threads: list[int] = []

    class Watched(ssl.SSLObject):
        def do_handshake(self) -> None:
            threads.append(threading.get_ident())
            super().do_handshake()

    with among(Wires(front=True)):
        async with running() as lb, lb.backend.answering(OK):
            termination = lb.balancer.traffic.termination
            assert termination is not None
            [served] = {id(each): each for each in termination.certificates.table.names.values()}.values()
            served.certificates = tuple(
                replace(each, key_type="RSA", key_bits=4096) for each in served.certificates
            )
            served.context.sslobject_class = Watched
            host, _, port = lb.balancer.control.listening[0].rpartition(":")
            with trio.fail_after(10):
                stream = trio.SSLStream(
                    await trio.open_tcp_stream(host, int(port)),
                    client_context(files().ca),
                    server_hostname="a",
                )
                await stream.send_all(GET)
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")
                await stream.aclose()
    assert len(threads) >= 2
    assert threading.get_ident() not in threads
