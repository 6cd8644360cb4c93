"""The start of a worker's process, which inherits a channel, the board and the listeners."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence

import trio

from lb.workers.channel import Channel
from lb.workers.messages import Up

Begun = tuple[trio.Process, Channel]
"""A process that waits for its first message, and the channel to it."""


async def begun(fds: Sequence[int]) -> Begun:
    """Start a process that has these descriptors. The caller owns both; OSError where none starts."""
    ours, theirs = socket.socketpair()
    channel = Channel(trio.SocketStream(trio.socket.from_stdlib_socket(ours)), Up)
    try:
        with theirs:
            return await start_process([theirs.fileno(), *fds]), channel
    except BaseException:
        channel.close()
        raise


async def start_process(fds: Sequence[int]) -> trio.Process:
    """The first of them is its channel."""
    command = [sys.executable, "-P", "-m", "lb.workers", str(fds[0])]
    # The worker imports what this process imports, wherever it was started.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return await trio.lowlevel.open_process(command, pass_fds=fds, env=environment, stdin=subprocess.DEVNULL)
