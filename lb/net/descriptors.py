"""The limit on file descriptors: a proxy needs two for each exchange."""

import resource
from contextlib import suppress


def raise_limit() -> int:
    """Raise the soft limit on open files to the hard limit, as HAProxy and Caddy do. Returns the limit.

    The usual soft limit of 1024 is meant for programs that use `select`. Child processes inherit the new one.
    Where the system refuses, the limit stays as it was.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
