"""The scheduler's port serves what it does and what the database says, in one scrape."""

import asyncio
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from revalue.actors.runner import Runner
from revalue.engine.postgres.database import Database
from revalue.engine.settings import Settings
from tests.support import DAYS, load_small_book


async def test_the_schedulers_port_serves_the_run_and_the_database(
    url: str, database: Database
) -> None:
    await load_small_book(database, portfolios=3)

    def scrape() -> str:
        with Runner(url, Settings(database_url=url, metrics_port=0, actors=1)) as runner:
            runner.until_quiet()
            port = runner.progress()["metrics_port"]
            return str(urlopen(f"http://127.0.0.1:{port}/metrics").read(), "utf-8")

    text = await asyncio.to_thread(scrape)
    found = {
        (s.name, *s.labels.values()): s.value
        for f in text_string_to_metric_families(text)
        for s in f.samples
    }
    assert found["revalue_rows_written_total",] == 3 * 2 * len(DAYS)
    assert found["revalue_jobs_finished_total", "COMPLETE"] == 3 * 2
    assert found["revalue_positions", "CURRENT"] == 3 * 2
    assert found["revalue_watermark_lag_days_bucket", "0.0"] == 3 * 2
    for idle in (
        "tasks_in_flight",
        "oldest_in_flight_seconds",
        "triggers_queued",
        "snapshot_lag_days",
        "jobs_fenced_total",
    ):
        assert found[f"revalue_{idle}",] == 0
    assert found["revalue_scheduler_gap_days_count",] > 0
