"""Fault f6.14: who may connect through the file of a Unix socket."""

import grp
import os
import socket
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from admin.transport.binding import bind, close
from lb import cli
from lb.config.loader import build
from lb.config.start_check import before_start
from lb.errors import ConfigError
from lb.net.listener import open_listeners
from lb.remote import address
from lb.settings.listen_address import UnixAddress, parse_address
from tests.system.program import backend_flags, program
from tests.system.servers import free_ports

GROUP = grp.getgrgid(os.getegid()).gr_name


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lb.sock"


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def group_of(path: Path) -> int:
    return path.stat().st_gid


def is_there(path: Path) -> bool:
    return path.exists()


@pytest.mark.parametrize(
    ("options", "mode"),
    [("", 0o660), ("?mode=0666", 0o666), ("?mode=600", 0o600), (f"?group={GROUP}&mode=0640", 0o640)],
)
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
async def test_f6_14_a_listener_has_the_mode_that_its_address_says(
    path: Path, options: str, mode: int, umask: int
) -> None:
    before = os.umask(umask)
    try:
        [listener] = await open_listeners(parse_address(f"unix:{path}{options}"))
    finally:
        os.umask(before)
    assert mode_of(path) == mode
    assert group_of(path) == os.getegid()
    assert listener.name == f"unix:{path}"
    listener.close()
    assert not is_there(path)


@pytest.mark.parametrize(("options", "mode"), [("", 0o600), ("?mode=0660", 0o660)])
async def test_f6_14_and_so_has_that_of_the_admin_side(path: Path, options: str, mode: int) -> None:
    listen = f"unix:{path}{options}"
    [listener] = await bind(listen)
    assert mode_of(path) == mode
    close(listener, listen)
    assert not is_there(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file to any group")
async def test_f6_14_it_belongs_to_the_group(path: Path) -> None:
    for text in (f"unix:{path}?group=daemon", f"unix:{path}?group={grp.getgrnam('daemon').gr_gid}"):
        [listener] = await open_listeners(parse_address(text))
        assert group_of(path) == grp.getgrnam("daemon").gr_gid
        listener.close()


async def test_f6_14_a_group_that_there_is_not_leaves_no_file(path: Path) -> None:
    with pytest.raises(OSError, match=f"cannot listen on unix:{path}: there is no group 'nobody-at-all'"):
        await open_listeners(UnixAddress(str(path), group="nobody-at-all"))
    with pytest.raises(OSError, match="there is no group 'nobody-at-all'"):
        await bind(f"unix:{path}?group=nobody-at-all")
    assert not is_there(path)


def test_f6_14_the_key_of_a_group_that_there_is_not_is_named_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places: list[tuple[dict[str, Any], str]] = [
        ({"listen": ["127.0.0.1:0", "unix:/a?group=nobody-at-all"]}, r"listen\[1\]"),
        ({"admin": {"listen": "unix:/a?group=nobody-at-all"}}, r"admin\.listen"),
    ]
    for tables, key in places:
        with pytest.raises(ConfigError, match=f"^{key}: .*: there is no group 'nobody-at-all'$"):
            before_start(build(tables))
    file = tmp_path / "lb.toml"
    file.write_text("listen = ['unix:/a?group=nobody-at-all']")
    for command in (["config", "check", str(file)], ["run", "--config", str(file)]):
        assert cli.main(command) == 2
        assert ": unix:/a?group=nobody-at-all: there is no group" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "unix:/a?mode=0999",
        "unix:/a?mode=7",
        "unix:/a?mode=4755",
        "unix:/a?mode=rw",
        "unix:/a?mode=",
        "unix:/a?group=",
        "unix:/a?group=a b",
        "unix:/a?owner=root",
        "unix:/a?mode=0660&mode=0600",
        "unix:/a?",
        "unix:?mode=0660",
    ],
)
def test_f6_14_any_other_option_is_a_mistake_of_its_key(text: str) -> None:
    with pytest.raises(
        ConfigError, match=r"^the first of listen: .*(expected \?mode=0660&group=NAME|no path)"
    ):
        build({"listen": [text]})


def test_f6_14_commands_find_the_socket(path: Path) -> None:
    assert address.find(f"unix:{path}?mode=0660", environ={}).socket == str(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file to any group")
async def test_f6_14_the_program_listens_so(path: Path) -> None:
    async with program(*backend_flags(free_ports(1)), listen=f"unix:{path}?mode=0666&group=daemon"):
        assert (mode_of(path), group_of(path)) == (0o666, grp.getgrnam("daemon").gr_gid)
    assert not is_there(path)


async def test_f6_14_the_file_of_an_inherited_socket_stays(path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as handed:
        handed.bind(str(path))
        handed.listen()
        listen = f"fd://{os.dup(handed.fileno())}"
        [listener] = await bind(listen)
        close(listener, listen)
        assert is_there(path)


# -- what check tries of an address ------------------------------------------------------------------------


def checked(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> tuple[int, str]:
    file = tmp_path / "lb.toml"
    file.write_text(text)
    code = cli.main(["config", "check", str(file)])
    return code, capsys.readouterr().err


def test_f6_5_check_tries_to_listen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for listen, why in [
        ("192.0.2.9:80", "cannot assign requested address"),
        ("unix:/nowhere/lb.sock", "there is no folder /nowhere"),
        ("no-such-host.invalid:80", "cannot listen on no-such-host.invalid:80: "),
    ]:
        code, said = checked(tmp_path, capsys, f"listen = ['{listen}']")
        assert (code, ", line 1: the first of listen: cannot listen on " in said, why in said) == (
            2,
            True,
            True,
        )
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        listen = "{}:{}".format(*taken.getsockname())
        assert checked(tmp_path, capsys, f"listen = ['{listen}', ':0', 'fd://77']") == (0, "")
