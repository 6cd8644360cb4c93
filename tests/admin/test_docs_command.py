"""`lb docs`: what it prints, what it says where there is nothing, and that a pager is for terminals only."""

import subprocess
import sys
from typing import Any

import pytest

from lb import cli


def test_it_prints_a_topic(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["docs", "timeouts.connect"]) == 0
    assert capsys.readouterr().out.endswith('connect = "5s"                            # a duration\n')


def test_words_are_one_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["docs", "GET", "/backends"]) == 0
    assert capsys.readouterr().out.startswith("GET /backends (read)\n")


def test_without_a_topic_it_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["docs"]) == 0
    assert "\n  metrics " in capsys.readouterr().out


def test_a_word_that_is_not_there_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["docs", "timeouts.conect"]) == 2
    assert capsys.readouterr().err == (
        "lb: docs: there is nothing about 'timeouts.conect'; did you mean `timeouts.connect`?\n"
    )


def test_a_long_text_goes_through_a_pager_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paged: list[tuple[list[str], bytes]] = []

    def run(command: list[str], *, input: bytes, **_options: Any) -> None:
        paged.append((command, input))

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("PAGER", "more -s")
    assert cli.main(["docs", "timeouts.connect"]) == cli.main(["docs", "config"]) == 0
    [(command, text)] = paged
    assert command == ["more", "-s"]
    assert text.startswith(b"# Every key")
    assert capsys.readouterr().out.count("\n") == 2


def test_without_a_pager_it_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("PAGER", "/nowhere/pager")
    assert cli.main(["docs", "config"]) == 0
    assert capsys.readouterr().out.startswith("# Every key")


def test_a_key_is_found_without_what_serves_the_api() -> None:
    code = "import sys; from lb.cli import main; main(['docs', 'timeouts']); print('quart' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
