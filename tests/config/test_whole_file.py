"""A file that is replaced as a whole or written in place, and what killed writers have left."""

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from lb.config.whole_file import can_be_replaced, replace, sweep


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "state.json"
    path.write_bytes(b"a longer content from before")
    return path


def failing(code: int) -> Callable[..., None]:
    def fail(*_args: object, **_more: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("os.replace", errno.EBUSY),
        ("os.replace", errno.EXDEV),
        ("tempfile.mkstemp", errno.EROFS),
        ("tempfile.mkstemp", errno.EACCES),
        ("tempfile.mkstemp", errno.EPERM),
    ],
)
def test_f6_5_what_cannot_be_renamed_is_written_in_place(
    monkeypatch: pytest.MonkeyPatch, path: Path, call: str, code: int
) -> None:
    inode = path.stat().st_ino
    monkeypatch.setattr(call, failing(code))
    replace(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_ino == inode
    assert [each.name for each in path.parent.iterdir()] == ["state.json"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.ENAMETOOLONG])
def test_any_other_error_leaves_the_old_content(
    monkeypatch: pytest.MonkeyPatch, path: Path, code: int
) -> None:
    before = path.read_bytes()
    for call in ("os.replace", "tempfile.mkstemp"):
        monkeypatch.setattr(call, failing(code))
        with pytest.raises(OSError, match=os.strerror(code)):
            replace(path, b"new")
    assert path.read_bytes() == before


def test_f6_5_whether_it_can_be_written_is_known_before(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    before = path.read_bytes()
    assert can_be_replaced(path)
    assert can_be_replaced(path.with_name("other"))
    monkeypatch.setattr("tempfile.mkstemp", failing(errno.EROFS))
    assert not can_be_replaced(path)
    with pytest.raises(OSError, match="Read-only"):
        can_be_replaced(path.with_name("other"))
    monkeypatch.setattr("os.open", failing(errno.EROFS))
    with pytest.raises(OSError, match="Read-only"):
        can_be_replaced(path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["state.json"]


def test_f6_16_what_killed_writers_left_is_swept_and_nothing_else(path: Path) -> None:
    folder = path.parent
    for name in (".state.json.abcd_123", ".state.json.00000000"):
        (folder / name).touch(0o600)
    others = {".state.json.ABCD1234", ".state.json.abcd12345", "state.json.abcd_123", ".other.json.abcd_123"}
    for name in others:
        (folder / name).touch()
    (folder / ".state.json.folder_1").mkdir()
    (folder / ".state.json.link_to1").symlink_to(path)
    os.mkfifo(folder / ".state.json.a_pipe_1")
    with (folder / ".state.json.written1").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert sweep(path) == 2
        assert (folder / ".state.json.written1").exists()
    kept = {"state.json", ".state.json.written1", ".state.json.folder_1", ".state.json.link_to1"}
    assert {each.name for each in folder.iterdir()} == {*kept, ".state.json.a_pipe_1", *others}
    assert sweep(path) == 1  # its writer has died
    assert sweep(folder / "nowhere" / "state.json") == 0


def test_f6_16_a_temporary_file_is_locked_until_it_is_renamed(
    monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    swept: list[int] = []
    rename = os.replace

    def meanwhile(source: str, target: Path) -> None:
        swept.append(sweep(path))
        rename(source, target)

    monkeypatch.setattr(os, "replace", meanwhile)
    replace(path, b"new")
    assert (swept, path.read_bytes()) == ([0], b"new")


def test_a_device_is_never_put_away(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="not a regular file"):
        replace(pipe, b"x")
    assert stat.S_ISFIFO(os.stat(pipe).st_mode)
