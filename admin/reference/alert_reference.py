"""The alerts of /alerts.yml: when each fires, and what to do then, from the file and its runbooks."""

import re
from collections.abc import Mapping

from admin.reference.topic import Entry, Topic, entry
from admin.resources.alerting import content

PREFACE = """\
GET /alerts.yml has the rules for Prometheus, GET /grafana.json a dashboard. *Critical* is for now,
*warning* for today. The thresholds are in the file, one line each, to be changed. The scrape job is called
trio-lb.
"""
RULE = re.compile(r'- alert: (\w+)\n.*?for: (\w+)\n.*?severity: (\w+)\n.*?description: "(.*?)"', re.DOTALL)


def alerts_topic() -> Topic:
    """Every alert, in the order of the file."""
    said = runbooks()
    found = RULE.findall(content("alerts.yml").decode())
    return Topic(tuple(_entry(*each, runbook=said.get(each[0], "")) for each in found), PREFACE)


def _entry(name: str, lasts: str, severity: str, description: str, *, runbook: str) -> Entry:
    when = "at once" if lasts == "0m" else f"after {lasts}"
    about = re.sub(r"\{\{ \$labels\.(\w+) \}\}", r"<\1>", description)
    return entry(name, f"{name}  {severity}, {when}", about, runbook)


def runbooks() -> Mapping[str, str]:
    """What to do, by the name of the alert."""
    paragraphs = re.split(r"\n(?=\w)", content("runbooks.txt").decode())
    return {name: text for name, _, text in (each.partition("\n") for each in paragraphs)}
