"""Which files are others than when they were read."""

import os
import time
from pathlib import Path

import pytest

from lb.certificate_files import watch as module
from lb.certificate_files.watch import OLD_SECONDS, Looking, Watch
from lb.errors import ConfigError
from lb.tls.pem_files import PemFile, Stamp


class Stage:
    """One file, and who watches it."""

    def __init__(self, file: Path) -> None:
        self.file, self.path = file, str(file)
        self.watch = Watch()

    def read(self, *, is_refused: bool = False) -> None:
        looking = Looking()
        try:
            looking.read(self.path)
        except ConfigError:
            is_refused = True
        self.watch.note(looking.seen, frozenset([self.path]) if is_refused else frozenset())

    @property
    def has_changed(self) -> bool:
        return self.watch.changed([self.path]) == {self.path}

    def is_noticed(self) -> bool:
        """That it is another one, once."""
        if not self.has_changed:
            return False
        self.read()
        return not self.has_changed


def test_each_way_to_change_a_file_is_noticed(tmp_path: Path) -> None:
    it = Stage(tmp_path / "a.pem")
    it.read()
    assert not it.has_changed
    it.file.write_bytes(b"one")
    assert it.is_noticed()
    it.file.write_bytes(b"longer")
    assert it.is_noticed()
    os.utime(it.file, ns=(1, 1))
    assert it.is_noticed()
    it.file.chmod(0o640)
    assert it.is_noticed()
    (tmp_path / "new").write_bytes(b"longer")
    os.utime(tmp_path / "new", ns=(1, 1))
    os.replace(tmp_path / "new", it.file)
    assert it.is_noticed()


def test_one_that_was_never_read_is_another_one_and_one_that_is_gone_is_not(tmp_path: Path) -> None:
    it = Stage(tmp_path / "a.pem")
    it.file.write_bytes(b"one")
    assert it.is_noticed()
    it.file.unlink()
    assert not it.has_changed


def test_a_link_is_followed(tmp_path: Path) -> None:
    """As Kubernetes swaps a secret: the link of the folder is replaced, the one of the file stays."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tls.crt").write_bytes(name.encode())
    (tmp_path / "data").symlink_to("one")
    (tmp_path / "tls.crt").symlink_to("data/tls.crt")
    it = Stage(tmp_path / "tls.crt")
    it.read()
    (tmp_path / "new").symlink_to("two")
    os.replace(tmp_path / "new", tmp_path / "data")
    assert it.is_noticed()


class SlowClock:
    """A file system whose clock stands still: what is written again has the same stamp."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at = self.now = time.time()
        monkeypatch.setattr(module, "stamp_of", lambda _path: self._stamp())
        monkeypatch.setattr(time, "time", lambda: self.now)

    def _stamp(self) -> Stamp:
        at = int(self.at * 1e9)
        return Stamp(1, 2, 3, at, at)


def test_what_is_written_again_within_a_tick_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    it, clock = Stage(tmp_path / "a.key"), SlowClock(monkeypatch)
    it.file.write_bytes(b"old")
    it.read()
    clock.now += 1.5
    it.file.write_bytes(b"new")
    assert it.is_noticed()


def test_an_old_file_is_not_read_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    it, clock = Stage(tmp_path / "a.key"), SlowClock(monkeypatch)
    it.file.write_bytes(b"old")
    it.read()
    clock.now += 2 * OLD_SECONDS
    assert not it.has_changed  # it is read for the last time
    monkeypatch.setattr(module, "read_pem", pytest.fail)
    assert not it.has_changed


def test_one_that_was_refused_is_read_again_with_each_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What kept us from it need not be in the file."""
    it, clock = Stage(tmp_path / "a.key"), SlowClock(monkeypatch)
    clock.now += 2 * OLD_SECONDS
    it.file.write_bytes(b"there")
    with monkeypatch.context() as patched:
        patched.setattr(module, "read_pem", forbidden)
        it.read()
        assert not it.has_changed
    assert it.is_noticed()


def forbidden(path: str) -> PemFile:
    raise ConfigError(f"{path} cannot be read: Permission denied")
