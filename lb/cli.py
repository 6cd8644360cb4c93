"""The command `lb`: flags and a file become a `Config`, and the balancer runs on it.

This is the only module that knows both the balancer and admin. It imports each of them only when it is
needed, so that `lb --version` and a mistake in the file answer at once. Exit codes: 0; 1 for an address that
cannot be bound or another system error; 2 for a mistake in flags or file. Others are those of `lb.app.serve`
and `lb.remote.exits`.
"""

import gc
import json
import os
import sys
import tomllib
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter, UnknownCommandError

from lb.banner import banner
from lb.config.decode import join
from lb.config.loader import load, overlay
from lb.config.source import Source
from lb.config.start_check import before_start, try_start
from lb.early_signals import is_end_wished
from lb.errors import ConfigError
from lb.settings.balancer_settings import DEFAULT_POOL, DEMO_PORTS, Config
from lb.suggestions import plural

if TYPE_CHECKING:
    import trio

    from lb.control import Control

IMPLICIT_FILE = "lb.toml"
OK, FAILED, MISUSED = 0, 1, 2
COLLECT_AFTER = (10_000, 20, 20)
"""Thresholds of the garbage collector's three generations; CPython's defaults are 700, 10 and 10."""


def _version() -> str:
    try:
        return f"trio-lb {version('trio-lb')}"
    except PackageNotFoundError:
        return "trio-lb, not installed"


app = App(
    name="lb",
    help="An HTTP/1.1 load balancer on Trio.",
    version=_version,
    default_parameter=Parameter(negative=()),
    result_action="return_value",
    exit_on_error=False,
    print_error=False,
)
config_app = App(name="config", help="Look at configuration files.")
app.command(config_app)
for _name, _what, _help in (
    ("backends", "backends_app", "Look at the backends, or add, drain, change and remove them."),
    ("top", "top", "Show rates, latencies and states, each second anew."),
    ("why", "why", "Explain a request: what happened, where its time went, who was tried."),
    ("tap", "tap", "Show requests as they end."),
    ("drain", "drain_balancer", "Take the balancer itself out, or back."),
):  # by name, so that `lb run` does not import them
    app.command(f"lb.remote.commands:{_what}", name=_name, help=_help)
app.register_install_completion_command(help="Install completion for your shell.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Mistakes are one message on stderr, never a traceback."""
    _replace_missing_streams()
    try:
        return app(arguments) or OK
    except CycloptsError as exc:
        return _complain(f"{_misuse(exc)}\nTry lb --help", MISUSED)
    except ConfigError as exc:
        return _complain(str(exc), MISUSED)
    except OSError as exc:
        where = f"{exc.filename}: " if exc.filename else ""
        return _complain(f"{where}{exc.strerror or exc}", FAILED)
    finally:
        _flush_stderr()


def _misuse(error: CycloptsError) -> str:
    """The message for a wrong command line. An option before the command gets a message of its own."""
    word = (error.unused_tokens or [""])[0] if isinstance(error, UnknownCommandError) else ""
    if not word.startswith("-"):
        return str(error)
    option = word.partition("=")[0]
    return f"{option} goes behind the command: lb COMMAND {option} ..."


def _replace_missing_streams() -> None:
    """Open /dev/null as stdout and stderr where a daemon was started without them."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - open as long as the process lives


def _say(text: str) -> None:
    """Write a message to stderr. A closed stderr is replaced, so that the program runs on."""
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except OSError:
        sys.stderr = None  # otherwise its flush at exit would fail
        _replace_missing_streams()


def _flush_stderr() -> None:
    """Flush stderr. One that cannot be written, such as a terminal that is gone, must not fail the exit."""
    try:
        sys.stderr.flush()
    except OSError:
        sys.stderr = None
        _replace_missing_streams()


def _complain(message: str, code: int) -> int:
    _say(f"lb: {message}")
    return code


@app.command
def run(
    *,
    config: Path | None = None,
    listen: list[str] | None = None,
    admin: str | None = None,
    no_admin: bool = False,
    backend: list[str] | None = None,
    state: str | None = None,
    access_log: Literal["auto", "off", "text", "json", "combined"] | None = None,
    demo: bool = False,
    settings: Annotated[list[str] | None, Parameter(name="--set")] = None,
) -> int:
    """Run the balancer until SIGTERM or SIGINT; SIGHUP reads the file again. With neither a file nor a
    backend, it is a demo.

    Parameters
    ----------
    config
        The file to read; without it ./lb.toml, if there is one. Flags win over it.
    listen
        Where to accept clients: HOST:PORT, :PORT, [IPV6]:PORT, fd://N or unix:PATH. Repeatable.
    admin
        Where the operator's side listens.
    no_admin
        Run without an operator's side.
    backend
        One backend of the pool `default`: [ID=]URL[,weight=N]. Repeatable.
    state
        The file that keeps what is changed at runtime.
    access_log
        A line for each request, on stdout unless access_log.file is set; auto is text on a terminal and json
        otherwise.
    demo
        Start three backends of our own on 127.0.0.1:8081-8083.
    settings
        Any key of the file: KEY=VALUE, such as timeouts.connect=2s. Repeatable.
    """
    if admin is not None and no_admin:
        raise ConfigError("--admin and --no-admin exclude each other")
    flags = {
        "listen": listen,
        "admin": _present({"listen": admin, "enabled": False if no_admin else None}) or None,
        "pools": {DEFAULT_POOL: {"backends": [_backend(text) for text in backend]}} if backend else None,
        "state": state,
        "access_log": None if access_log is None else {"format": access_log},
        "demo": demo or None,
    }
    source = _source(config, _present(flags), settings or [])
    return _start(source.read(), source)


@config_app.command
def check(file: Path, *, no_code: bool = False) -> int:
    """Say whether a file is right and a start would succeed, or list every mistake in it.

    Parameters
    ----------
    file
        The file to check.
    no_code
        Do not import the policies that it names, which runs their code.
    """
    config = load(file)
    notes = [*try_start(config)]
    _try_files(config)
    _import_policies(config, no_code)
    backends = sum(len(pool.backends) for pool in config.pools.values())
    sys.stdout.write(f"{file}: ok, {plural(len(config.pools), 'pool')}, {plural(backends, 'backend')}\n")
    for note in notes:
        sys.stdout.write(f"note: {note}\n")
    if DEFAULT_POOL in config.pools and not config.pools[DEFAULT_POOL].backends:
        sys.stdout.write(f"note: what no route takes gets 503, for pool {DEFAULT_POOL!r} has no backends\n")
    return OK


def _source(file: Path | None, flags: dict[str, Any], settings: Sequence[str]) -> Source:
    """The file, by default ./lb.toml if it exists, with the flags laid over it."""
    if file is None and Path(IMPLICIT_FILE).exists():
        file = Path(IMPLICIT_FILE)
        sys.stderr.write(f"lb: reading ./{IMPLICIT_FILE}\n")
    for setting in settings:
        flags = overlay(flags, _setting(setting))
    return Source(file, flags)


def _try_files(config: Config) -> None:
    """Read key files and try the log file, as the start would; ConfigError where one cannot be used."""
    from lb.config.cookie_keys import CookieKeys
    from lb.observe.log_file import check as check_log_file

    if config.access_log.file is not None:
        check_log_file(config.access_log.file)
    keys = CookieKeys()
    for name, pool in config.pools.items():
        if pool.sticky is not None:
            try:
                keys.read(pool.sticky.secret_file)
            except ConfigError as exc:
                raise ConfigError(f"{join('pools', name)}.{exc}") from exc


def _import_policies(config: Config, no_code: bool) -> None:
    """Import custom policies, as the start would; ConfigError where one fails. It says so before it does."""
    from lb.core.policies.custom import load as load_policy

    custom = {name: pool.policy for name, pool in config.pools.items() if ":" in pool.policy}
    if custom and not no_code:
        sys.path.insert(0, os.getcwd())
    for name, policy in custom.items():
        key = f"{join('pools', name)}.policy"
        if no_code:
            sys.stdout.write(f"note: {key} is not checked: {policy}\n")
            continue
        sys.stdout.write(f"note: importing {policy}, which runs its code (--no-code does not)\n")
        sys.stdout.flush()
        try:
            load_policy(policy)
        except ValueError as exc:
            raise ConfigError(f"{key}: {exc}") from exc


def _present(table: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value is not None}


def _setting(text: str) -> dict[str, Any]:
    """The table that `KEY=VALUE` stands for: a dotted key, and a TOML value or a bare word."""
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--set {text}: expected KEY=VALUE, such as timeouts.connect=2s")
    for written in (value, json.dumps(value, ensure_ascii=False)):
        try:
            return tomllib.loads(f"{key} = {written}")
        except tomllib.TOMLDecodeError:
            continue
    raise ConfigError(f"--set {text}: {key!r} is not a key such as timeouts.connect")


def _backend(text: str) -> dict[str, Any]:
    """The table that `[ID=]URL[,weight=N]` stands for; its values are checked with all others."""
    address, *options = text.split(",")
    name, equals, url = address.partition("=")
    table: dict[str, Any] = {"id": name, "url": url} if equals else {"url": address}
    for option in options:
        key, _, number = option.partition("=")
        if key != "weight" or not (number.isascii() and number.isdecimal()):
            raise ConfigError(f"--backend {text}: expected [ID=]URL[,weight=N], not {option!r}")
        table["weight"] = int(number)
    return table


def _start(config: Config, source: Source) -> int:
    """Run the balancer, and admin unless it is switched off; returns the exit code."""
    import trio

    from lb.observe.program_log import configure

    configure(json=not sys.stderr.isatty())
    if is_end_wished():
        return OK
    try:
        return trio.run(_serve, config, source)
    except BaseExceptionGroup as group:
        raise _only_error_in(group) from group


def _only_error_in(error: BaseException) -> BaseException:
    """The error in a group of one, however deep, so that an address in use is one line on stderr."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        [error] = error.exceptions
    return error


async def _serve(config: Config, source: Source) -> int:
    from lb.app import Balancer, wall_clock
    from lb.net.descriptors import raise_limit
    from lb.observe.access_log import AccessLog
    from lb.process import serve

    raise_limit()
    token = before_start(config)
    balancer = Balancer(config, AccessLog.of(config.access_log, wall=wall_clock()), source)
    admin_at: list[str] = []

    def announce(control: "Control") -> None:
        _collect_less()
        urls = [backend.spec.url for backend in control.registry.backends.values()]
        _say(banner(config, control.listening, admin_at[0] if admin_at else None, urls))

    before = [_serve_demo] if config.demo else []
    beside = [partial(_serve_admin, token, admin_at)] if config.admin.enabled else []
    return await serve(balancer, before, beside, announce)


def _collect_less() -> None:
    """Let the garbage collector run less often and look at fewer objects.

    Objects that exist when everything has started stay for the life of the process, so they are frozen. An
    exchange makes few objects and no reference cycles, so collections may be rarer. Both save CPU time for
    each request and the pauses of full collections. `just bench` measures it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


async def _serve_demo(
    control: "Control", stop: "trio.Event", *, task_status: "trio.TaskStatus[object]"
) -> None:
    import trio

    from lb.demo import serve_demo

    async with trio.open_nursery() as nursery:
        await nursery.start(serve_demo, DEMO_PORTS)
        task_status.started()
        await stop.wait()
        nursery.cancel_scope.cancel()


async def _serve_admin(
    token: str | None,
    bound: list[str],
    control: "Control",
    stop: "trio.Event",
    *,
    task_status: "trio.TaskStatus[object]",
) -> None:
    import trio

    # In a thread: this import takes longest, and clients are already being served.
    serve = await trio.to_thread.run_sync(import_module, "admin.server")
    async with trio.open_nursery() as nursery:
        bound.append(await nursery.start(partial(serve.supervised, control, token, stop=stop)))
        task_status.started()
