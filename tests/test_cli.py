"""From the command line to a Config, or to one clear message. No server is started here."""

import errno
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lb import cli, misuse, program, run_command
from lb.app import Balancer
from lb.config.config_source import ConfigSource
from lb.config.loader import load
from lb.errors import ConfigError
from lb.settings.backend_spec import BackendSpec
from lb.settings.balancer_settings import (
    AccessLogSettings,
    AdminConfig,
    Config,
    PoolConfig,
    Timeouts,
    demo_backends,
)
from lb.settings.pool_settings import Probe
from lb.slices import THREAD_SECONDS
from tests.kit.certificates import certificate

ROOT = Path(__file__).parent.parent


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Config]:
    """The Configs that a balancer was started with; the current folder is empty."""
    configs: list[Config] = []

    def start(config: Config, _source: ConfigSource) -> int:
        configs.append(config)
        return 0

    monkeypatch.setattr(run_command, "_start", start)
    monkeypatch.chdir(tmp_path)
    return configs


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 2) -> str:
    assert cli.main(arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("lb: ")
    assert "Traceback" not in captured.err
    return captured.err.removeprefix("lb: ").rstrip("\n")


def test_without_a_file_and_a_backend_it_is_the_demo(started: list[Config]) -> None:
    assert cli.main(["run"]) == 0
    assert cli.main(["run", "--demo"]) == 0
    demo = Config(demo=True, pools={"default": PoolConfig(backends=demo_backends())})
    assert started == [demo, demo]


def test_the_demo_takes_other_settings(started: list[Config]) -> None:
    assert cli.main(["run", "--listen", ":0", "--set", "pools.default.policy=least_requests"]) == 0
    [config] = started
    assert config.demo
    assert config.listen == (":0",)
    assert config.pools == {"default": PoolConfig(policy="least_requests", backends=demo_backends())}


def test_every_flag_has_its_key(started: list[Config]) -> None:
    flags = [
        *("--listen", "127.0.0.1:80", "--listen", "[::1]:80", "--admin", "127.0.0.1:0", "--state", "s.json"),
        *("--backend", "http://127.0.0.1:3000", "--backend", "web=http://h:1,weight=3"),
        *("--access-log", "json", "--set", "timeouts.connect=2s", "--set", "limits.fields=7"),
    ]
    assert cli.main(["run", *flags]) == 0
    [config] = started
    specs = (
        BackendSpec(id="127.0.0.1-3000", url="http://127.0.0.1:3000"),
        BackendSpec(id="web", url="http://h:1", weight=3),
    )
    assert config == Config(
        listen=("127.0.0.1:80", "[::1]:80"),
        admin=AdminConfig(listen="127.0.0.1:0"),
        state="s.json",
        access_log=AccessLogSettings(format="json"),
        timeouts=Timeouts(connect=2.0),
        limits=config.limits,
        pools={"default": PoolConfig(backends=specs)},
    )
    assert config.limits.fields == 7


def test_no_admin_switches_admin_off(started: list[Config]) -> None:
    assert cli.main(["run", "--no-admin"]) == 0
    assert started[0].admin == AdminConfig(enabled=False)


@pytest.mark.parametrize(
    ("setting", "state"),
    [("state=a b", "a b"), ("state='3'", "3"), ("state=", ""), ('state=q"t', 'q"t'), ("state=a=b", "a=b")],
)
def test_a_bare_word_is_a_string(started: list[Config], setting: str, state: str) -> None:
    assert cli.main(["run", "--set", setting]) == 0
    assert started[0].state == state


def test_a_setting_reaches_any_key(started: list[Config]) -> None:
    backends = "pools.web.backends=[{url='http://h:1'}]"
    routes = "routes=[{pool='web'}]"
    assert cli.main(["run", "--set", backends, "--set", routes, "--set", "forwarded=true"]) == 0
    [config] = started
    assert list(config.pools) == ["web"]
    assert config.forwarded
    assert not config.demo


def test_flags_win_over_the_file(started: list[Config], tmp_path: Path) -> None:
    file = tmp_path / "other.toml"
    file.write_text(
        """
        listen = [":1", ":2"]
        via = "kept"
        [timeouts]
        connect = 1
        send = 3
        [pools.default]
        policy = "least_requests"
        backends = [{url = "http://file"}]
        """
    )
    flags = ["--listen", ":3", "--backend", "flag=http://flag", "--set", "timeouts.connect=2"]
    assert cli.main(["run", "--config", str(file), *flags]) == 0
    flag = BackendSpec(id="flag", url="http://flag")
    assert started == [
        Config(
            listen=(":3",),
            via="kept",
            timeouts=Timeouts(connect=2.0, send=3.0),
            pools={"default": PoolConfig(policy="least_requests", backends=(flag,))},
        )
    ]


def test_lb_toml_in_the_current_folder_is_read_with_a_message(
    started: list[Config], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lb.toml").write_text("via = 'implicit'")
    assert cli.main(["run"]) == 0
    assert started == [Config(via="implicit")]
    assert capsys.readouterr().err == "lb: reading ./lb.toml\n"


def test_a_file_that_is_named_is_the_only_one(started: list[Config], tmp_path: Path) -> None:
    (tmp_path / "lb.toml").write_text("via = 'implicit'")
    (tmp_path / "other.toml").write_text("via = 'explicit'")
    assert cli.main(["run", "--config", "other.toml"]) == 0
    assert started == [Config(via="explicit")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--listen", "x"], "flags: the first of listen: 'x' is not HOST:PORT"),
        (["run", "--admin", "x"], "flags: admin.listen: 'x' is not HOST:PORT"),
        (["run", "--admin", ":9", "--no-admin"], "--admin and --no-admin exclude each other"),
        (
            ["run", "--backend", "ftp://h"],
            "flags: the first of pools.default.backends: url: 'ftp://h': expected http://",
        ),
        (["run", "--backend", "http://h,wieght=3"], "--backend http://h,wieght=3: expected [ID=]URL"),
        (["run", "--backend", "http://h,weight=x"], "--backend http://h,weight=x: expected [ID=]URL"),
        (["run", "--backend", "http://h,weight=9999999"], "weight: 9999999 is not between 0 and 1000000"),
        (["run", "--demo", "--backend", "http://h"], "flags: demo: the demo brings its own backends"),
        (
            ["run", "--set", "timeouts.conect=2"],
            "flags: timeouts.conect: unknown key, did you mean `connect`?",
        ),
        (["run", "--set", "timeouts"], "--set timeouts: expected KEY=VALUE"),
        (["run", "--set", "=3"], "--set =3: '' is not a key"),
        (["run", "--set", "a b=3"], "--set a b=3: 'a b' is not a key"),
        (["run", "--config", "none.toml"], "none.toml: cannot be read: No such file or directory"),
        (["run", "--access-log", "loud"], 'Invalid value "loud" for --access-log'),
        (["run", "--lisen", ":80"], "lb run has no --lisen, did you mean `--listen`?"),
        (
            ["run", "a.toml"],
            "lb run does not take 'a.toml': a file goes behind --config: lb run --config a.toml",
        ),
        (["run", "--port", "80"], "lb run has no --port; it is --listen, such as --listen :80"),
        (["run", "--backend"], "--backend requires an argument"),
        (["rnu"], "lb has no command 'rnu', did you mean `run`?"),
        (["xyz"], "lb has no command 'xyz'; there are: config, token, run, status"),
        (["start"], "lb has no command 'start'; here it is lb run"),
        (["stop"], "here it is lb drain --exit, or SIGTERM"),
        (["check"], "here it is lb config check"),
        (["version"], "here it is lb --version"),
        (["config", "validate"], "lb config has no command 'validate'; here it is lb config check"),
        (["config", "check", "--config=a.toml"], "the file is an argument: lb config check FILE"),
        (["reload", "--config", "x"], "lb reload has no --config; it reads the file that lb run has"),
        (["status", "-x"], "lb status has no -x\n"),
        (["rollout", "sh", "-c", "true"], "goes behind --: lb rollout -- COMMAND -c ..."),
        (["rollout", "--onyl", "web1", "true"], "lb rollout has no --onyl, did you mean `--only`?"),
        (["--admin", ":9", "backends"], "--admin goes behind the command: lb COMMAND --admin ..."),
        (["--token-file=secret", "top"], "--token-file goes behind the command"),
        (["config", "check"], "lb.toml: cannot be read: No such file or directory"),
        (["drain", "web3"], "for a backend: lb backends drain web3"),
        (["backends", "ls", "web3"], "all about one: curl 127.0.0.1:9000/backends/web3"),
        (["backends", "web3"], "lb backends does not take 'web3'; there are: ls, add, drain, "),
        (["backends", "show", "web3"], "weight; all about one: curl 127.0.0.1:9000/backends/ID\n"),
        (["backends", "list"], "here it is lb backends ls\n"),
        (["backends", "rdy", "web3"], "lb backends does not take 'rdy', did you mean `ready`?\n"),
        (["status", "web3"], "lb status does not take 'web3'\n"),
    ],
)
def test_a_mistake_is_one_clear_message(
    started: list[Config], capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert message in complaint(capsys, *arguments)
    assert started == []


def test_mistakes_in_the_file_and_in_flags_are_told_together(
    started: list[Config], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.toml").write_text("vai = 'x'")
    lines = complaint(capsys, "run", "--config", "a.toml", "--listen", "x").splitlines()
    assert lines[0] == "a.toml with flags: 2 mistakes"
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["line 1", "the first of listen"]


def test_check_counts_what_is_in_a_right_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "lb.toml"
    file.write_text(
        "listen = '127.0.0.1:0'\nadmin.enabled = false\n"
        "[pools.web]\nbackends = ['http://a', { url = 'http://b' }]\n[[routes]]\npath = '/a'\npool = 'web'"
    )
    assert cli.main(["config", "check", str(file)]) == 0
    note = "note: what no route takes gets 503, for pool 'default' has no backends\n"
    assert capsys.readouterr().out == f"{file}: ok, 2 pools, 2 backends\n{note}"


def test_check_names_pools_that_have_routes_and_no_backends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "lb.toml"
    file.write_text(
        "listen = '127.0.0.1:0'\nadmin.enabled = false\nroutes = [{ pool = 'web' }]\n"
        "[pools.web]\npolicy = 'random'\n[pools.default]\n"
    )
    assert cli.main(["config", "check", str(file)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "note: line 4: pools.web: has no backends, so what its routes take gets 503",
        "note: line 6: pools.default: no route leads to it",
    ]


def test_check_says_who_has_a_port_that_is_in_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "lb.toml"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        file.write_text(f"listen = '{address}'\nadmin.enabled = false\npools.default.backends = ['http://a']")
        assert cli.main(["config", "check", str(file)]) == 0
    note = f"note: line 1: the first of listen: {address} is in use by pid {os.getpid()} ("
    assert f"\n{note}" in (out := capsys.readouterr().out)
    assert out.endswith("), and a start fails while it is\n")


def test_check_without_a_file_is_of_the_one_that_run_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["config", "init"]) == 0
    assert cli.main(["config", "check"]) == 0
    assert "lb.toml: ok, 1 pool, 2 backends\n" in capsys.readouterr().out


def test_the_first_file_probes_no_path_that_a_server_may_not_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cli.main(["config", "init"])
    assert load("lb.toml").pools["default"].probe == Probe(kind="tcp")


def test_check_lists_the_mistakes_of_a_wrong_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "lb.toml"
    file.write_text("a = 1\nb = 2")
    assert complaint(capsys, "config", "check", str(file)).startswith(
        f"{file}: 2 mistakes\n  line 1: a: unknown key"
    )


def test_check_tells_of_what_works_but_hardly_as_it_was_meant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "lb.toml"
    file.write_text(
        """
        listen = "127.0.0.1:0"
        [admin]
        listen = "127.0.0.1:19"
        [pools.default]
        backends = ["http://127.0.0.1:19", "unix:/a"]
        [pools.idle]
        backends = [{ url = "http://a", weight = 0 }, { id = "other", url = "http://a", weight = 0 }]
        [[routes]]
        host = "a.test"
        pool = "default"
        [[routes]]
        path = "/"
        host = "a.test"
        pool = "idle"
        """
    )
    assert cli.main(["config", "check", str(file)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "note: line 12: the second of routes: is never used: the first of routes comes before it and takes"
        " all of it",
        "note: line 7: pools.idle: no route leads to it",
        "note: line 6: the first of pools.default.backends: url: http://127.0.0.1:19 is this balancer itself"
        " (admin.listen)",
        "note: line 7: pools.idle: each backend has the weight 0, so none gets requests",
        "note: line 8: the second of pools.idle.backends: url: the first of pools.idle.backends has it too,"
        " so that server gets the requests of two",
    ]


def test_check_opens_certificates_and_names_hosts_without_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chain, key = certificate("a.test").write(tmp_path)
    file = tmp_path / "lb.toml"
    file.write_text(
        "listen = ['https://127.0.0.1:0']\n"
        f"[[tls.certificates]]\nchain = '{chain}'\nkey = '{key}'\n"
        "[[routes]]\nhost = 'shop.test'\npool = 'default'\n"
    )
    assert cli.main(["config", "check", str(file)]) == 0
    assert "\nnote: line 5: routes: shop.test has a route and no certificate\n" in capsys.readouterr().out
    Path(key).unlink()
    mistake = (
        f"{file}, line 4: the first of tls.certificates: key: {key} cannot be read: No such file or directory"
    )
    assert complaint(capsys, "config", "check", str(file)) == mistake


async def test_a_key_file_that_cannot_be_read_is_a_mistake_of_its_pool(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "lb.toml"
    file.write_text(f"[pools.shop.sticky]\nsecret_file = '{tmp_path}/none'")
    mistake = f"pools.shop.sticky.secret_file: {tmp_path}/none cannot be read"
    assert complaint(capsys, "config", "check", str(file)).startswith(f"{file}, line 2: {mistake}")
    with pytest.raises(ConfigError, match=mistake):
        Balancer(load(file))


@pytest.mark.parametrize(
    ("error", "message", "code"),
    [
        (
            OSError(errno.EADDRINUSE, "Address already in use", "127.0.0.1:8080"),
            "127.0.0.1:8080: Address already in use",
            1,
        ),
        (OSError("no name"), "no name", 1),
        (ConfigError("state: s.json is empty"), "state: s.json is empty", 2),
    ],
)
def test_what_fails_at_the_start_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    message: str,
    code: int,
) -> None:
    def fail(_config: Config, _source: ConfigSource) -> int:
        raise error

    monkeypatch.setattr(run_command, "_start", fail)
    assert complaint(capsys, "run", "--demo", code=code) == message


def test_an_error_is_found_in_the_groups_that_nurseries_made_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    async def fail(*_args: object) -> int:
        error = OSError(errno.EADDRINUSE, "Address already in use", ":80")
        raise ExceptionGroup("outer", [ExceptionGroup("inner", [error])])

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(program, "_serve", fail)
    monkeypatch.setattr("lb.program.configure", lambda json: None)
    assert complaint(capsys, "run", code=1) == ":80: Address already in use"


def test_several_errors_at_once_are_shown_as_a_group(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def fail(*_args: object) -> int:
        raise ExceptionGroup("both", [OSError("one"), OSError("two")])

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(program, "_serve", fail)
    monkeypatch.setattr("lb.program.configure", lambda json: None)
    with pytest.raises(ExceptionGroup, match="both"):
        cli.main(["run"])


def test_the_module_is_the_command_and_imports_no_server_to_say_its_version() -> None:
    script = "import sys, runpy; sys.argv = ['lb', '--version']\n"
    script += "try: runpy.run_module('lb', run_name='__main__')\n"
    script += "finally: print(sorted({'admin', 'quart', 'hypercorn'} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    version, modules = done.stdout.splitlines()
    assert version.startswith("trio-lb")
    assert modules == "[]"


def test_another_thread_does_not_keep_the_loop_waiting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before, while_it_runs = sys.getswitchinterval(), []

    def run(*_args: object) -> int:
        while_it_runs.append(sys.getswitchinterval())
        return 0

    monkeypatch.setattr("trio.run", run)
    monkeypatch.setattr("lb.program.configure", lambda **_: None)
    monkeypatch.chdir(tmp_path)
    try:
        assert cli.main(["run"]) == 0
    finally:
        sys.setswitchinterval(before)
    assert while_it_runs == [pytest.approx(THREAD_SECONDS)]


@pytest.mark.parametrize("command", misuse.COMMANDS)
def test_words_of_others_stand_for_commands_that_there_are(command: str) -> None:
    known = {path: words.split() for path, words in misuse.COMMANDS[command].items()}
    words = [word for each in known.values() for word in each]
    assert sorted(words) == sorted({*words})
    assert not {*words} & {*(cli.app[command] if command else cli.app)}
    for path in re.findall(r"lb ((?:(?:config|backends) )?[a-z]+)", ", ".join(known)):
        _command(path)


@pytest.mark.parametrize("command", [*misuse.FLAGS, *misuse.BEHIND])
def test_each_command_of_which_something_is_said_is_there(command: str) -> None:
    _command(command)


def _command(path: str) -> None:
    """KeyError where there is no such command."""
    app = cli.app
    for name in path.split():
        app = app[name]
