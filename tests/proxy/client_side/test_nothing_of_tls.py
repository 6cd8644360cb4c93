"""What of TLS is imported where nobody speaks it: that which asks whether its package is there."""

import subprocess
import sys

from lb.net.proxy_header_writer import proxy_header
from tests.kit import GET

HEADER = proxy_header(1, ("192.0.2.7", 5000), ("192.0.2.9", 80))
SCRIPT = f"""
import sys, trio, lb
sys.modules["cryptography"] = None

async def main():
    config = lb.build({{"listen": ["proxy+http://127.0.0.1:0"], "proxy_protocol_from": ["127.0.0.1"]}})
    async with lb.open_balancer(config) as balancer:
        host, port = balancer.control.listening[0].split(":")
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await stream.send_all({HEADER + GET!r})
            print((await stream.receive_some()).split()[1].decode())

trio.run(main)
OF_TLS = ("lb.tls", "lb.net.tls", "lb.certificate_files")
print([name for name in sorted(sys.modules) if name.startswith(OF_TLS)])
"""


def test_a_listener_that_takes_a_proxy_header_needs_nothing_of_tls() -> None:
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split("\n")[:2] == ["503", "[]"]
