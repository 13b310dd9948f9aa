"""The Python API where a user has it: in a notebook, whose event loop runs, on a Ray that is
connected already."""

import asyncio
from decimal import Decimal

import pytest
import ray

import revalue
from revalue.actors import cluster
from revalue.engine.errors import SchemaVersionError, UsageError
from revalue.engine.postgres.database import Database
from revalue.engine.runtime import runtime
from revalue.engine.settings import Settings
from tests.support import DAYS, load_small_book


async def test_a_book_is_valued_on_the_ray_that_is_there_inside_of_a_running_loop(
    url: str, database: Database
) -> None:
    assert asyncio.get_running_loop().is_running()
    await load_small_book(database, portfolios=2)
    with cluster.connected(Settings(actors=1)), revalue.connect(url, actors=1) as book:
        run = book.value()
        assert (run.rows_written, run.status.positions) == (4 * len(DAYS), {"CURRENT": 4})
        assert ray.is_initialized(), "the user's Ray was shut down"
        told = book.preview(revalue.Rate("EUR", "USD", DAYS[2], Decimal("1.3")))
        book.correct(revalue.Rate("EUR", "USD", DAYS[2], Decimal("1.3")))
        assert book.status().positions == {"CURRENT": 2, "REPROCESSING": 2}
        assert book.value().status.is_current
        seen = book.valuations(portfolio="P2", first_date=DAYS[2], last_date=DAYS[2])
    assert seen["market_value"].sum() == told.portfolios[0].market_value_after
    assert seen["epoch"].to_list() == [1, 1]


def test_what_cannot_be_opened_or_run_says_so(bare_url: str) -> None:
    with pytest.raises(SchemaVersionError, match="run `revalue migrate`"):
        revalue.connect(bare_url)
    with pytest.raises(UsageError, match="is not a PostgreSQL address"):
        revalue.connect("mysql://somewhere")
    with pytest.raises(UsageError, match="no runtime 'dask'"):
        runtime("dask")
    with pytest.raises(AttributeError, match="nothing"):
        revalue.nothing  # noqa: B018
    assert all(hasattr(revalue, name) for name in revalue.__all__)
