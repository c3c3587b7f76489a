"""Counters and histograms as plain numbers read like Prometheus' own."""

from __future__ import annotations

import random

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from telegrad_service.api.tallies import Count, Spread, Tallies


def samples(registry: CollectorRegistry) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (s.name, *(f"{k}={v}" for k, v in sorted(s.labels.items()))): s.value
        for family in families
        for s in family.samples
        if not s.name.endswith("_created")
    }


def test_a_spread_has_the_buckets_of_a_histogram():
    registry, theirs, tallies, spread = CollectorRegistry(), CollectorRegistry(), Tallies(), Spread()
    registry.register(tallies)
    tallies.spreads("telegrad_wait_seconds", "waiting", "route")["/v1",] = spread
    bounds = [float(bound) for bound, _ in spread.buckets()[0][:-1]]
    histogram = Histogram("telegrad_wait_seconds", "waiting", ("route",), buckets=bounds, registry=theirs).labels("/v1")
    rng = random.Random(0)
    for seconds in (*bounds, *[10 ** rng.uniform(-5, 3) for _ in range(200)]):  # bounds belong below themselves
        spread.note(seconds)
        histogram.observe(seconds)
    assert samples(registry) == samples(theirs)


def test_counts_come_with_their_labels():
    registry, tallies = CollectorRegistry(), Tallies()
    registry.register(tallies)
    counted = tallies.counts("telegrad_requests", "requests", "method", "status")
    counted["GET", "200"] = Count()
    counted["GET", "200"].total += 3
    counted["PUT", "404"] = Count()
    assert samples(registry) == {
        ("telegrad_requests_total", "method=GET", "status=200"): 3,
        ("telegrad_requests_total", "method=PUT", "status=404"): 0,
    }
