"""The command line of the remote commands. Everything else is imported when a command runs.

Each command returns its exit code. Messages about errors go to stderr, so stdout has nothing but the answer.
"""

import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from lb.remote.exits import Code, Failed
from lb.remote.terminal_text import printable, warn

if TYPE_CHECKING:
    from lb.remote.api import Remote

BackendId = Annotated[str, Parameter(name="ID")]

backends_app = App(name="backends", help="Look at the backends, or add, drain, change and remove them.")


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Options:
    """Where to ask, and how to print.

    Parameters
    ----------
    admin
        The balancer's admin address: a URL, HOST:PORT or unix:PATH. Else LB_ADMIN, ./lb.toml, 127.0.0.1:9000.
    token_file
        The file with the admin token; else LB_ADMIN_TOKEN.
    json
        Print what the API answers, as it is.
    """

    admin: str | None = None
    token_file: Path | None = None
    json: bool = False


HERE = Options()


@backends_app.default
@backends_app.command
def ls(*, pool: str | None = None, state: str | None = None, options: Options = HERE) -> int:
    """List the backends.

    Parameters
    ----------
    pool
        Only those of this pool.
    state
        Only those in this state.
    """
    from lb.remote import backend_commands

    return _ask(options, lambda remote: backend_commands.ls(remote, pool, state, options.json))


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
        Where it is, such as http://10.0.0.4:8000 or unix:/run/app.sock.
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
    return _ask(options, lambda remote: backend_commands.add(remote, fields, options.json))


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
            remote, backend_commands.Wish(backend, _patience(wait, no_wait), options.json), timeout, then
        )

    return _ask(options, ask)


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
            remote, backend_commands.Wish(backend, _patience(wait, no_wait), options.json), timeout, force
        )

    return _ask(options, ask)


@backends_app.command
def ready(backend: BackendId, /, *, options: Options = HERE) -> int:
    """Let it take requests again; this takes back a drain."""
    from lb.remote import backend_commands

    return _ask(options, lambda remote: backend_commands.ready(remote, backend, options.json))


@backends_app.command
def weight(backend: BackendId, weight: int, /, *, options: Options = HERE) -> int:
    """Change how much of the traffic it gets."""
    from lb.remote import backend_commands

    return _ask(options, lambda remote: backend_commands.weight(remote, backend, weight, options.json))


def top(*, once: bool = False, options: Options = HERE) -> int:
    """Show rates, latencies and states, each second anew.

    Parameters
    ----------
    once
        Only as they are now.
    """
    from lb.remote import top

    return _watch(options, lambda remote: top.top(remote, once, options.json))


def why(
    request_id: Annotated[str | None, Parameter(name="ID")] = None,
    /,
    *,
    running: bool = False,
    options: Options = HERE,
) -> int:
    """Explain a request: what happened, where its time went, who was tried.

    Parameters
    ----------
    request_id
        The id in its X-Request-Id; without one it is the last request that failed.
    running
        List the requests that run now instead.
    """
    from lb.remote import running_text, why

    if running:
        return _ask(options, lambda remote: running_text.list_running(remote, options.json))
    return _ask(options, lambda remote: why.why(remote, request_id, options.json))


def tap(*, failed: bool = False, options: Options = HERE) -> int:
    """Show requests as they end.

    Parameters
    ----------
    failed
        Only those that failed.
    """
    from lb.remote import tap

    return _watch(options, lambda remote: tap.tap(remote, failed, options.json))


def drain_balancer(
    *,
    wait: str | None = None,
    stop: Annotated[bool, Parameter(name="--exit")] = False,
    undo: bool = False,
    options: Options = HERE,
) -> int:
    """Take the balancer itself out: /readyz is 503, traffic is still served.

    Parameters
    ----------
    wait
        Wait so long until nothing is in flight; exit code 4 if something still is.
    stop
        Let it stop then, gracefully.
    undo
        Take it back: ready again.
    """
    from lb.remote import balancer_commands

    def ask(remote: "Remote") -> int:
        if undo and (stop or wait):
            raise Failed("--undo goes with neither --wait nor --exit", Code.MISUSED)
        if undo:
            return balancer_commands.undo(remote, options.json)
        return balancer_commands.drain(remote, _duration(wait) if wait else None, stop, options.json)

    return _ask(options, ask)


def _patience(wait: str | None, no_wait: bool) -> float | None:
    """The seconds to wait: without a limit by default, None for --no-wait."""
    if wait is not None and no_wait:
        raise Failed("--wait and --no-wait exclude each other", Code.MISUSED)
    if no_wait:
        return None
    return inf if wait is None else _duration(wait)


def _duration(text: str) -> float:
    from lb.settings.values import parse_duration

    try:
        return parse_duration(float(text) if text.replace(".", "", 1).isdecimal() else text)
    except ValueError as exc:
        raise Failed(f"--wait: {exc}", Code.MISUSED) from exc


def _watch(options: Options, ask: "Callable[[Remote], int]") -> int:
    """As `_ask`, for a command that runs until Ctrl-C, which is then no error."""
    try:
        return _ask(options, ask)
    except KeyboardInterrupt:
        return Code.DONE


def _ask(options: Options, ask: "Callable[[Remote], int]") -> int:
    """Connect to the balancer that is meant, run `ask`, and turn every error into an exit code."""
    from lb.remote import address
    from lb.remote.api import Remote

    _escape_unencodable()
    try:
        with Remote(address.find(options.admin, options.token_file)) as remote:
            return ask(remote)
    except Failed as exc:
        warn(str(exc))
        return exc.code
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # otherwise the flush at exit would fail
        return Code.DONE
    except (LookupError, TypeError, ValueError) as exc:
        warn(f"the answer is not understood ({type(exc).__name__}: {printable(exc)}); is it another version?")
        return Code.FAILED


def _escape_unencodable() -> None:
    """Let output escape characters that the terminal's encoding lacks, instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
