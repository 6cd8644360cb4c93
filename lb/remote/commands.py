"""The command line of the commands that watch and steer a running balancer.

Each returns its exit code. Everything that works is imported when a command runs.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from lb.remote.exits import Code, Failed
from lb.remote.one_balancer import HERE, Options, ask_balancer, duration, local, patience, watch
from lb.remote.terminal_text import warn

if TYPE_CHECKING:
    from lb.remote.api import Remote


def status(*, ended: bool = False, since: str | None = None, options: Options = HERE) -> int:
    """Say what is wrong and what to do next, or that nothing is wrong.

    Parameters
    ----------
    ended
        Say what was wrong and is over instead, the last first.
    since
        As --ended, but only what ended since then: 12h ago, or a time such as 2026-01-31T03:00 (UTC).
    """
    if ended or since is not None:
        from lb.remote import ended_text

        return ask_balancer(options, lambda remote: ended_text.list_ended(remote, since, options.json))
    from lb.remote import status

    return ask_balancer(options, lambda remote: status.status(remote, options.json))


def top(
    *,
    once: bool = False,
    sort: Literal["trouble", "p99", "p50", "5xx", "rate", "flight", "id"] = "trouble",
    pool: str | None = None,
    state: str | None = None,
    options: Options = HERE,
) -> int:
    """Show rates, latencies and states, each second anew. Keys: q quits, s sorts, / filters.

    Parameters
    ----------
    once
        Only as they are now.
    sort
        Which backends come first: those in trouble, or those with the most of this.
    pool
        Only backends of this pool.
    state
        Only backends in this state, such as down.
    """
    from lb.remote import top
    from lb.remote.top_view import View

    view = View(sort=sort, pool=pool, state=state)
    return watch(options, lambda remote: top.top(remote, view, once, options.json))


def why(
    request_id: Annotated[str | None, Parameter(name="ID")] = None,
    /,
    *,
    slow: bool = False,
    status: str | None = None,
    backend: str | None = None,
    pool: str | None = None,
    since: str | None = None,
    until: str | None = None,
    running: bool = False,
    tls: bool = False,
    options: Options = HERE,
) -> int:
    """Explain a request: what happened, where its time went, who was tried.

    Parameters
    ----------
    request_id
        The id in its X-Request-Id; without one it is the last request that failed.
    slow
        The slowest of the last hour, or of the time that --since and --until say, and those next to it.
    status
        The last one with this status, such as 502, or 5xx.
    backend
        The last one that failed of this backend, or of which an attempt on it failed and another did not.
    pool
        Only requests of this pool.
    since
        Only those that ended since then: 10m ago, or a time such as 2026-01-31T03:00 (UTC).
    until
        Only those that ended until then.
    running
        List the requests that run now instead.
    tls
        Explain the last TLS handshakes that were refused instead.
    """
    from lb.remote import running_text, tls_commands, why
    from lb.remote.which_request import Wish

    wish = Wish(slow=slow, status=status, backend=backend, pool=pool, since=since, until=until)
    if sum((running, tls, request_id is not None, wish != Wish())) > 1:
        warn("an ID, --running, --tls and flags that choose a request exclude each other")
        return Code.MISUSED
    if tls:
        return ask_balancer(options, lambda remote: tls_commands.why_tls(remote, options.json))
    if running:
        return ask_balancer(options, lambda remote: running_text.list_running(remote, options.json))
    return ask_balancer(options, lambda remote: why.why(remote, request_id, wish, options.json))


def route(url: str, /, *, method: str | None = None, options: Options = HERE) -> int:
    """Say which route, pool and backends a request for a URL would get, or why it would be refused.

    Parameters
    ----------
    url
        Such as http://shop.example/cart, or a path alone.
    method
        GET unless set.
    """
    from lb.remote import route

    return ask_balancer(options, lambda remote: route.route(remote, url, method, options.json))


def tap(
    *,
    failed: bool = False,
    backend: str | None = None,
    status: str | None = None,
    slower: str | None = None,
    path: str | None = None,
    options: Options = HERE,
) -> int:
    """Show requests as they end. A 5xx without a reason is the backend's own answer.

    Parameters
    ----------
    failed
        Only those that failed.
    backend
        Only those of this backend.
    status
        Only those with this status, such as 502, or 5xx.
    slower
        Only those that took so long, such as 500ms.
    path
        Only those whose target begins like this.
    """
    from lb.remote import tap

    def ask(remote: "Remote") -> int:
        if status is not None and not re.fullmatch("[1-5][0-9x]{2}", status):
            raise Failed(f"--status: {status!r} is not a status such as 502 or 5xx", Code.MISUSED)
        least = 0.0 if slower is None else duration(slower, "--slower") * 1000
        wanted = tap.Filter(backend=backend, status=status, slower=least, path=path)
        return tap.tap(remote, wanted, failed, options.json)

    return watch(options, ask)


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
        return balancer_commands.drain(remote, duration(wait) if wait else None, stop, options.json)

    return ask_balancer(options, ask)


def log_level(
    level: Literal["debug", "info", "warning", "error", "configured"] | None = None,
    /,
    *,
    time: Annotated[str | None, Parameter(name="--for")] = None,
    options: Options = HERE,
) -> int:
    """Say from which level on the balancer's log has lines, or change it, in all its processes.

    Parameters
    ----------
    level
        The new one; at debug each probe and each decision about a request has a line. "configured" takes it
        back to what the file says.
    time
        Only for so long, such as 5m; then it is back by itself.
    """
    from lb.remote import balancer_commands

    def ask(remote: "Remote") -> int:
        if time is not None and level in (None, "configured"):
            raise Failed("--for goes with a level", Code.MISUSED)
        if level is None:
            return balancer_commands.log_level(remote, options.json)
        seconds = None if time is None else duration(time, "--for")
        return balancer_commands.set_log_level(remote, level, seconds, options.json)

    return ask_balancer(options, ask)


def upgrade(*, dry_run: bool = False, options: Options = HERE) -> int:
    """Replace the running program by a new one, which takes over its sockets; it reads the file again.

    Parameters
    ----------
    dry_run
        Say what would be started and what would change, and do nothing.
    """
    from lb.remote import balancer_commands

    return ask_balancer(options, lambda remote: balancer_commands.upgrade(remote, dry_run, options.json))


def reload(*, dry_run: bool = False, options: Options = HERE) -> int:
    """Have the balancer read its file again: all of it, or nothing changes.

    Parameters
    ----------
    dry_run
        Only say what would change.
    """
    from lb.remote import config_commands

    return ask_balancer(options, lambda remote: config_commands.reload(remote, dry_run, options.json))


def config_show(*, options: Options = HERE) -> int:
    """Print the configuration that the balancer uses now, as a file would have it."""
    from lb.remote import config_commands

    return ask_balancer(options, lambda remote: config_commands.show(remote, options.json))


def config_diff(file: Path, /, *, options: Options = HERE) -> int:
    """Say what this file would change, if it were the one that the balancer reads.

    Parameters
    ----------
    file
        The file to compare with what runs.
    """
    from lb.remote import config_commands

    return ask_balancer(options, lambda remote: config_commands.diff(remote, file, options.json))


def pools(*, options: Options = HERE) -> int:
    """List the pools with their rates."""
    from lb.remote import tables

    return ask_balancer(options, lambda remote: tables.pools(remote, options.json))


def cluster(*, options: Options = HERE) -> int:
    """Say which balancers share what operators wish, and how far each is."""
    from lb.remote import cluster_text

    return ask_balancer(options, lambda remote: cluster_text.cluster(remote, options.json))


def audit(*, limit: int | None = None, options: Options = HERE) -> int:
    """Say who changed what, and who was refused, the newest first.

    Parameters
    ----------
    limit
        So many at most.
    """
    from lb.remote import tables

    return ask_balancer(options, lambda remote: tables.audit(remote, limit, options.json))


def rollout(
    *command: str,
    pool: str | None = None,
    only: list[str] | None = None,
    timeout: str | None = None,
    wait: str | None = None,
    back_within: str = "60s",
    keep: int = 1,
    unchecked: bool = False,
    options: Options = HERE,
) -> int:
    """Drain one backend after the other, run a command for each, and let it back.

    It stops at the first that does not come back. {id}, {url} and {pool} in the command stand for those of
    the backend; write -- before a command that has flags.

    Parameters
    ----------
    command
        What to run once a backend has drained, such as: ssh {id} systemctl restart app
    pool
        Only the backends of this pool.
    only
        Only this backend. Repeatable.
    timeout
        After this time, cut what still runs on one that drains.
    wait
        Wait no longer than this for a drain, and stop then.
    back_within
        How long one may take until its probes pass, and it is ready again; it gets no request before.
    keep
        So many of the pool must stay available, or it stops; 0 where there is only one.
    unchecked
        Go through pools without a probe too, where nothing shows that one is not back.
    """
    from lb.remote import rollout as rolling

    def ask(remote: "Remote") -> int:
        if not command:
            raise Failed("rollout: which command is to be run for each backend?", Code.MISUSED)
        wish = rolling.Rollout(
            command=command,
            pool=pool,
            only=only or (),
            timeout=timeout,
            patience=patience(wait, no_wait=False) or 0.0,
            back_within=duration(back_within, "--back-within"),
            keep=keep,
            unchecked=unchecked,
        )
        return rolling.rollout(remote, wish)

    return ask_balancer(options, ask)


def token_new(name: str, scope: Literal["read", "drain", "admin"], /) -> int:
    """Make a token for the operator's side: the line for admin.tokens_file, and the token.

    Parameters
    ----------
    name
        Whose it is; the audit shows it.
    scope
        What its holder may do.
    """
    from lb.remote.new_token import new_token

    return local(lambda: new_token(name, scope))
