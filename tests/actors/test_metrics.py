"""The scheduler's port serves what it does and what the database says, in one scrape."""

import asyncio
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from revalue.actors.local import LocalHost
from revalue.actors.runner import Runner
from revalue.engine import metrics
from revalue.engine.postgres.database import Database
from revalue.engine.settings import Settings
from tests.support import DAYS, load_small_book


async def test_the_schedulers_port_serves_the_run_and_the_database(
    url: str, database: Database
) -> None:
    await load_small_book(database, portfolios=3)
    settings = Settings(database_url=url, metrics_port=0, actors=1)

    def scrape() -> tuple[str, str]:
        with Runner(LocalHost(settings), url, settings) as runner:
            runner.until_quiet()
            page = f"http://127.0.0.1:{runner.progress()['metrics_port']}/metrics"
            return page, str(urlopen(page).read(), "utf-8")

    # An earlier scheduler in this process has counted: this one begins at zero.
    metrics.ROWS_WRITTEN.inc(7)
    metrics.JOBS_FINISHED.labels(status="COMPLETE").inc(7)
    metrics.GAP_DAYS.add(7, 1_000)
    page, text = await asyncio.to_thread(scrape)
    found = {
        (s.name, *s.labels.values()): s.value
        for f in text_string_to_metric_families(text)
        for s in f.samples
    }
    assert found["revalue_rows_written_total",] == 3 * 2 * len(DAYS)
    assert found["revalue_jobs_finished_total", "COMPLETE"] == 3 * 2
    assert found["revalue_jobs_fenced_total",] == 0
    assert found["revalue_positions", "CURRENT"] == 3 * 2
    assert found["revalue_watermark_lag_days_bucket", "0.0"] == 3 * 2
    for idle in (
        "tasks_in_flight",
        "oldest_in_flight_seconds",
        "triggers_queued",
        "snapshot_lag_days",
    ):
        assert found[f"revalue_{idle}",] == 0
    assert 0 < found["revalue_scheduler_gap_days_count",] < 1_000
    with pytest.raises(URLError):  # nobody serves what has ended
        await asyncio.to_thread(urlopen, page)
    assert (await asyncio.to_thread(scrape))[1], "another run in this process can serve it"
