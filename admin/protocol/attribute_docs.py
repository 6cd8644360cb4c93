"""The texts below the attributes of a class, which Python itself does not keep.

PEP 257 calls them attribute docstrings. They are read from the source of the module that has the class.
"""

import ast
import inspect
import sys
from collections.abc import Mapping
from functools import cache
from itertools import pairwise


def attribute_docs(cls: type) -> Mapping[str, str]:
    """The text of each attribute that has one, those of its base classes too."""
    docs: dict[str, str] = {}
    for each in reversed(cls.__mro__):
        docs |= _in_module(each.__module__).get(each.__name__, {})
    return docs


@cache
def _in_module(name: str) -> Mapping[str, Mapping[str, str]]:
    """Those of each class of the module; none where its source is not installed, or is not Python."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[name]))
    except (OSError, TypeError):
        return {}
    return {node.name: _in_body(node.body) for node in tree.body if isinstance(node, ast.ClassDef)}


def _in_body(body: list[ast.stmt]) -> Mapping[str, str]:
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
