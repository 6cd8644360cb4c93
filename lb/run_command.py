"""`lb run` and what checks or writes its file: flags and a file become a `Config`.

The program itself (`lb.program`) is imported only when it is to run, so that a mistake in the file answers at
once.
"""

import json
import os
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from lb.config.config_source import ConfigSource
from lb.config.decode import join
from lb.config.key_lines import KeyLines
from lb.config.loader import overlay, parse, read_text, wrong
from lb.config.spoken_keys import sentence
from lb.config.start_check import try_start
from lb.errors import ConfigError
from lb.settings.balancer_settings import DEFAULT_POOL, Config
from lb.standard_streams import tell
from lb.suggestions import plural

IMPLICIT_FILE = "lb.toml"
OK = 0
FIRST_FILE = """\
# The smallest file: change the urls. Everything else has a default, see lb docs config
# listen = [":8080"]    # keys like this one, of the whole file, come before the first [table]
[[pools.default.backends]]
url = "http://127.0.0.1:3000"
[[pools.default.backends]]
url = "http://127.0.0.1:3001"
[pools.default.probe]
kind = "tcp"    # connecting is enough; path = "/healthz" in its place expects 200 to 399 from there
"""


def run(
    *,
    config: Path | None = None,
    listen: list[str] | None = None,
    admin: str | None = None,
    no_admin: bool = False,
    backend: list[str] | None = None,
    state: str | None = None,
    workers: str | None = None,
    access_log: Literal["auto", "off", "short", "text", "json", "combined"] | None = None,
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
        Where to accept clients: HOST:PORT, :PORT, [IPV6]:PORT, fd://N or unix:PATH; TLS behind
        https://. Repeatable.
    admin
        Where the operator's side listens.
    no_admin
        Run without an operator's side.
    backend
        One backend of the pool `default`: [ID=]URL[,weight=N]. Repeatable.
    state
        The file that keeps what is changed at runtime.
    workers
        How many processes carry the traffic, or auto: one for each core.
    access_log
        A line for each request, on stdout unless access_log.file is set; auto is short on a terminal and json
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
        "workers": int(workers) if workers is not None and workers.isdecimal() else workers,
        "access_log": None if access_log is None else {"format": access_log},
        "demo": demo or None,
    }
    source = _source(config, _present(flags), settings or [])
    return _start(source.read(), source)


def check(file: Path = Path(IMPLICIT_FILE), *, no_code: bool = False) -> int:
    """Say whether a file is right and a start would succeed, or list every mistake in it.

    Parameters
    ----------
    file
        The file to check; without it ./lb.toml, as `lb run` reads it.
    no_code
        Do not import the policies that it names, which runs their code.
    """
    from lb.config.reach_check import reach_notes

    text = read_text(file)
    lines = KeyLines(text)
    config = parse(text, str(file))
    try:
        notes = [*try_start(config), *reach_notes(config)]
        _try_files(config)
        _check_sources(config)
        _check_cluster(config)
        _import_policies(config, no_code)
    except ConfigError as exc:
        raise wrong(exc.mistakes or (str(exc),), str(file), lines) from exc
    backends = sum(len(pool.backends) for pool in config.pools.values())
    sys.stdout.write(f"{file}: ok, {plural(len(config.pools), 'pool')}, {plural(backends, 'backend')}\n")
    for note in notes:
        line, words = sentence(note, lines)
        sys.stdout.write(f"note: {words}\n" if line is None else f"note: line {line}: {words}\n")
    return OK


def _check_sources(config: Config) -> None:
    """ConfigError, which names the key, for a source of backends that cannot be one."""
    if any(pool.discover for pool in config.pools.values()):
        from lb.discovery.kinds import check

        check(config.pools)


def _check_cluster(config: Config) -> None:
    """ConfigError, which names the key, for an etcd that cannot be one, or a password that cannot be read."""
    if config.cluster is not None:
        from lb.cluster.connecting import check_cache, endpoints, login, name_of

        name_of(config.cluster)
        endpoints(config.cluster)
        login(config.cluster)
        check_cache(config.cluster)


def init(file: Path = Path(IMPLICIT_FILE), /) -> int:
    """Write a first file with two backends, for you to change; none is ever overwritten.

    Parameters
    ----------
    file
        Where to write it.
    """
    try:
        with file.open("x", encoding="utf-8") as written:
            written.write(FIRST_FILE)
    except FileExistsError:
        raise ConfigError(f"{file} is there already, and is never overwritten") from None
    sys.stdout.write(f"{file} is written; change the urls, then: lb run --config {file}\n")
    return OK


def _source(file: Path | None, flags: dict[str, Any], settings: Sequence[str]) -> ConfigSource:
    """The file, by default ./lb.toml if it exists, with the flags laid over it."""
    if file is None and Path(IMPLICIT_FILE).exists():
        file = Path(IMPLICIT_FILE)
        sys.stderr.write(f"lb: reading ./{IMPLICIT_FILE}\n")
    for setting in settings:
        flags = overlay(flags, _setting(setting))
    return ConfigSource(file, flags)


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


def _start(config: Config, source: ConfigSource) -> int:
    """Run the balancer, and admin unless it is switched off; returns the exit code."""
    from lb.program import run_program

    return run_program(config, source, tell)
