"""The command line of `lb certificates`. Everything that works is imported when a command runs."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from lb.remote.exits import Code, Failed
from lb.remote.one_balancer import HERE, Options, ask_balancer

if TYPE_CHECKING:
    from lb.remote.api import Remote

certificates_app = App(
    name="certificates", help="Look at the certificates that are served, reload or renew them."
)


@certificates_app.default
def certificates(*, reload: bool = False, dry_run: bool = False, options: Options = HERE) -> int:
    """List the certificates that are served, and what is left of their life.

    Parameters
    ----------
    reload
        Have their files read again instead, and say what has changed.
    dry_run
        With --reload: only say what would change.
    """
    from lb.remote import tls_commands

    def ask(remote: "Remote") -> int:
        if dry_run and not reload:
            raise Failed("--dry-run goes with --reload", Code.MISUSED)
        if reload:
            return tls_commands.reload_certificates(remote, dry_run, options.json)
        return tls_commands.list_certificates(remote, options.json)

    return ask_balancer(options, ask)


@certificates_app.command
def renew(name: Annotated[str, Parameter(name="ID")], /, *, options: Options = HERE) -> int:
    """Have one that is ordered ([tls.acme]) ordered anew, as soon as its authorities allow.

    Parameters
    ----------
    name
        The certificate, or the name that is to have one.
    """
    from lb.remote import tls_commands

    return ask_balancer(options, lambda remote: tls_commands.renew(remote, name, options.json))
