"""All topics, and how a word is looked up in them.

A topic is made when it is asked for: it imports what it is made of, and `lb docs timeouts` needs no more than
the settings.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from admin.reference.topic import Entry, Topic, table

if TYPE_CHECKING:
    from admin.protocol.operation import Operation

LONGEST_WORD = 80
MOST_TELLING = 8
"""A word that more entries have in their text says nothing about what is looked for."""
CHEAP_FIRST = (
    *("config", "errors", "log", "trouble", "deploy", "alerts", "metrics"),
    *("commands", "events", "fields", "folders", "api"),
)
"""The topics in the order in which a name is looked up: those that import little come first."""
CONTENTS = """\
The reference of this release. lb docs TOPIC, or GET /docs/TOPIC, shows:

{topics}

Any name in them can be looked up too: lb docs pools.probe, lb docs timeouts.connect,
lb docs lb_requests_total, lb docs LbBackendDown, lb docs connection_refused, lb docs GET /backends.
"""


TOPICS: Mapping[str, tuple[str, str]] = {
    "config": ("settings_reference:settings_topic", "every key of lb.toml with its default, as a file"),
    "commands": ("command_reference:commands_topic", "lb and its commands, their flags and exit codes"),
    "api": ("api_reference:api_topic", "the operations of the operator's side, and its problems"),
    "metrics": ("metric_reference:metrics_topic", "the families of /metrics"),
    "alerts": ("alert_reference:alerts_topic", "the alerts of /alerts.yml, and what to do then"),
    "errors": ("error_reference:errors_topic", "the tokens of Proxy-Status: status, meaning, where to look"),
    "trouble": ("trouble_reference:trouble_topic", "what lb status and the page call wrong, and when"),
    "events": ("event_reference:events_topic", "what /events sends"),
    "log": ("log_reference:log_topic", "the fields of the access log"),
    "fields": ("field_reference:fields_topic", "what becomes of X-Forwarded-For and all other fields"),
    "deploy": ("deploy_reference:deploy_topic", "units for systemd, and files for containers"),
    "folders": ("folder_reference:folders_topic", "the folders and modules of the code"),
}
"""What makes each topic, by its name, as it is imported then only; and what the topic is about."""


class ReferenceBook:
    """The topics by name. `operations` returns those of the API; it is called where they are described."""

    def __init__(self, operations: "Callable[[], Sequence[Operation]]") -> None:
        self._operations = operations
        self._made: dict[str, Topic] = {}

    def contents(self) -> str:
        """The list of topics."""
        topics = table((f"  {name}", about) for name, (_, about) in TOPICS.items())
        return CONTENTS.format(topics=topics)

    def topic(self, name: str) -> Topic:
        """The topic of this name; it is made once."""
        if name not in self._made:
            make = resolve_name(f"admin.reference.{TOPICS[name][0]}")
            self._made[name] = make(self._operations()) if name == "api" else make()
        return self._made[name]

    def look_up(self, word: str) -> str:
        """The text of a topic, or of what has this name, has it within its name, or else in its text.

        LookupError where there is none.
        """
        word = word.strip()[:LONGEST_WORD]
        if word in TOPICS:
            return self.topic(word).text
        wanted = _plain(word)
        for topic in map(self.topic, CHEAP_FIRST):
            if found := [each.text for each in topic.entries if _is_it(wanted, each.name.lower())]:
                return "\n".join(found)
        if topic_name := next((name for name in TOPICS if _singular(name) == _singular(wanted)), None):
            return self.topic(topic_name).text
        if entries := [each for each in self._entries() if wanted in each.name.lower()] or self._telling(
            word
        ):
            return "\n".join(_placed(entries))
        close = get_close_matches(word, self.names(), n=1)
        hint = f"did you mean `{close[0]}`?" if close else f"there are: {', '.join(TOPICS)}"
        raise LookupError(f"there is nothing about {word!r}; {hint}")

    def _telling(self, word: str) -> Sequence[Entry]:
        """Those whose text has the word; none where there are so many that it says nothing."""
        form = re.compile(rf"\b{re.escape(word)}\b", re.IGNORECASE)
        found = [each for each in self._entries() if form.search(each.text)]
        return found if len(found) <= MOST_TELLING else ()

    def names(self) -> list[str]:
        """Whatever can be looked up."""
        return [*TOPICS, *(each.name for each in self._entries())]

    def _entries(self) -> Iterator[Entry]:
        for name in TOPICS:
            yield from self.topic(name).entries


def _placed(entries: Iterable[Entry]) -> Iterator[str]:
    """Their texts; above keys their table, as who looks up a part of a name does not know it."""
    above = ""
    for each in entries:
        is_named = each.place in ("", above) or each.place in each.text
        yield each.text if is_named else f"# In {each.place}:\n{each.text}"
        above = each.place


def _plain(word: str) -> str:
    """`[pools.default.probe]` and `pools.x.probe` are `pools.probe`."""
    steps = (word.strip("[] ").rstrip("/") or word).lower().split(".")
    if len(steps) > 2 and steps[0] == "pools" and steps[1] in ("default", "x"):
        del steps[1]
    return ".".join(steps)


def _singular(word: str) -> str:
    return word.removesuffix("s")


def _is_it(word: str, name: str) -> bool:
    """It is the name, or a table around it, or the path of an operation."""
    return name == word or name.startswith(f"{word}.") or name.endswith(f" {word}")
