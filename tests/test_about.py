"""What the program says of itself."""

import subprocess
import sys

import lb.core.pool
from lb.about import BUILD, VERSION


def test_a_build_is_compiled_where_its_modules_are() -> None:
    assert ("pure" if lb.core.pool.__file__.endswith(".py") else "compiled") == BUILD


def test_the_command_says_which_build_it_is() -> None:
    command = [sys.executable, "-m", "lb", "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said == f"trio-lb {VERSION} ({BUILD})\n"
