"""Unix sockets that no backend of the API may have: those of the machine's masters, and our own.

A path is judged by where it leads, so a link (`/proc/self/root` is one) leads past no rule.
"""

import re
from collections.abc import Iterable, Mapping
from posixpath import normpath, realpath

CONTROL_SOCKETS = re.compile(
    r"(/var)?/run/(docker\.sock|podman/.*|containerd/.*|crio/.*|dbus/.*|systemd/.*|snapd.*\.socket)"
)
"""Unix sockets that serve whoever may connect to them, as this balancer may, with power over the machine."""
UNIX = "unix:"


def objections_to_sockets(paths: Iterable[str], listening: Iterable[str]) -> Mapping[str, str]:
    """Why no backend may have the path, for each of these that none may have. It blocks: it follows links."""
    own = [each.removeprefix(UNIX).partition("?")[0] for each in listening if each.startswith(UNIX)]
    ours = frozenset(form for path in own for form in _forms(path))
    return {path: why for path in paths if (why := _objection(path, ours)) is not None}


def _objection(path: str, ours: frozenset[str]) -> str | None:
    forms = _forms(path)
    if any(map(CONTROL_SOCKETS.fullmatch, forms)):
        return f"{normpath(path)} controls this machine, and is never a backend"
    return None if ours.isdisjoint(forms) else f"{normpath(path)} is this balancer itself"


def _forms(path: str) -> set[str]:
    """The path as a text, and as the kernel follows it now; `..` behind a link is not what it says."""
    return {normpath(path), realpath(path)}
