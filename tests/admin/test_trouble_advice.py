"""Whatever an advice tells somebody to call is there: each command as it stands, each path of the API."""

import ast
import re
import shlex
from pathlib import Path

import pytest

from admin import files_on_disk, trouble_watch
from admin.application import operations
from admin.reference.no_balancer import no_balancer
from lb import cli
from lb.core import cluster_trouble, trouble_rules

ROOT = Path(__file__).parents[2]
MODULES = (files_on_disk, trouble_watch, cluster_trouble, trouble_rules)


def texts(node: ast.AST) -> list[str]:
    """The texts in this piece of source; a value that stands in one is X."""
    if isinstance(node, ast.JoinedStr):
        return ["".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)]
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    return [text for child in ast.iter_child_nodes(node) for text in texts(child)]


SOURCES = [ROOT / f"{module.__name__.replace('.', '/')}.py" for module in MODULES]  # of a compiled one too
SAID = [text for source in SOURCES for text in texts(ast.parse(source.read_text()))]
COMMANDS = sorted({command for text in SAID for command in re.findall(r"`(lb [^`]+)`", text)})
CALLS = sorted({call for text in SAID for call in re.findall(r"\b(?:GET|POST|PUT|DELETE) /[\w/]+", text)})


@pytest.mark.parametrize("command", [each for each in COMMANDS if "lb.core" not in each])
def test_a_command_exists_and_takes_what_it_is_given(command: str) -> None:
    cli.app.parse_args(shlex.split(command)[1:], exit_on_error=False, print_error=False)


def test_commands_stand_between_backticks() -> None:
    bare = [text for text in SAID if re.search(r"(?<!`)\blb [a-z]", text)]
    assert bare == []


@pytest.mark.parametrize("call", CALLS)
def test_a_path_of_the_api_exists(call: str) -> None:
    method, path = call.split()
    known = [
        re.sub(r"\{[^}]+\}", "[^/]+", each.path)
        for each in operations(no_balancer())
        if each.method == method
    ]
    assert any(re.fullmatch(each, path) for each in known), call


def test_they_are_found() -> None:
    assert {"lb backends drain X", "lb why --backend X", "lb requests end ID"} <= {*COMMANDS}
    assert {"POST /cluster/restore"} <= {*CALLS}
