"""Families of metrics, each made at one stroke: name, help, labels, and the samples by the labels' values."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from lb.core.histogram import Histogram

Samples = Iterable[tuple[tuple[str, ...], float]]
Histograms = Iterable[tuple[tuple[str, ...], Histogram]]


def counter(name: str, says: str, labels: tuple[str, ...], samples: Samples) -> Metric:
    family = CounterMetricFamily(f"lb_{name}", says, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def gauge(name: str, says: str, labels: tuple[str, ...], samples: Samples) -> Metric:
    family = GaugeMetricFamily(f"lb_{name}", says, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def histogram(name: str, says: str, labels: tuple[str, ...], histograms: Histograms) -> Metric:
    family = HistogramMetricFamily(f"lb_{name}", says, labels=labels)
    for values, histogram in histograms:
        family.add_metric(values, histogram.cumulative(), histogram.total)
    return family
