"""The commands, from the same descriptions as their --help."""

import inspect
from collections.abc import Iterator

from cyclopts import App

from admin.reference.topic import INDENT, Entry, Topic, table, wrapped
from lb.cli import app
from lb.remote.exits import Code

PREFACE = """\
Those that talk to a balancer take --admin (or LB_ADMIN): a URL, HOST:PORT or unix:PATH; without it, the
address in ./lb.toml, or 127.0.0.1:9000. The token is in --token-file or LB_ADMIN_TOKEN. For https, --ca
(LB_ADMIN_CA) names the authorities to believe, those of the system unless set, --cert and --key
(LB_ADMIN_CERT, LB_ADMIN_KEY) a certificate to show in place of a token. To an address that only ./lb.toml
names the token is sent only if that is loopback. --json prints what the API answers.
"""
CODES = {
    Code.DONE: "done",
    Code.FAILED: "not reached, or failed; a change where etcd is away: 503 (not made) or 504 (not known)",
    Code.MISUSED: "misuse: a flag, or a mistake in a file",
    Code.NOT_THERE: "no such backend or request",
    Code.STILL_DRAINING: "the wait ended before the drain did, or before a backend was back; or it is not"
    " sure that a drain has ended on all balancers of a cluster",
    Code.REFUSED: "refused",
    Code.INTERRUPTED: "interrupted while waiting; the drain goes on",
}
RUN = """\
lb run ends with 0 if every request ended by itself, 1 if some were cut, 128 + n after a second signal n.
"""
EVERYWHERE = frozenset({"admin", "token-file", "ca", "cert", "key", "json"})
"""Flags that the preface explains."""


def commands_topic() -> Topic:
    """Every command, and the exit codes."""
    codes = table((f"exit {code.value}", CODES[code]) for code in Code)
    return Topic((*_commands(app, "lb"), Entry("exit", f"{codes}\n{wrapped(RUN)}\n")), PREFACE)


def _commands(app: App, path: str) -> Iterator[Entry]:
    for name in app:
        command = app[name]
        if name.startswith("-"):
            continue
        if command.default_command is not None:
            yield _entry(command, f"{path} {name}")
        yield from _commands(command, f"{path} {name}")


def _entry(command: App, name: str) -> Entry:
    arguments = command.assemble_argument_collection(parse_docstring=True)
    rows = []
    for each in arguments.filter_by(show=True):
        shown = each.names[0]
        if shown.lstrip("-") not in EVERYWHERE:
            rows.append((f"  {shown}", " ".join((each.parameter.help or "").split())))
    return Entry(name, "\n".join(filter(None, (name, wrapped(_about(command), INDENT), table(rows)))) + "\n")


def _about(command: App) -> str:
    """The docstring of its function, without the part about parameters."""
    return (inspect.getdoc(command.default_command) or command.help).partition("\n\nParameters\n")[0]
