"""The parts of a book in Python: its jobs, its loads, and the history of one position.

Two portfolios hold A and B. On DAYS[3] the quantity of P1 / A is too large for its value.
"""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

import revalue
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.errors import NotFoundError, UsageError
from revalue.engine.operate.retries import Retried
from revalue.engine.postgres.database import Database
from tests.conftest import small_book
from tests.support import DAYS, Engine, engine, execute, facts, fetch

OVERFLOW = f"OVERFLOW A {DAYS[3]}"


@pytest.fixture
async def url(server_url: str, template: str) -> AsyncIterator[str]:
    async with small_book(server_url, template, 2, valued=False) as address:
        yield address


@pytest.fixture
async def valued(url: str, database: Database) -> AsyncIterator[Engine]:
    await load(database, Kind.POSITIONS, facts("P1", "A", {DAYS[3]: "99999999999999999"}))
    async with engine(url) as running:
        await running.settle()
        yield running


SPANS = """
SELECT j.job_id, p.portfolio_id, p.security_id, s.epoch, s.first_date, s.last_date, j.created_at
FROM portfolio_valuation_jobs j
CROSS JOIN LATERAL unnest(j.positions, j.epochs, j.first_dates, j.last_dates)
    AS s (position_id, epoch, first_date, last_date)
JOIN position_state p USING (position_id)
ORDER BY j.job_id DESC, s.position_id, s.first_date
"""


async def test_jobs_are_listed_span_by_span(url: str, database: Database, valued: Engine) -> None:
    stored = await fetch(database, SPANS)
    columns = ("job_id", "portfolio_id", "security_id", "epoch", "first_date", "last_date")
    with revalue.connect(url) as book:
        spans = book.jobs.list(limit=100)
        assert spans.select(*columns, "created_at").rows() == stored
        assert dict(spans.schema)["created_at"] == pl.Datetime("us", "UTC")
        assert book.jobs.list(limit=3).equals(spans.head(3))
        for given in ({"portfolio": "P2"}, {"security": "B"}, {"status": "FAILED"}):
            [(column, value)] = given.items()
            name = column if column == "status" else f"{column}_id"
            some = book.jobs.list(**given)  # type: ignore[arg-type]
            assert some.equals(spans.filter(pl.col(name) == value))
            assert not some.is_empty()
        none = book.jobs.list(status="PROCESSING")
        assert (len(none), none.schema) == (0, spans.schema)
        largest, many = Counter(span[0] for span in stored).most_common(1)[0]
        assert many > 1
        job = book.jobs.get(largest)
        of_it = spans.filter(job_id=largest)
        assert (job.job_id, job.span_count) == (largest, many)
        assert job.created_at == of_it["created_at"][0]
        assert job.spans.equals(of_it.select(job.spans.columns))
        assert book.jobs.get(largest, spans=1).spans.equals(job.spans.head(1))


async def test_a_job_that_failed_is_found_and_tried_again(url: str, valued: Engine) -> None:
    with revalue.connect(url) as book:
        letters = book.jobs.dead_letters()
        told = letters.select("portfolio_id", "security_id", "failure_reason", "status").rows()
        assert told == [("P1", "A", OVERFLOW, "FAILED")]
        assert book.jobs.dead_letters(portfolio="P1").equals(letters)
        assert book.jobs.dead_letters(portfolio="P2").is_empty()
        [failed] = letters["job_id"]
        job = book.jobs.get(failed)
        assert (job.status, job.failure_reason) == ("FAILED", OVERFLOW)
        assert job.dead_letters["died_at"].to_list() == letters["died_at"].to_list()
        assert job.dead_letters["traceback"].null_count() == 0

        complete = book.jobs.list(status="COMPLETE")["job_id"][0]
        with pytest.raises(NotFoundError, match="no valuation job 99999; nothing is requeued"):
            book.jobs.retry([failed, 99999])
        assert book.jobs.dead_letters().equals(letters)
        assert book.jobs.retry([complete, failed]) == Retried((failed,), (complete,))
        assert book.jobs.dead_letters().is_empty()
        [tried] = book.jobs.dead_letters(every=True).rows(named=True)
        assert (tried["job_id"], tried["status"]) == (failed, "SUPERSEDED")
        assert tried["requeued_at"] >= tried["died_at"]
        assert book.jobs.retry(letters["job_id"]) == Retried((), (failed,))

        await valued.settle()
        [again] = book.jobs.dead_letters()["job_id"]
        assert again > failed, "it fails again, as another job"
        assert book.jobs.retry_failed() == Retried((again,), ())
        assert book.jobs.retry_failed() == Retried((), ())
        book.correct(revalue.Position("P1", "A", DAYS[3], Decimal(2), Decimal(1), Decimal(1)))
        await valued.settle()
        assert book.status(exact=True).is_current
        assert book.jobs.dead_letters().is_empty()
        assert len(book.jobs.dead_letters(every=True)) == 2


async def test_what_is_no_job_and_no_limit_is_refused(url: str) -> None:
    wrong: Any = "4711"
    with revalue.connect(url) as book:
        jobs, loads = book.jobs, book.loads
        for not_found in (
            lambda: jobs.get(4711),
            lambda: jobs.retry(4711),
            lambda: jobs.list(portfolio="NOPE"),
            lambda: jobs.list(security="NOPE"),
            lambda: jobs.dead_letters(portfolio="NOPE"),
        ):
            with pytest.raises(NotFoundError, match=r"no valuation job 4711|'NOPE'"):
                not_found()
        for call, words in (
            (lambda: jobs.get(wrong), "'4711' is not the id of a job"),
            (lambda: jobs.retry([1, 2**63]), "9223372036854775808 is not the id"),
            (lambda: jobs.list(status="LOST"), "no job status 'LOST'"),
            (lambda: jobs.list(limit=0), "limit: 0 is no number from 1 to 10,000"),
            (lambda: jobs.dead_letters(limit=10_001), "limit: 10001 is no number"),
            (lambda: jobs.get(1, spans=0), "spans: 0 is no number"),
            (lambda: loads.list(limit=wrong), "limit: '4711' is no number from 1 to 100,000"),
        ):
            with pytest.raises(UsageError, match=words):
                call()
    for closed in (jobs.list, jobs.retry_failed, loads.list):
        with pytest.raises(UsageError, match="the book is closed"):
            closed()


async def test_the_history_of_a_position_is_its_valuations(
    url: str, database: Database, valued: Engine
) -> None:
    await execute(
        database,
        """INSERT INTO instruments (security_id, currency, max_price_age_sessions)
           VALUES ('Z', 'USD', 3)""",
    )
    with revalue.connect(url) as book:
        whole = book.history("P1", "A")
        assert whole["date"].to_list() == [day for day in DAYS if day != DAYS[3]]
        every = book.valuations()
        assert whole.equals(every.filter(portfolio_id="P1", security_id="A"))
        some = book.history("P1", "A", first_date=DAYS[2], last_date=DAYS[4])
        assert some["date"].to_list() == [DAYS[2], DAYS[4]]
        early = book.history("P1", "A", known_at=datetime(2001, 1, 1, tzinfo=UTC))
        assert early.equals(whole.clear())
        assert book.valuations(portfolio="P1", security="Z").is_empty()
        for never, words in (
            (("P1", "Z"), "portfolio 'P1' has never held security 'Z'"),
            (("NOPE", "A"), "there is no portfolio 'NOPE'"),
        ):
            with pytest.raises(NotFoundError, match=words):
                book.history(*never)
