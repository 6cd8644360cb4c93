"""The command `lb`: which commands there are, and how their errors end.

Every command is named by its module, which is imported when the command runs, so that all others answer at
once. Exit codes: 0; 1 for an address that cannot be bound or another system error; 2 for a
mistake in flags or file. Others are those of `lb.process.serve` and `lb.remote.exits`.
"""

import os
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Parameter

from lb.about import SAID
from lb.errors import ConfigError, NotUpgraded
from lb.standard_streams import flush_stderr, replace_missing, tell

FOR_AN_UPGRADE = "LB_UPGRADE_FD"
"""The variable that `lb.upgrade.handover_channel` names, whose import takes long."""
OK, FAILED, MISUSED = 0, 1, 2


app = App(
    name="lb",
    help="An HTTP/1.1 load balancer on Trio.",
    version=SAID,
    version_format="plaintext",
    default_parameter=Parameter(negative=()),
    result_action="return_value",
    exit_on_error=False,
    print_error=False,
)
config_app = App(name="config", help="Look at configuration files, and at what is used.")
app.command(config_app)
token_app = App(name="token", help="Make tokens for the operator's side.")
app.command(token_app)
HERE, THERE = "lb.run_command", "lb.remote.commands"
for _app, _name, _what, _help in (
    (app, "run", f"{HERE}:run", "Run the balancer; with neither a file nor a backend, a demo."),
    (app, "status", f"{THERE}:status", "Say what is wrong, or that nothing is."),
    (app, "top", f"{THERE}:top", "Show rates, latencies and states, each second anew."),
    (
        app,
        "backends",
        "lb.remote.backends_app:backends_app",
        "Look at the backends, or add, drain, change and remove them.",
    ),
    (app, "pools", f"{THERE}:pools", "List the pools with their rates."),
    (
        app,
        "requests",
        "lb.remote.requests_app:requests_app",
        "List the requests that run now, or end one.",
    ),
    (app, "why", f"{THERE}:why", "Explain a request: what happened, where its time went, who was tried."),
    (app, "route", f"{THERE}:route", "Say which route, pool and backends a URL would get."),
    (app, "tap", f"{THERE}:tap", "Show requests as they end."),
    (
        app,
        "rollout",
        f"{THERE}:rollout",
        "Drain one backend after the other, run a command for each, and let it back.",
    ),
    (app, "reload", f"{THERE}:reload", "Have the balancer read its file again."),
    (app, "audit", f"{THERE}:audit", "Say who changed what, and who was refused."),
    (
        app,
        "certificates",
        "lb.remote.certificates_app:certificates_app",
        "List the certificates that are served, and what is left of their life; or renew one.",
    ),
    (app, "cluster", f"{THERE}:cluster", "Say which balancers share what operators wish."),
    (app, "log-level", f"{THERE}:log_level", "Say from which level on the log has lines, or change it."),
    (app, "drain", f"{THERE}:drain_balancer", "Take the balancer itself out, or back."),
    (
        app,
        "upgrade",
        f"{THERE}:upgrade",
        "Replace the running program by a new one, without losing a connection.",
    ),
    (app, "docs", "admin.docs_command:docs", "Show the reference: keys, metrics, alerts, errors and so on."),
    (app, "--install-completion", "lb.completion:install", "Install completion for your shell."),
    (config_app, "check", f"{HERE}:check", "Say whether a file is right, or list every mistake."),
    (config_app, "init", f"{HERE}:init", "Write a first file."),
    (config_app, "show", f"{THERE}:config_show", "Print the configuration that is used now."),
    (config_app, "diff", f"{THERE}:config_diff", "Say what a file would change."),
    (token_app, "new", f"{THERE}:token_new", "Make a token, and the line that lets it in."),
):  # by name, so that each command imports only what it needs
    _app.command(_what, name=_name, help=_help)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Mistakes are one message on stderr, never a traceback."""
    replace_missing()
    try:
        return app(arguments) or OK
    except CycloptsError as exc:
        from lb.misuse import misuse

        return _complain(f"{misuse(exc)}\nTry lb --help", MISUSED)
    except NotUpgraded as exc:
        return _complain(str(exc), FAILED)
    except ConfigError as exc:
        return _complain(str(exc), MISUSED)
    except OSError as exc:
        where = f"{exc.filename}: " if exc.filename else ""
        return _complain(f"{where}{exc.strerror or exc}", FAILED)
    finally:
        flush_stderr()


def _complain(message: str, code: int) -> int:
    tell(f"lb: {message}")
    if FOR_AN_UPGRADE in os.environ:
        from lb.upgrade.arrival import refuse

        refuse(message)
    return code
