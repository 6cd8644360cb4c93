"""`lb status --ended`: what was wrong and is over, in sentences."""

from collections.abc import Iterator, Mapping
from typing import Any

from lb.remote.api import Remote
from lb.remote.exits import Code
from lb.remote.terminal_text import folded, printable, printable_json, remembered, say, to_the_second


def list_ended(remote: Remote, since: str | None, json: bool) -> int:
    """Print it, the last that ended first. With --json it is what GET /trouble/ended answers."""
    answer = remote.call("GET", "/trouble/ended", {"since": since})
    if json:
        say(printable_json(answer.text))
    else:
        say("\n".join(folded(_lines(remote, answer.json))))
    return Code.DONE


def _lines(remote: Remote, found: Mapping[str, Any]) -> Iterator[str]:
    goes_on = ", see `lb status`" if found["current"] else ""
    yield printable(f"{remote.where}  {found['summary']}{goes_on}")
    yield ""
    for each in found["items"]:
        yield printable(f"- {each['sentence']}")
        yield printable(f"    {to_the_second(each['began'])} to {to_the_second(each['ended'])}")
    if found["items"]:
        yield ""
    yield remembered(found["remembered_since"])
