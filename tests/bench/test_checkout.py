"""Another commit beside this one: it is there while it is measured, and leaves nothing behind."""

import subprocess
from pathlib import Path

import pytest

from tests.bench.checkout import NoSuchCommit, checkout, program_in

pytestmark = pytest.mark.needs("git")


def git(repository: Path, *arguments: str) -> str:
    command = ["git", "-C", str(repository), "-c", "user.name=a", "-c", "user.email=a@a.test", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits of one file."""
    git(tmp_path, "init", "--quiet")
    for text in ("first", "second"):
        (tmp_path / "file").write_text(text)
        git(tmp_path, "add", "file")
        git(tmp_path, "commit", "--quiet", "--message", text)
    return tmp_path


def test_it_has_the_files_of_its_commit(repository: Path) -> None:
    with checkout("HEAD~1", repository) as tree:
        assert (tree / "file").read_text() == "first"
    assert (repository / "file").read_text() == "second"


@pytest.mark.parametrize("ends", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_it_is_gone_whatever_ends_it(repository: Path, ends: type[BaseException]) -> None:
    with pytest.raises(ends), checkout("HEAD", repository) as tree:
        raise ends
    assert not tree.parent.exists()
    assert git(repository, "worktree", "list").count("\n") == 1


def test_what_is_no_commit_is_said(repository: Path) -> None:
    with pytest.raises(NoSuchCommit, match="elsewhere"), checkout("elsewhere", repository):
        pass


def test_a_folder_is_a_checkout_or_an_environment(tmp_path: Path) -> None:
    program = tmp_path / ".venv/bin/lb"
    program.parent.mkdir(parents=True)
    program.touch()
    assert program_in(tmp_path) == program_in(tmp_path / ".venv") == program
    with pytest.raises(NoSuchCommit, match="just run"):
        program_in(tmp_path / "elsewhere")
