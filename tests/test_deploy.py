"""The section Deploy of the README, and the files that it names: units are right, settings exist, words to
frameworks work."""

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from werkzeug.middleware.proxy_fix import ProxyFix

from admin.reference.deploy_reference import NAMES, unit
from lb import cli
from lb.config.loader import parse
from tests.kit import OK, running, virtual_time
from tests.test_readme import README, section

DEPLOY = section("Deploy")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(kind, text) for kind, text in BLOCK.findall(DEPLOY)]
UNITS = [unit(name) for name in ("lb.socket", "lb.service")]
FILES = [unit("lb.toml"), *(text for kind, text in BLOCKS if kind == "toml")]


def test_there_is_what_is_tested() -> None:
    assert len(FILES) == 2
    assert all(f"lb docs {name}" in README for name in NAMES)


@pytest.mark.needs("systemd-analyze")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    """The program stands elsewhere, and the group of targets is that of this machine."""
    paths = [tmp_path / text.splitlines()[0].rpartition("/")[2] for text in UNITS]
    for path, text in zip(paths, UNITS, strict=True):
        path.write_text(text.replace("/opt/lb/bin/lb", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, [line for line in done.stderr.splitlines() if "/lb." in line]) == (0, [])


@pytest.mark.parametrize("text", FILES, ids=["systemd", "cdn"])
def test_the_settings_exist(text: str) -> None:
    parse(text)


def test_the_time_to_stop_is_longer_than_delay_and_grace() -> None:
    [seconds] = re.findall(r"TimeoutStopSec=(\d+)s", UNITS[1])
    timeouts = parse(FILES[0]).timeouts
    assert timeouts.shutdown_delay > 0
    assert int(seconds) > timeouts.shutdown_delay + timeouts.grace


def test_the_units_hand_over_what_the_file_takes() -> None:
    service, config = UNITS[1], parse(FILES[0])
    assert config.listen == ("fd://3",)  # the first and only socket
    assert UNITS[0].count("ListenStream=") == 1
    assert config.admin.token_file == "/run/credentials/lb.service/token"
    assert "LoadCredential=token:" in service
    assert (str(config.state), str(config.admin.audit_file)) == (
        "/var/lib/lb/state.json",
        "/var/log/lb/audit.json",
    )
    assert {"StateDirectory=lb", "LogsDirectory=lb", "Type=notify"} <= {*service.splitlines()}


def test_the_container_has_ten_lines_and_names_what_there_is() -> None:
    text = unit("Dockerfile")
    assert len(text.splitlines()) <= 10
    assert 'ENTRYPOINT ["lb", "run"]' in text
    assert (
        "--config"
        in subprocess.run(
            [sys.executable, "-m", "lb", "run", "--help"], capture_output=True, text=True, check=True
        ).stdout
    )


def test_the_check_of_the_container_is_a_command_that_runs() -> None:
    [script] = re.findall(r'HEALTHCHECK CMD \["python", "-c", "(.*)"\]', unit("Dockerfile"))
    compile(script, "HEALTHCHECK", "exec")


# -- what applications learn of the client -----------------------------------------------------------------


@virtual_time
@pytest.mark.parametrize(("trusted", "scheme"), [((), "http"), (("127.0.0.0/8",), "https")])
async def test_flask_and_django_learn_who_the_client_is(trusted: Iterable[str], scheme: str) -> None:
    """The options of ProxyFix, and the field of SECURE_PROXY_SSL_HEADER, are those in the README."""
    options = dict(re.findall(r"(x_\w+)=(\d)", re.search(r"ProxyFix\(.*?\)`", DEPLOY)[0]))  # type: ignore[index]
    hops = {name: int(count) for name, count in options.items()} | ({"x_for": 2} if trusted else {})
    async with running(trusted_proxies=list(trusted)) as lb:
        said = b"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n"
        client = await lb.asks(b"GET / HTTP/1.1\r\nHost: shop.test\r\n" + said + b"\r\n")
        peer = await lb.backend.accepts()
        environ = environment((await peer.hears_request()).fields)
        await peer.says(OK)
        await client.hears(200)
    seen: list[dict[str, Any]] = []

    def app(environ: dict[str, Any], _start: object) -> Iterable[bytes]:
        seen.append(environ)
        return []

    ProxyFix(app, **hops)(dict(environ), pytest.fail)  # type: ignore[arg-type]  # it is not called
    assert seen[0]["wsgi.url_scheme"] == scheme
    assert seen[0]["HTTP_HOST"] == "shop.test"
    assert seen[0]["REMOTE_ADDR"] == ("203.0.113.9" if trusted else "127.0.0.1")
    assert '("HTTP_X_FORWARDED_PROTO", "https")' in DEPLOY
    assert environ["HTTP_X_FORWARDED_PROTO"] == scheme


def environment(fields: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """What a WSGI server makes of these fields."""
    named = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in fields}
    return {"wsgi.url_scheme": "http", "REMOTE_ADDR": "10.0.0.9", **named}


@pytest.mark.parametrize("server", ["gunicorn", "uvicorn"])
def test_the_flags_of_servers_exist(server: str) -> None:
    rows = re.search(rf"`{server} (.*?)`", DEPLOY)
    assert rows is not None
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", server, "--help"], capture_output=True, text=True, check=True
    )
    for flag in re.findall(r"--[\w-]+", rows[1]):
        assert flag in done.stdout, flag


def test_check_takes_the_file_behind_a_cdn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "lb.toml"
    file.write_text(FILES[1])
    assert cli.main(["config", "check", str(file)]) == 0
    assert "ok, 1 pool" in capsys.readouterr().out
