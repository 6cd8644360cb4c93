"""Mistakes that show only when the configuration is used are told with their lines too."""

import os
from pathlib import Path

import pytest

from lb.config.config_source import ConfigSource
from lb.config.start_check import before_start
from lb.errors import ConfigError

TEXT = """\
# the audit's file is in no folder
[admin]
audit_file = "/nowhere/audit"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "lb.toml"
    file.write_text(TEXT)
    return file


def refused(source: ConfigSource) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        before_start(source.read())
    return source.located(caught.value)


def test_what_a_start_would_refuse_has_its_line(file: Path) -> None:
    error = refused(ConfigSource(file, {}))
    said = "admin.audit_file: /nowhere/audit cannot be written: No such file or directory"
    assert str(error) == f"{file}, line 3: {said}"
    assert error.first == f"line 3: {said}"
    assert error.mistakes == (said,)


def test_it_is_told_once(file: Path) -> None:
    source = ConfigSource(file, {})
    error = refused(source)
    assert str(source.located(error)) == str(error)


def test_what_a_flag_sets_has_none(file: Path) -> None:
    error = refused(ConfigSource(file, {"admin": {"audit_file": "/nowhere/else"}}))
    assert str(error).startswith("admin.audit_file: /nowhere/else cannot be written")


def test_an_error_is_left_as_it_is_where_no_line_is_known(file: Path) -> None:
    source = ConfigSource(file, {})
    for message in ("the certificates change too fast", f"{file}: cannot be read", "via: a"):
        error = ConfigError(message)
        assert source.located(error) is error
    error = ConfigError("admin.audit_file: a")
    assert ConfigSource(None, {}).located(error) is error
    os.unlink(file)
    assert source.located(error) is error


def test_several_mistakes_have_one_each(file: Path) -> None:
    error = ConfigSource(file, {}).located(ConfigError("...", ["admin.audit_file: a", "via: b"]))
    assert str(error) == f"{file}: 2 mistakes\n  line 3: admin.audit_file: a\n  via: b"
    assert error.first == "line 3: admin.audit_file: a"
