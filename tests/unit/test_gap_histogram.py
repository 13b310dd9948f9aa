"""The histogram of gaps counts like one that observes each value."""

import polars as pl
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from revalue.engine import metrics


def test_gaps_are_counted_like_single_observations() -> None:
    lengths = [1, 1, 2, 3, 21, 22, 2520, 2521, 9999]
    expected = CollectorRegistry()
    observed = Histogram(
        "revalue_scheduler_gap_days",
        "Business days per due range, when scanned",
        buckets=metrics.GAP_DAYS.BOUNDS,
        registry=expected,
    )
    for length in lengths:
        observed.observe(length)
    counted = CollectorRegistry()
    gaps = type(metrics.GAP_DAYS)()
    counted.register(gaps)
    for length, count in pl.Series(lengths).value_counts().iter_rows():
        gaps.add(length, count)
    lines = generate_latest(expected).decode().splitlines()
    assert generate_latest(counted).decode().splitlines() == [
        line for line in lines if "_created" not in line
    ]
