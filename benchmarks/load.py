"""What a first load costs: prices and position records, from CSV and from Parquet.

Each load is a process of its own, as `revalue load` is, on a new database that has the calendar,
the portfolios and the instruments. It is timed from the file until its rows are committed. Then the
same file is loaded again, which changes nothing.

`python -m revalue.benchmarks.load KIND FILE` is that process.
"""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from time import perf_counter
from typing import Any

import polars as pl

from revalue.benchmarks.cost import Meter, anonymous_mib
from revalue.benchmarks.harness import BenchmarkFailedError, on_fresh_database
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.postgres.database import Database

PRICES = 2_000_000
RECORDS = 250_000
DATES = 250
"""Dates of each security's prices."""

_RECORDS_PER_POSITION = (1, 5)
_PORTFOLIOS = 1_000
_MOST_SECURITIES = 40_000
_FIRST_DAY = date(2020, 1, 1)
_SAMPLE_SECONDS = 0.05
_LOOK_SECONDS = 0.2
_FORMATS = ("csv", "parquet")


@dataclass
class LoadOutcome:
    """What was measured of one file. It is one run.

    Attributes:
        what: the kind of rows, with the records of each position.
        file: "csv" or "parquet".
        rows: rows of the file.
        file_bytes: its size.
        first: the first load of the file.
        again: a second one of the same file.
    """

    workload: str
    what: str
    file: str
    rows: int
    file_bytes: int
    first: dict[str, Any]
    again: dict[str, Any]


@dataclass
class LoadCost:
    """What one load cost.

    Attributes:
        seconds: until its rows were committed.
        rows_per_second: rows of the file in a second.
        postgresql_us: CPU of the server per row, in microseconds.
        client_us: CPU of the loading process per row, in microseconds.
        wal_bytes: written to PostgreSQL's log, per row.
        client_mib: anonymous memory of the loading process, at most.
        client_mib_before: before the load.
        postgresql_mib: anonymous memory of the largest process of the server, at most.
    """

    seconds: float
    rows_per_second: int
    postgresql_us: float
    client_us: float
    wal_bytes: float
    client_mib: int
    client_mib_before: int
    postgresql_mib: int = 0


def measure(
    server_url: str, *, prices: int, records: int, dates: int, say: Callable[[str], None]
) -> list[LoadOutcome]:
    """Load about so many prices of `dates` dates, and so many position records of one record and of
    five records per position.

    Raises:
        BenchmarkFailedError: a load has failed, or the second one has changed something.
    """
    found = []
    for file in _FORMATS:
        found.append(measure_prices(server_url, prices, dates, file, say=say))
        found += [
            measure_records(server_url, records, each, file, say=say)
            for each in _RECORDS_PER_POSITION
        ]
    return found


def measure_prices(
    server_url: str, prices: int, dates: int, file: str, *, say: Callable[[str], None]
) -> LoadOutcome:
    """Load prices as a feed's files would be joined: date by date."""
    securities = max(1, prices // dates)
    return _measured(
        server_url, Kind.PRICES, "prices", file, _prices(securities, dates), securities, say
    )


def measure_records(
    server_url: str, records: int, each: int, file: str, *, say: Callable[[str], None]
) -> LoadOutcome:
    """Load position records, `each` of every position."""
    positions = max(1, records // each)
    securities = min(_MOST_SECURITIES, max(1, positions // 10))
    frame = _records(positions, securities, each)
    what = f"records, {each} per position"
    return _measured(server_url, Kind.POSITIONS, what, file, frame, securities, say)


def _measured(
    server_url: str,
    kind: Kind,
    what: str,
    file: str,
    frame: pl.DataFrame,
    securities: int,
    say: Callable[[str], None],
) -> LoadOutcome:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"rows.{file}"
        if file == "csv":
            frame.write_csv(path)
        else:
            frame.write_parquet(path)

        async def work(database: Database) -> list[dict[str, Any]]:
            await _load_references(database, securities)
            return [await _in_process(database, kind, path) for _ in range(2)]

        first, again = asyncio.run(on_fresh_database(server_url, work))
        file_bytes = path.stat().st_size
    rows = len(frame)
    if (first["inserted"], again["unchanged"]) != (rows, rows):
        raise BenchmarkFailedError(f"not all of {what} were new, or not all are stored: {again}")
    outcome = LoadOutcome("load", what, file, rows, file_bytes, first["cost"], again["cost"])
    say(
        f"load {what} from {file}: {rows:,} rows in {outcome.first['seconds']} s, "
        f"again in {outcome.again['seconds']} s"
    )
    return outcome


async def _in_process(database: Database, kind: Kind, path: Path) -> dict[str, Any]:
    """Load in a process of its own, and look at the memory of the server meanwhile."""
    meter = Meter()
    await meter.start(database)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "revalue.benchmarks.load", kind.value, str(path)),
        env={**os.environ, "REVALUE_DATABASE_URL": database.url},
        stdout=PIPE,
        stderr=PIPE,
    )
    said = asyncio.create_task(process.communicate())
    while not said.done():
        meter.sample()
        await asyncio.wait([said], timeout=_LOOK_SECONDS)
    output, errors = await said
    if process.returncode:
        raise BenchmarkFailedError(f"the load of {kind} has failed: {errors[-500:].decode()}")
    cost = await meter.stop(database)
    found: dict[str, Any] = json.loads(output)
    found["cost"]["postgresql_mib"] = cost.peak_anonymous_mib.get("postgresql", 0)
    return found


async def _load_references(database: Database, securities: int) -> None:
    frames = {
        Kind.BUSINESS_DATES: pl.DataFrame({"calendar_id": "BENCH", "business_date": _days(DATES)}),
        Kind.PORTFOLIOS: pl.DataFrame(
            {"portfolio_id": [_portfolio(n) for n in range(_PORTFOLIOS)]}
        ).with_columns(base_currency=pl.lit("USD"), calendar_id=pl.lit("BENCH")),
        Kind.INSTRUMENTS: pl.DataFrame(
            {"security_id": [_security(n) for n in range(securities)]}
        ).with_columns(currency=pl.lit("USD"), max_price_age_sessions=5),
    }
    for kind, frame in frames.items():
        await load(database, kind, frame)


def _security(number: int) -> str:
    return f"S{number:07}"


def _portfolio(number: int) -> str:
    return f"P{number:05}"


def _days(count: int) -> list[date]:
    return [_FIRST_DAY + timedelta(days=number) for number in range(count)]


def _prices(securities: int, dates: int) -> pl.DataFrame:
    security = pl.DataFrame({"security_id": [_security(n) for n in range(securities)]})
    number = pl.int_range(pl.len(), dtype=pl.Int64)
    return (
        pl.DataFrame({"price_date": _days(dates)})
        .join(security, how="cross")
        .select(
            "security_id",
            "price_date",
            price=((200_000 + number * 7_919 % 800_000) / 10_000).cast(pl.Decimal(18, 4)),
            currency=pl.lit("USD"),
            quote_basis=pl.lit("PER_UNIT"),
        )
    )


def _records(positions: int, securities: int, each: int) -> pl.DataFrame:
    """Return the records of positions, date by date; securities have the same number of holders."""
    held = pl.DataFrame(
        {
            "portfolio_id": [_portfolio(n // securities) for n in range(positions)],
            "security_id": [_security(n % securities) for n in range(positions)],
        }
    )
    units = 1 + pl.int_range(pl.len(), dtype=pl.Int64) * 7_919 % 9_973
    return (
        pl.DataFrame({"position_date": _days(each)})
        .join(held, how="cross")
        .select(
            "portfolio_id",
            "security_id",
            "position_date",
            quantity=units,
            cost_basis_local=units * 50,
            cost_basis=units * 45,
        )
    )


class _Peak:
    """Looks at this process's anonymous memory until it is left."""

    def __init__(self) -> None:
        self.mib = self.mib_before = anonymous_mib(os.getpid())
        self._is_over = Event()
        self._thread = Thread(target=self._look, daemon=True)

    def __enter__(self) -> "_Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._is_over.wait(_SAMPLE_SECONDS):
            self.mib = max(self.mib, anonymous_mib(os.getpid()))


async def _load(url: str, kind: Kind, path: Path) -> dict[str, Any]:
    async with await Database.open(url) as database:
        meter = Meter()
        await meter.start(database)
        with _Peak() as peak:
            begun = perf_counter()
            loaded = await load(database, kind, path)
            seconds = perf_counter() - begun
        cost = await meter.stop(database)
    microseconds = {
        process: round(spent / loaded.rows * 1e6, 2) for process, spent in cost.cpu_seconds.items()
    }
    return {
        "rows": loaded.rows,
        "inserted": loaded.inserted,
        "unchanged": loaded.unchanged,
        "cost": asdict(
            LoadCost(
                seconds=round(seconds, 2),
                rows_per_second=round(loaded.rows / seconds),
                postgresql_us=microseconds.get("postgresql", 0.0),
                client_us=microseconds["client"],
                wal_bytes=round(cost.wal_bytes / loaded.rows, 1),
                client_mib=peak.mib,
                client_mib_before=peak.mib_before,
            )
        ),
    }


def main() -> None:
    """Load a file, and print what it cost as JSON."""
    kind, path = sys.argv[1:]
    found = asyncio.run(_load(os.environ["REVALUE_DATABASE_URL"], Kind(kind), Path(path)))
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
