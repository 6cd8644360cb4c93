"""Families of metrics as Prometheus reads them: a name, a help, and a line for each sample, made one by one.

We write them ourselves, because prometheus-client makes several objects of each sample before it writes one:
of 500 backends that held the event loop for a quarter of a second at every scrape. Here a line is one format,
and a family is at rest between two of its pieces, so whoever writes it can let traffic through. What samples
are read from must bear that: where a dictionary may grow meanwhile they are read from a copy.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from lb.core.measures.histogram import Histogram

Samples = Iterable[tuple[tuple[str, ...], float]]
Histograms = Iterable[tuple[tuple[str, ...], Histogram]]


class Family(NamedTuple):
    """One family; `pieces` are its samples, to be read once. A counter's samples have a name of their own."""

    name: str
    kind: str
    says: str
    pieces: Iterator[str]

    def written(self, is_openmetrics: bool) -> Iterator[str]:
        """All of it. OpenMetrics calls a family of counters by the name without `_total`."""
        name = f"{self.name}_total" if self.kind == "counter" and not is_openmetrics else self.name
        return chain((f"# HELP {name} {self.says}\n# TYPE {name} {self.kind}\n",), self.pieces)


def counter(name: str, says: str, labels: tuple[str, ...], samples: Samples) -> Family:
    return Family(f"lb_{name}", "counter", says, _lines(f"lb_{name}_total", labels, samples))


def gauge(name: str, says: str, labels: tuple[str, ...], samples: Samples) -> Family:
    return Family(f"lb_{name}", "gauge", says, _lines(f"lb_{name}", labels, samples))


def histogram(name: str, says: str, labels: tuple[str, ...], histograms: Histograms) -> Family:
    return Family(f"lb_{name}", "histogram", says, _buckets(f"lb_{name}", labels, histograms))


def _lines(name: str, labels: tuple[str, ...], samples: Samples) -> Iterator[str]:
    braced = _braced(labels)
    for values, value in samples:
        yield f"{name}{braced % (*map(_escaped, values),)} {float(value)}\n"


def _buckets(name: str, labels: tuple[str, ...], histograms: Histograms) -> Iterator[str]:
    """A histogram is one piece: its buckets have to agree with its count."""
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
    """The labels, with a place for the value of each."""
    return "{" + ",".join(f'{label}="%s"' for label in labels) + "}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
