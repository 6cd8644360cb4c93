"""Another commit of this project, checked out beside this one and set up by its own recipes."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


class NoSuchCommit(Exception):
    """It is neither a commit of the repository nor a folder with the program."""


@contextmanager
def checkout(commit: str, repository: Path = ROOT) -> Iterator[Path]:
    """A work tree of the commit; it is gone when the block ends, whatever ends it."""
    name = _git(repository, "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}")
    if not name:
        raise NoSuchCommit(f"{commit} is neither a commit of {repository} nor a folder")
    with tempfile.TemporaryDirectory(prefix="bench-commit-") as folder:
        tree = Path(folder) / "tree"
        try:
            _git(repository, "worktree", "add", "--detach", str(tree), name)
            yield tree
        finally:
            shutil.rmtree(tree, ignore_errors=True)
            _git(repository, "worktree", "prune")


def set_up(tree: Path) -> Path:
    """The program of a checkout, in a virtual environment of its own.

    Its packages are those that we run on, so that what differs is ours; where it asks for others, its own.
    """
    constraints = tree.parent / "constraints.txt"
    constraints.write_text(_installed_packages())
    command = [
        "just",
        "--justfile",
        str(tree / "Justfile"),
        "--working-directory",
        str(tree),
        "run",
        "--help",
    ]
    environment = os.environ | {"PYTHON": _python(), "PIP_CONSTRAINT": str(constraints)}
    if subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False).returncode:
        sys.stderr.write("It asks for other packages than we run on, so it gets its own.\n")
        environment.pop("PIP_CONSTRAINT")
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return program_in(tree)


def program_in(folder: Path) -> Path:
    """The command in a checkout that has been set up, or in a virtual environment."""
    for path in (folder / ".venv/bin/lb", folder / "bin/lb"):
        if path.exists():
            return path.absolute()
    raise NoSuchCommit(f"{folder} has no .venv/bin/lb: run `just run --help` there")


def _python() -> str:
    """The interpreter that ours was made with."""
    path = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    return str(path) if path.exists() else "python3"


def _installed_packages() -> str:
    command = [sys.executable, "-m", "pip", "list", "--format=freeze", "--exclude=trio-lb"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _git(repository: Path, *arguments: str) -> str:
    command = ["git", "-C", str(repository), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()
