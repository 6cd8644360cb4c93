"""Families of metrics as Prometheus reads them: a name, a help text, and a line for each sample.

We write them ourselves, because prometheus-client makes several objects for each sample before it writes a
line, and held the event loop for a quarter of a second where there were 500 backends. Here each line is
formatted when it is read, so other tasks may run between two lines of a family. A dictionary that may grow
meanwhile must be copied before its samples are made.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from lb.core.measures.histogram import Histogram

Samples = Iterable[tuple[tuple[str, ...], float]]
Histograms = Iterable[tuple[tuple[str, ...], Histogram]]


class Family(NamedTuple):
    """One family; `pieces` are its lines, and can be read once."""

    name: str
    kind: str
    help_text: str
    labels: tuple[str, ...]
    pieces: Iterator[str]

    def written(self, is_openmetrics: bool) -> Iterator[str]:
        """All of its text. In OpenMetrics the name of a family of counters has no `_total`."""
        name = f"{self.name}_total" if self.kind == "counter" and not is_openmetrics else self.name
        return chain((f"# HELP {name} {self.help_text}\n# TYPE {name} {self.kind}\n",), self.pieces)


def counter(name: str, help_text: str, labels: tuple[str, ...], samples: Samples) -> Family:
    return Family(f"lb_{name}", "counter", help_text, labels, _lines(f"lb_{name}_total", labels, samples))


def gauge(name: str, help_text: str, labels: tuple[str, ...], samples: Samples) -> Family:
    return Family(f"lb_{name}", "gauge", help_text, labels, _lines(f"lb_{name}", labels, samples))


def histogram(name: str, help_text: str, labels: tuple[str, ...], histograms: Histograms) -> Family:
    return Family(f"lb_{name}", "histogram", help_text, labels, _buckets(f"lb_{name}", labels, histograms))


def _lines(name: str, labels: tuple[str, ...], samples: Samples) -> Iterator[str]:
    braced = _braced(labels)
    for values, value in samples:
        yield f"{name}{braced % (*map(_escaped, values),)} {float(value)}\n"


def _buckets(name: str, labels: tuple[str, ...], histograms: Histograms) -> Iterator[str]:
    """Each histogram as one piece: no task runs within it, so its buckets agree with its count."""
    with_bound, without = _braced((*labels, "le")), _braced(labels)
    for values, histogram in histograms:
        escaped = (*map(_escaped, values),)
        buckets = histogram.cumulative()
        lines = [
            f"{name}_bucket{with_bound % (*escaped, bound)} {float(count)}\n" for bound, count in buckets
        ]
        lines.append(f"{name}_count{without % escaped} {float(buckets[-1][1])}\n")
        lines.append(f"{name}_sum{without % escaped} {histogram.total}\n")
        yield "".join(lines)


def _braced(labels: tuple[str, ...]) -> str:
    """The labels in braces, with a place for each value."""
    return "{" + ",".join(f'{label}="%s"' for label in labels) + "}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
