"""The folders and modules of the code, each with the first paragraph of its docstring."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from admin.reference.topic import INDENT, Entry, Topic, entry, table

ROOTS = ("lb", "admin")
QUOTES = '"""'


def folders_topic() -> Topic:
    """Every folder of both packages, the roots first, with its modules."""
    return Topic(tuple(_entry(root, folder) for root in ROOTS for folder in _folders(_place(root))))


def _place(root: str) -> Path:
    """Where a package stands; nothing of it is imported."""
    spec = importlib.util.find_spec(root)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def _folders(place: Path) -> Iterator[Path]:
    yield place
    for each in sorted(place.iterdir()):
        if (each / "__init__.py").exists():
            yield from _folders(each)


def _entry(root: str, folder: Path) -> Entry:
    """What it is, and a line for each module in it."""
    name = f"{'/'.join((root, *folder.relative_to(_place(root)).parts))}/"
    head = entry(name, name, _about(folder / "__init__.py"))
    modules = sorted(each for each in folder.glob("*.py") if each.stem != "__init__")
    return Entry(name, f"{head.text}\n{table((f'{INDENT}{each.stem}', _about(each)) for each in modules)}\n")


def _about(module: Path) -> str:
    """The first paragraph of what its text begins with; to parse all of it would take seconds."""
    _, _, text = module.read_text().partition(QUOTES)
    return " ".join(text.partition(QUOTES)[0].partition("\n\n")[0].split())
