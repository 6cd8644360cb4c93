"""The program of a worker. The keeper starts it; it is of no use to anybody else.

A terminal, a script or a service manager sends its signals to all processes of the group. They are for the
keeper to heed, which tells its workers what follows: so they are ignored here, also during the imports.

A worker that has died is missed until the next one serves, and half of that time are imports. So it imports
only what it needs, and no garbage is collected meanwhile.
"""

import gc
import signal
import sys

KEEPERS = (
    *(signal.SIGINT, signal.SIGQUIT, signal.SIGTERM),
    *(signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2),
)

if __name__ == "__main__":
    for number in KEEPERS:
        signal.signal(number, signal.SIG_IGN)

    gc.set_threshold(0)  # until `lb.collector.Collector` begins
    # structlog imports rich where there is one, for tracebacks in colours, which we have none of.
    sys.modules["rich"] = None  # type: ignore[assignment]
    import structlog  # noqa: F401

    del sys.modules["rich"]

    from lb.workers.worker import main

    sys.exit(main())
