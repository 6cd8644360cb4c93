"""The command line of `lb requests`. Everything that works is imported when a command runs."""

from typing import Annotated

from cyclopts import App, Parameter

from lb.remote.one_balancer import HERE, Options, ask_balancer

requests_app = App(name="requests", help="List the requests that run now, or end one.")


@requests_app.default
@requests_app.command
def ls(*, backend: str | None = None, pool: str | None = None, options: Options = HERE) -> int:
    """List the requests that run now, those that run longest first.

    Parameters
    ----------
    backend
        Only those that this backend has now.
    pool
        Only those of this pool.
    """
    from lb.remote import running_text

    wanted = {"backend": backend, "pool": pool}
    return ask_balancer(options, lambda remote: running_text.list_running(remote, options.json, wanted))


@requests_app.command
def end(
    request_id: Annotated[str, Parameter(name="ID")], /, *, dry_run: bool = False, options: Options = HERE
) -> int:
    """End a request that runs: its client is cut off, or gets an error where no answer had begun.

    One that is over already is no mistake; exit code 3 where no request has this id.

    Parameters
    ----------
    request_id
        Its id, as `lb requests` lists it, or as its X-Request-Id has it.
    dry_run
        Say what would be ended, and do nothing.
    """
    from lb.remote import request_end

    return ask_balancer(options, lambda remote: request_end.end(remote, request_id, dry_run, options.json))
