"""The command line of `lb backends`. Everything that works is imported when a command runs."""

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from lb.remote.one_balancer import HERE, BackendId, Options, ask_balancer, duration, patience

if TYPE_CHECKING:
    from lb.remote.api import Remote

backends_app = App(name="backends", help="Look at the backends, or add, drain, change and remove them.")


@backends_app.default
@backends_app.command
def ls(
    *, pool: str | None = None, state: str | None = None, wide: bool = False, options: Options = HERE
) -> int:
    """List the backends, with their counters since they were added.

    FAILED counts attempts without a whole answer, mostly made good elsewhere; 5XX are the backend's own
    answers. On a terminal columns are left out and WHY is cut where they do not fit; a pipe gets all.

    Parameters
    ----------
    pool
        Only those of this pool.
    state
        Only those in this state.
    wide
        All columns, and nothing cut.
    """
    from lb.remote import backend_commands
    from lb.remote.terminal_text import terminal_width

    width = None if wide else terminal_width()
    return ask_balancer(options, lambda remote: backend_commands.ls(remote, pool, state, width, options.json))


@backends_app.command
def add(
    url: str,
    /,
    *,
    backend_id: Annotated[str | None, Parameter(name="--id")] = None,
    weight: int | None = None,
    pool: str | None = None,
    max_in_flight: int | None = None,
    backup: bool = False,
    options: Options = HERE,
) -> int:
    """Add one.

    Parameters
    ----------
    url
        Where it is, such as http://10.0.0.4:8000, https://app:443 or unix:/run/app.sock.
    backend_id
        Its name; host-port unless set.
    weight
        How much of the traffic it gets beside the others (1).
    pool
        The pool it belongs to (default).
    max_in_flight
        A hard cap on the requests that run on it.
    backup
        It takes requests only when no other can.
    """
    from lb.remote import backend_commands

    fields = {"url": url, "id": backend_id, "weight": weight, "pool": pool}
    fields |= {"max_in_flight": max_in_flight, "backup": backup or None}
    return ask_balancer(options, lambda remote: backend_commands.add(remote, fields, options.json))


@backends_app.command
def drain(
    backend: BackendId,
    /,
    *,
    wait: str | None = None,
    no_wait: bool = False,
    timeout: str | None = None,
    then: Literal["keep", "remove", "maintenance"] | None = None,
    options: Options = HERE,
) -> int:
    """Give it no new request, and wait until those that run have ended.

    Parameters
    ----------
    wait
        Wait no longer than this, such as 30s; exit code 4 if the drain has not ended by then.
    no_wait
        Do not wait at all.
    timeout
        After this time, cut what still runs.
    then
        What becomes of it when it has drained.
    """
    from lb.remote import backend_commands

    def ask(remote: "Remote") -> int:
        return backend_commands.drain(
            remote, backend_commands.Wish(backend, patience(wait, no_wait), options.json), timeout, then
        )

    return ask_balancer(options, ask)


@backends_app.command
def rm(
    backend: BackendId,
    /,
    *,
    wait: str | None = None,
    no_wait: bool = False,
    timeout: str | None = None,
    force: bool = False,
    options: Options = HERE,
) -> int:
    """Drain it, then remove it.

    Parameters
    ----------
    wait
        Wait no longer than this, such as 30s; exit code 4 if it is still there by then.
    no_wait
        Do not wait at all.
    timeout
        After this time, cut what still runs.
    force
        Remove it now, and cut what runs.
    """
    from lb.remote import backend_commands

    def ask(remote: "Remote") -> int:
        return backend_commands.rm(
            remote, backend_commands.Wish(backend, patience(wait, no_wait), options.json), timeout, force
        )

    return ask_balancer(options, ask)


@backends_app.command
def ready(backend: BackendId, /, *, wait: str | None = None, options: Options = HERE) -> int:
    """Let it take requests again; this takes back a drain.

    Parameters
    ----------
    wait
        Wait so long until it does take some, after good probes that began later; exit code 4 if it does
        not by then.
    """
    from lb.remote import backend_commands

    def ask(remote: "Remote") -> int:
        seconds = None if wait is None else duration(wait)
        return backend_commands.ready(remote, backend, seconds, options.json)

    return ask_balancer(options, ask)


@backends_app.command
def maintenance(backend: BackendId, /, *, options: Options = HERE) -> int:
    """Take it out at once, and cut what runs on it; `drain` waits."""
    from lb.remote import backend_commands

    return ask_balancer(options, lambda remote: backend_commands.maintenance(remote, backend, options.json))


@backends_app.command
def check(backend: BackendId, /, *, options: Options = HERE) -> int:
    """Probe it now, and let the result count."""
    from lb.remote import backend_commands

    return ask_balancer(options, lambda remote: backend_commands.check(remote, backend, options.json))


@backends_app.command
def weight(backend: BackendId, weight: int, /, *, options: Options = HERE) -> int:
    """Change how much of the traffic it gets."""
    from lb.remote import backend_commands

    return ask_balancer(
        options, lambda remote: backend_commands.weight(remote, backend, weight, options.json)
    )
