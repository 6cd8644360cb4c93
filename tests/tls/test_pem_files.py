"""Reading the files of certificates, and what shows that they are others."""

import os
from pathlib import Path

import pytest

from lb.errors import ConfigError
from lb.tls.pem_files import LONGEST, read_pem, stamp_of


def test_a_file_is_read_with_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "a.pem"
    file.write_bytes(b"hello")
    for mode, is_open in ((0o600, False), (0o640, False), (0o604, True), (0o602, True)):
        file.chmod(mode)
        found = read_pem(str(file))
        assert (found.data, found.mode, found.is_open_to_others) == (b"hello", mode, is_open)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^/nowhere cannot be read: No such file"):
        read_pem("/nowhere")
    with pytest.raises(ConfigError, match=f"^{tmp_path} "):
        read_pem(str(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="is not a regular file"):
        read_pem(str(tmp_path / "pipe"))
    (tmp_path / "long").write_bytes(bytes(LONGEST + 1))
    with pytest.raises(ConfigError, match=f"is larger than {LONGEST} bytes"):
        read_pem(str(tmp_path / "long"))


def test_a_stamp_tells_who_may_read_a_file_too(tmp_path: Path) -> None:
    file = tmp_path / "a.pem"
    assert stamp_of(str(file)) is None
    file.write_bytes(b"one")
    before = stamp_of(str(file))
    assert stamp_of(str(file)) == before
    file.chmod(0o600 if file.stat().st_mode & 0o077 else 0o644)
    assert stamp_of(str(file)) != before
