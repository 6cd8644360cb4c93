"""`lb cluster`: the balancers that share what operators wish, and how far each is."""

from collections.abc import Iterator, Mapping
from typing import Any

from lb.remote.api import Remote
from lb.remote.exits import Code, Failed
from lb.remote.terminal_text import columns, printable, printable_json, say, seconds
from lb.suggestions import plural

HEAD = ("", "NAME", "APPLIED", "CONFIG", "SECRETS", "DRAINS", "SEES DOWN", "ADMIN", "VERSION")
MOST_DOWN = 5


def cluster(remote: Remote, json: bool) -> int:
    """Print it once. Failed where the balancer is in none."""
    answer = remote.call("GET", "/cluster")
    if json:
        say(printable_json(answer.text))
        return Code.DONE
    if answer.json["name"] is None:
        raise Failed(f"{remote.where} is in no cluster: its configuration has no [cluster]", Code.NOT_THERE)
    say("\n".join(_lines(answer.json)))
    return Code.DONE


def _lines(view: Mapping[str, Any]) -> Iterator[str]:
    age = "never" if view["age_seconds"] is None else f"{seconds(view['age_seconds'])} ago"
    yield printable(f"{view['name']} in {view['prefix']}, at revision {view['revision']}, etcd heard {age}")
    if view["failure"]:
        yield printable(f"! etcd is not followed: {view['failure']}")
    if view["configs_differ"]:
        yield "! the configurations differ"
    if view["secrets_differ"]:
        yield "! the secrets of sticky cookies differ"
    for key, why in view["unfit"].items():
        yield printable(f"! cannot be done here: {key}: {why}")
    for own in view["local"]:
        what = f"backend {own['backend']}" if own["backend"] else f"pool {own['pool']}"
        yield printable(f"! {what} is {own['wish']} here alone, by {own['by'] or '?'} at {own['at']}")
    yield ""
    yield from columns([HEAD, *(_row(member, view["newest"]) for member in view["members"])])


def _row(member: Mapping[str, Any], newest: int) -> tuple[object, ...]:
    applied = member["applied"]
    behind = applied is not None and applied < newest
    told = "silent" if applied is None else f"{applied}, behind" if behind else applied
    told = "lost" if member["is_lost"] else told
    left = ", ".join(f"{name}: {plural(count, 'request')}" for name, count in member["left"].items())
    down = [*member["down"][:MOST_DOWN], *(["..."] if len(member["down"]) > MOST_DOWN else [])]
    mark = "*" if member["is_self"] else ""
    digests = member["config"], member["secrets"] or "-"
    where = member["admin"] or "-", member["version"]
    return mark, member["name"], told, *digests, left or "-", ", ".join(down) or "-", *where
