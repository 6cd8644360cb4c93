"""What is said of a port that cannot be bound."""

import errno
import os
import socket
import subprocess
import sys

import pytest

from lb.net.bind_advice import advice
from lb.net.listener import open_listeners
from lb.settings.listen_address import TcpAddress


async def test_a_port_in_use_names_the_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"^.*cannot listen on 127.0.0.1:{port}: ") as caught:
            await open_listeners(TcpAddress("127.0.0.1", port))
    assert str(caught.value).endswith("); port 0 takes any free one")
    assert f": address already in use by pid {os.getpid()} (" in str(caught.value)


def test_a_port_of_another_process_is_named_too() -> None:
    script = (
        "import socket; s = socket.create_server(('127.0.0.2', 0)); print(s.getsockname()[1], flush=True)"
    )
    script += "; input()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        assert f" by pid {process.pid} (" in advice(errno.EADDRINUSE, port)
        process.communicate("\n")


def test_a_port_that_has_become_free_has_no_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert advice(errno.EADDRINUSE, port) == "; port 0 takes any free one"


def test_low_ports_take_a_right() -> None:
    assert "CAP_NET_BIND_SERVICE" in advice(errno.EACCES, 80)
    assert advice(errno.EACCES, 8080) == ""
