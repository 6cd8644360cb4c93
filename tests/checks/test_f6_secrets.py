"""Faults f6.8 to f6.10: where a token goes, whose code runs, who may read a secret."""

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lb import cli
from lb.config.admin_token import admin_token
from lb.config.config_source import ConfigSource
from lb.config.cookie_keys import CookieKeys
from lb.config.reload import Reloader
from lb.config.tokens import read as read_tokens
from lb.errors import ConfigError
from lb.remote import address
from lb.remote.exits import Code, Failed
from lb.settings.balancer_settings import AdminConfig
from tests.admin.kit import Api, Saves, make_control
from tests.kit.files import secret

TOML = {"Content-Type": "application/toml"}
TOKEN = {"LB_ADMIN_TOKEN": "mine"}
NOT_LOOPBACK = [
    "evil.test:9000",
    "192.0.2.9:9000",
    "[2001:db8::1]:9000",
    "127.0.0.1.evil.test:80",
    "localhost.evil.test:80",
    "2130706433:80",
    "127.1:80",
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a command runs in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(folder: Path, listen: str, token_file: Path | None = None) -> None:
    more = "" if token_file is None else f"token_file = '{token_file}'\n"
    (folder / "lb.toml").write_text(f"[admin]\nlisten = '{listen}'\n{more}")


# -- where a token goes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("listen", NOT_LOOPBACK)
def test_f6_8_the_file_in_a_folder_gets_no_token_of_the_operator(here: Path, listen: str) -> None:
    names(here, listen)
    for file, environ in [(None, TOKEN), (secret(here / "mine", "mine"), {})]:
        with pytest.raises(Failed, match="your token is not sent") as caught:
            address.find(None, file, environ)
        assert caught.value.code is Code.MISUSED
    assert address.find(environ={}).token is None


@pytest.mark.parametrize("listen", NOT_LOOPBACK)
def test_f6_8_nor_a_secret_of_the_operator_that_it_calls_its_token(here: Path, listen: str) -> None:
    names(here, listen, secret(here / "ssh_key", "mine"))
    for environ in ({}, TOKEN):
        with pytest.raises(Failed, match="another machine"):
            address.find(environ=environ)


@pytest.mark.parametrize(
    "listen", ["evil.test@127.0.0.1:80", "http://evil.test:80", "127.0.0.1:80@evil.test:80", "a/b:80"]
)
def test_f6_8_what_a_balancer_cannot_listen_on_is_no_address(here: Path, listen: str) -> None:
    names(here, listen)
    with pytest.raises(Failed, match="names no balancer"):
        address.find(environ=TOKEN)


@pytest.mark.parametrize(
    "listen", ["127.0.0.1:9000", "[::1]:9000", ":9000", "0.0.0.0:9000", "localhost:1", "unix:/run/lb.sock"]
)
def test_f6_8_loopback_gets_it(here: Path, listen: str) -> None:
    names(here, listen)
    assert address.find(environ=TOKEN).token == "mine"
    names(here, listen, secret(here / "token", "its-own"))
    assert address.find(environ={}).token == "its-own"


def test_f6_8_an_address_that_the_operator_names_gets_it() -> None:
    for found in (
        address.find("evil.test:9000", environ=TOKEN),
        address.find(environ={**TOKEN, "LB_ADMIN": "evil.test:9000"}),
    ):
        assert found.token == "mine"


def test_f6_8_the_files_own_token_goes_to_an_address_of_this_machine(here: Path) -> None:
    own = own_address()
    if own is None:
        pytest.skip("this machine has no address but loopback")
    names(here, f"{own}:9000", secret(here / "token", "its-own"))
    assert address.find(environ={}).token == "its-own"
    assert address.find(environ=TOKEN).token == "its-own"


def own_address() -> str | None:
    """An address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))  # sends nothing; the system chooses the address to send from
        except OSError:
            return None
        return str(sock.getsockname()[0])


def test_f6_6_a_byte_order_mark_is_accepted_everywhere(here: Path) -> None:
    names(here, "127.0.0.1:9001", secret(here / "token", "\ufeffmine"))
    (here / "lb.toml").write_text("\ufeff" + (here / "lb.toml").read_text())
    found = address.find(environ={})
    assert (found.url, found.token) == ("http://127.0.0.1:9001", "mine")
    assert admin_token(AdminConfig(token_file=str(here / "token")), {}) == "mine"


# -- whose code runs ---------------------------------------------------------------------------------------

CODE = """
open("ran", "w").close()
class Ours:
    def choose(self, candidates, request):
        return candidates[0]
"""
NAMING = "[pools.default]\npolicy = 'code_of_a_file:Ours'\n"


@pytest.fixture
def code(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration that names code, which leaves a trace when it runs."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "code_of_a_file", raising=False)
    (here / "code_of_a_file.py").write_text(CODE)
    file = here / "lb.toml"
    file.write_text(NAMING)
    return file


def test_f6_9_check_says_that_it_runs_code_and_does(code: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["config", "check", str(code)]) == 0
    first, *_ = capsys.readouterr().out.splitlines()
    assert first == "note: importing code_of_a_file:Ours, which runs its code (--no-code does not)"
    assert (code.parent / "ran").exists()


def test_f6_9_without_code_none_runs(code: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = list(sys.path)
    assert cli.main(["config", "check", "--no-code", str(code)]) == 0
    assert "note: pools.default.policy is not checked: code_of_a_file:Ours" in capsys.readouterr().out
    assert not (code.parent / "ran").exists()
    assert "code_of_a_file" not in sys.modules
    assert sys.path == before


@pytest.mark.parametrize(("scope", "is_run"), [("read", False), ("drain", False), ("admin", True)])
async def test_f6_9_the_api_runs_code_of_the_file_only_for_who_may_reload_it(
    code: Path, scope: str, is_run: bool
) -> None:
    tokens = secret(code.parent / "tokens", f"who {scope} t0ken\n")
    control = make_control(Saves(), AdminConfig(tokens_file=str(tokens)))
    control.reload = Reloader(ConfigSource(code, {}), control, lambda _config, _routes: None)
    headers = {"Authorization": "Bearer t0ken"}
    answer = await Api(control)("POST", "/config/validate", headers=headers)
    assert answer.status == 200
    assert answer.json["unchecked"] == ([] if is_run else ["pools.default.policy"])
    assert ("ran" in os.listdir(code.parent)) is is_run
    body = await Api(control)("POST", "/config/validate", headers=headers | TOML, body=NAMING.encode())
    assert body.json["unchecked"] == ["pools.default.policy"]


# -- who may read a secret ---------------------------------------------------------------------------------

READERS: dict[str, Callable[[str], object]] = {
    "token": lambda path: admin_token(AdminConfig(token_file=path), {}),
    "tokens": lambda path: read_tokens(path),
    "cookie key": lambda path: CookieKeys().read(path),
    "the token of a command": lambda path: address.find(":9000", Path(path), {}).token,
}
TEXT = {"tokens": "a read t0ken\n", "cookie key": "x" * 16}


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o620, 0o777, 0o601])
@pytest.mark.parametrize("kind", READERS)
def test_f6_10_a_secret_that_others_can_read_or_change_is_refused(
    tmp_path: Path, kind: str, mode: int
) -> None:
    path = secret(tmp_path / "secret", TEXT.get(kind, "t0ken"))
    path.chmod(mode)
    with pytest.raises((ConfigError, Failed), match=f"by others: chmod 600 {path}"):
        READERS[kind](str(path))


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440])
@pytest.mark.parametrize("kind", READERS)
def test_f6_10_its_owner_and_its_group_may_read_it(tmp_path: Path, kind: str, mode: int) -> None:
    path = secret(tmp_path / "secret", TEXT.get(kind, "t0ken"))
    path.chmod(mode)
    assert READERS[kind](str(path))
