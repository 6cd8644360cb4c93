"""`lb reload` and `lb config show` and `diff`: the configuration that runs, and the one that would."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lb.remote.api import Remote
from lb.remote.change_text import changed
from lb.remote.exits import Code, Failed
from lb.remote.terminal_text import printable, printable_json, printable_lines, say

TOML = "application/toml"


def show(remote: Remote, json: bool) -> int:
    """The configuration in effect, as a file would have it."""
    answer = remote.call("GET", "/config", {"format": None if json else "toml"})
    say((printable_json if json else printable_lines)(answer.text).rstrip("\n"))
    return Code.DONE


def reload(remote: Remote, dry_run: bool, json: bool) -> int:
    """Have the file read again, or ask what that would change."""
    answer = remote.call("POST", "/config/validate" if dry_run else "/config/reload")
    return _told(answer.text, answer.json, json)


def diff(remote: Remote, file: Path, json: bool) -> int:
    """What this file would change if it were the balancer's; Failed with its mistakes."""
    try:
        content = file.read_bytes()
    except OSError as exc:
        raise Failed(f"{file}: {exc.strerror}", Code.MISUSED) from exc
    answer = remote.call("POST", "/config/validate", content=content, kind=TOML)
    return _told(answer.text, answer.json, json)


def _told(text: str, difference: Mapping[str, Any], json: bool) -> int:
    say(printable_json(text) if json else "\n".join(map(printable, _lines(difference))))
    return Code.DONE


def _lines(difference: Mapping[str, Any]) -> Iterator[str]:
    yield difference["summary"]
    pools, backends = difference["pools"], difference["backends"]
    yield from (f"+ pool {name}" for name in pools["added"])
    yield from (f"~ pool {name}" for name in pools["changed"])
    yield from (f"- pool {name}, once its last backend has left" for name in pools["emptied"])
    yield from (f"+ {_backend(each)}" for each in backends["added"])
    yield from (f"- {_backend(each)}" for each in backends["removed"])
    for each in backends["changed"]:
        yield f"~ {_backend(each)}: {', '.join(map(changed, each['changes']))}"
    yield from (f"~ {changed(each)}" for each in difference["settings"])
    yield from (f"= {each['key']}: {each['why']}" for each in difference["kept"])
    for each in difference["needs_restart"]:
        yield f"! {changed(each)}, after a restart"
    yield from (f"? {key} names code or a file, and was not tried" for key in difference["unchecked"])


def _backend(each: Mapping[str, Any]) -> str:
    return f"backend {each['id']} of pool {each['pool']}"
