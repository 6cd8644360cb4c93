"""The metrics: every family that /metrics may have, with its type, its labels and its help text."""

from admin.reference.no_balancer import no_balancer
from admin.reference.topic import Topic, entry
from admin.resources.metrics import every_family
from admin.views.metric_families import Family

PREFACE = """\
What GET /metrics has, beside the process_ and python_ families of prometheus-client. Those of workers are
there with several of them, those of TLS and ACME where these are configured. A series ends with its
backend.
"""


def metrics_topic() -> Topic:
    """All families, in the order of /metrics."""
    return Topic(tuple(entry(_name(each), _head(each), each.help_text) for each in families()), PREFACE)


def families() -> list[Family]:
    """Every family, without series."""
    return [*every_family(no_balancer())]


def _name(family: Family) -> str:
    return f"{family.name}_total" if family.kind == "counter" else family.name


def _head(family: Family) -> str:
    labels = f"{{{', '.join(family.labels)}}}" if family.labels else ""
    return f"{_name(family)}{labels}  {family.kind}"
