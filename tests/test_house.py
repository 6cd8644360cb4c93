"""The rules of the house that no other tool knows: names, circles, sizes, contracts. `just check` runs them.

Where a rule is not kept yet, the exceptions stand here. They may get fewer.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from pkgutil import resolve_name

import pytest

from lb.settings.balancer_settings import AdminConfig

ROOT = Path(__file__).parents[1]
MOST_LINES = 400
TOO_LONG: dict[str, int] = {}
"""Modules over MOST_LINES, and how many lines each may have at most."""
IN_CIRCLES: set[str] = set()
"""Modules that still import each other."""
TWINS = {"exchange"}
"""Names that two modules, or a module and a folder, still share."""
LABELS = {"lb.id", "lb.network", "lb.pool", "lb.port", "lb.weight"}
"""Those that containers may have (`lb.discovery.docker_containers`)."""
FILES = {"lb.toml"}
PURE = ("lb.core", "lb.http1", "lb.settings")
DOES_IO = {"input", "open", "print"}
"""Built-in functions, which no contract about imports can see."""


@cache
def modules() -> dict[str, Path]:
    """Every module and package of lb and admin by its full name."""
    found = {}
    for path in sorted(path for root in ("lb", "admin") for path in (ROOT / root).rglob("*.py")):
        steps = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(steps[:-1] if steps[-1] == "__init__" else steps)] = path
    return found


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text())


def spoken_of() -> list[str]:
    """The dotted names between backticks in any text or comment of ours."""
    found = [re.findall(r"`((?:lb|admin)(?:\.\w+)+)`", path.read_text()) for path in modules().values()]
    keys = {f"admin.{key}" for key in AdminConfig.__struct_fields__}
    return sorted({name for names in found for name in names} - keys - LABELS - FILES)


@pytest.mark.parametrize("name", spoken_of())
def test_what_a_text_names_is_there(name: str) -> None:
    resolve_name(name)


def packages() -> list[str]:
    return [name for name, path in modules().items() if path.name == "__init__.py"]


def base_names() -> list[str]:
    """The last step of each name but the roots' and `__main__`."""
    return [name.rpartition(".")[2] for name in modules() if "." in name and not name.endswith("__main__")]


def imported(module: str) -> Iterator[str]:
    """What a module imports of lb and admin: anywhere in it, and for annotations too."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in modules() else node.module for name in names]
        else:
            continue
        yield from (name for name in names if name in modules() and name != module)


def circle(graph: dict[str, set[str]]) -> list[str]:
    """The names on one circle of the graph; empty where it has none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as exc:
        names: list[str] = exc.args[1]
        return names
    return []


def test_each_name_stands_for_one_module() -> None:
    names = base_names()
    twins = {name for name in names if names.count(name) > 1}
    assert twins <= TWINS, "two modules or folders of lb and admin have the same name"


def test_no_module_is_called_as_one_of_the_standard_library() -> None:
    assert not sys.stdlib_module_names.intersection(base_names())


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {name: {*imported(name)} for name in modules()}
    for name in IN_CIRCLES & graph.keys():
        graph[name] -= IN_CIRCLES
    assert circle(graph) == []


def test_no_module_is_too_long() -> None:
    lines = {name: len(path.read_text().splitlines()) for name, path in modules().items()}
    too_long = {name: count for name, count in lines.items() if count > TOO_LONG.get(name, MOST_LINES)}
    assert too_long == {}, f"split them: {MOST_LINES} lines is the most"


@pytest.mark.parametrize("folder", PURE)
def test_what_is_pure_does_not_open_or_print(folder: str) -> None:
    for name in modules():
        if not name.startswith(folder):
            continue
        calls = [node.func for node in ast.walk(tree(name)) if isinstance(node, ast.Call)]
        found = DOES_IO.intersection(call.id for call in calls if isinstance(call, ast.Name))
        assert not found, f"{name} does I/O"


def test_each_folder_has_a_contract() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    assert not linter["exclude_type_checking_imports"]
    subjects = {contract["name"].partition(":")[0] for contract in linter["contracts"]}
    for contract in linter["contracts"]:
        if contract["type"] == "layers" and "containers" not in contract:
            names = (name for layer in contract["layers"] for name in re.split("[|:]", layer))
            subjects.update(name.strip(" ()") for name in names)
    uncovered = {
        package for package in packages() if not any(covers(subject, package) for subject in subjects)
    }
    assert uncovered == set(), "name a contract after each of them, in pyproject.toml"


def covers(subject: str, package: str) -> bool:
    """A contract about a package covers the packages within it; one about a root covers the root alone."""
    return subject == package or ("." in subject and f"{package}.".startswith(f"{subject}."))
